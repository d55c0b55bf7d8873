//! Syslog: RFC 5424, and RFC 3164 as it is really sent, with or without a host.

use super::{Parsed, json};

/// A message; none when the text does not begin with a priority.
pub(super) fn message(text: &str) -> Option<Parsed> {
    let (priority, rest) = text.strip_prefix('<')?.split_once('>')?;
    let priority: u16 = priority.parse().ok().filter(|p| *p < 192 && priority.len() <= 3)?;
    let level = Some((priority % 8) as u8);
    let mut parsed = match rest.strip_prefix("1 ") {
        Some(rest) => new(rest).unwrap_or_else(|| plain(rest)),
        None => old(rest),
    };
    // A structured message knows better than the priority that its library chose.
    parsed.level = parsed.level.or(level);
    Some(parsed)
}

fn plain(text: &str) -> Parsed {
    Parsed { message: text.trim_start().to_owned(), ..Parsed::default() }
}

/// What stands in the message itself: JSON, with the cookie of Common Event Expression or without.
fn body(parsed: &mut Parsed, text: &str) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json = text.strip_prefix("@cee:").unwrap_or(text).trim();
    match Some(json).filter(|j| j.starts_with('{')).and_then(json::object) {
        Some(inner) => {
            parsed.message = inner.message;
            parsed.level = inner.level;
            parsed.time = inner.time.or(parsed.time);
            inner.fields.into_iter().for_each(|(name, value)| json::add(&mut parsed.fields, name, value));
        }
        None => parsed.message = text.trim().to_owned(),
    }
}

fn named(fields: &mut Vec<(String, String)>, name: &str, value: &str) {
    if value != "-" {
        json::add(fields, name.to_owned(), value.to_owned());
    }
}

/// RFC 5424 behind `<PRI>1 `.
fn new(rest: &str) -> Option<Parsed> {
    let mut parts = rest.splitn(6, ' ');
    let mut next = || parts.next();
    let (time, host, app, process, message) = (next()?, next()?, next()?, next()?, next()?);
    let rest = next()?;
    let mut parsed = Parsed {
        time: time.parse::<jiff::Timestamp>().ok().and_then(|t| u64::try_from(t.as_microsecond()).ok()),
        ..Parsed::default()
    };
    named(&mut parsed.fields, "host", host);
    named(&mut parsed.fields, "app", app);
    named(&mut parsed.fields, "pid", process);
    named(&mut parsed.fields, "msgid", message);
    let rest = match rest.strip_prefix('-') {
        Some(rest) => rest,
        None => elements(rest, &mut parsed.fields)?,
    };
    body(&mut parsed, rest.trim_start());
    Some(parsed)
}

/// `[id name="value" …][…]`; what follows it.
fn elements<'a>(mut rest: &'a str, fields: &mut Vec<(String, String)>) -> Option<&'a str> {
    while let Some(inside) = rest.strip_prefix('[') {
        let end = inside.find([' ', ']'])?;
        let id = &inside[..end];
        let short = id.split('@').next().unwrap_or(id);
        rest = &inside[end..];
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix(']') {
                rest = after;
                break;
            }
            let (name, after) = rest.split_once("=\"")?;
            let mut value = String::new();
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next()? {
                    (i, '"') => break i,
                    (_, '\\') => match chars.next()? {
                        (_, c @ ('"' | '\\' | ']')) => value.push(c),
                        (_, c) => value.extend(['\\', c]),
                    },
                    (_, c) => value.push(c),
                }
            };
            json::add(fields, format!("{short}.{name}"), value);
            rest = &after[end + 1..];
        }
    }
    Some(rest)
}

/// RFC 3164 behind `<PRI>`: `Mmm dd hh:mm:ss [host ]tag[pid]: message`. The time has no year and no zone, so it says
/// nothing.
fn old(rest: &str) -> Parsed {
    let Some(rest) = after_date(rest) else { return tagged(rest) };
    // Without a host the first word is the tag.
    match rest.split_once(' ') {
        Some((host, after)) if !host.ends_with(':') && !host.contains('[') => {
            let mut parsed = tagged(after);
            parsed.fields.insert(0, ("host".into(), host.into()));
            parsed
        }
        _ => tagged(rest),
    }
}

fn after_date(text: &str) -> Option<&str> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let bytes = text.as_bytes();
    let fits = MONTHS.contains(&text.get(..3)?) && bytes.get(9) == Some(&b':') && bytes.get(12) == Some(&b':');
    text.get(15..).filter(|_| fits).map(str::trim_start)
}

fn tagged(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let Some((tag, message)) = text.split_once(':').filter(|(tag, _)| !tag.contains(' ') && tag.len() <= 64) else {
        body(&mut parsed, text);
        return parsed;
    };
    match tag.split_once('[').and_then(|(app, pid)| Some((app, pid.strip_suffix(']')?))) {
        Some((app, pid)) => {
            named(&mut parsed.fields, "app", app);
            named(&mut parsed.fields, "pid", pid);
        }
        None => named(&mut parsed.fields, "app", tag),
    }
    body(&mut parsed, message.trim_start());
    parsed
}
