//! `fourmi spool`: stored commands of a running Fourmi.

use super::args::Global;
use super::args::spool::{FilterArgs, ServiceArgs, SpoolCommand, WhichArgs};
use super::client::{self, Target};
use super::out;
use super::upstreams::{asked, encoded, words};
use serde_json::Value;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

/// Wrong usage.
const USAGE: u8 = 2;
/// The asked thing failed.
const FAILED: u8 = 1;
/// No such file.
const NO_FILE: u8 = 66;
/// Lines and bytes that are imported in one go.
const LINES: usize = 500;
const BYTES: usize = 16 << 20;
/// Bytes of an answer.
const ANSWER_MAX: u64 = 256 << 20;
/// How long the other side may take to change very many.
const PATIENCE: Duration = Duration::from_secs(120);

/// Does what is said, or shows what there is.
pub(super) fn spool(global: &Global, target: &Target, command: Option<&SpoolCommand>) -> u8 {
    let done = match command {
        None => summary(global, target),
        Some(SpoolCommand::List { filter, limit }) => list(global, target, filter, *limit),
        Some(SpoolCommand::Show { id, seq, body }) => show(global, target, (id, *seq), *body),
        Some(SpoolCommand::Retry { which, reset }) => change(global, target, which, ("retry", *reset)),
        Some(SpoolCommand::Cancel { which }) => change(global, target, which, ("cancel", false)),
        Some(SpoolCommand::Discard { which }) => change(global, target, which, ("discard", false)),
        Some(SpoolCommand::Export { filter, file }) => export(target, filter, file.as_deref()),
        Some(SpoolCommand::Import { file }) => import(target, file),
        Some(SpoolCommand::Pause { of }) => pause(global, target, of, "pause"),
        Some(SpoolCommand::Resume { of }) => pause(global, target, of, "resume"),
    };
    done.unwrap_or_else(|code| code)
}

/// The filter as a query.
fn query(filter: &FilterArgs) -> Vec<String> {
    let mut out = Vec::new();
    if !filter.state.is_empty() {
        out.push(format!("state={}", encoded(&filter.state.join(","))));
    }
    let all = [
        ("name", &filter.name),
        ("service", &filter.service),
        ("route", &filter.route),
        ("key", &filter.key),
        ("consumer", &filter.consumer),
        ("tag", &filter.tag),
        ("older_than", &filter.older_than),
    ];
    out.extend(all.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", encoded(value.as_deref()?)))));
    out
}

/// Who does it, for the log: who became root, or whose process this is, by name if it has one. A shell's `$USER` may be
/// missing, and need not be true.
fn by() -> String {
    let uid = nix::unistd::getuid();
    let named = || nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
    let became = std::env::var("SUDO_USER").ok().filter(|name| uid.is_root() && !name.is_empty());
    format!("by={}", encoded(&became.or_else(named).unwrap_or_else(|| format!("uid {uid}"))))
}

fn seconds(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(s) if s < 120.0 => format!("{s:.0}s"),
        Some(s) if s < 7200.0 => format!("{:.0}m", s / 60.0),
        Some(s) if s < 172_800.0 => format!("{:.0}h", s / 3600.0),
        Some(s) => format!("{:.0}d", s / 86_400.0),
    }
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), |n| n.to_string())
}

fn summary(global: &Global, target: &Target) -> Result<u8, u8> {
    let all = asked(target, "GET", "/api/v1/spool")?;
    if global.json() {
        return Ok(out::json(&all));
    }
    let mut rows = vec![["STATE", "COMMANDS", "OLDEST"].map(str::to_owned)];
    for (state, of) in all["states"].as_object().into_iter().flatten() {
        rows.push([state.clone(), number(&of["count"]), seconds(&of["oldest_age_seconds"])]);
    }
    let mut text = out::aligned(&rows);
    let paused: Vec<&str> = all["paused"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    text.push_str(&format!(
        "\n{} of {} bytes in {}; {} refused{}{}\n",
        number(&all["bytes"]),
        number(&all["max_bytes"]),
        words(&all["path"]),
        number(&all["refused"]),
        if paused.is_empty() { String::new() } else { format!("; paused: {}", paused.join(", ")) },
        all["trouble"].as_str().map_or_else(String::new, |why| format!("; NOTHING IS ACCEPTED: {why}")),
    ));
    Ok(out::result(&text))
}

fn short(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), |at| at.get(..19).unwrap_or(at).replace('T', " "))
}

fn line(command: &Value) -> [String; 9] {
    let due = if command["held"] == true { "after its key".to_owned() } else { short(&command["due"]) };
    let error = command["error"].as_str().unwrap_or("-");
    [
        words(&command["id"]).to_owned(),
        words(&command["name"]).to_owned(),
        words(&command["state"]).to_owned(),
        number(&command["attempt"]),
        words(&command["service"]).to_owned(),
        short(&command["created"]),
        due,
        number(&command["status"]),
        error.chars().filter(|c| !c.is_control()).take(100).collect(),
    ]
}

fn list(global: &Global, target: &Target, filter: &FilterArgs, limit: usize) -> Result<u8, u8> {
    let (mut all, mut cursor): (Vec<Value>, Option<i64>) = (Vec::new(), None);
    loop {
        let mut query = query(filter);
        query.push(format!("limit={}", (limit - all.len()).min(1000)));
        query.extend(cursor.map(|at| format!("cursor={at}")));
        let page = asked(target, "GET", &format!("/api/v1/commands?{}", query.join("&")))?;
        all.extend(page["commands"].as_array().into_iter().flatten().cloned());
        cursor = page["next"].as_i64();
        if cursor.is_none() || all.len() >= limit {
            break;
        }
    }
    if global.json() {
        return Ok(out::json(&Value::from(all)));
    }
    let head = ["ID", "NAME", "STATE", "ATTEMPT", "SERVICE", "CREATED (UTC)", "DUE", "STATUS", "ERROR"];
    let rows: Vec<[String; 9]> = std::iter::once(head.map(str::to_owned)).chain(all.iter().map(line)).collect();
    let code = out::result(&out::aligned(&rows));
    if cursor.is_some() {
        out::note(&format!("there are more than {limit}; say how many with -n"));
    }
    Ok(code)
}

fn show(global: &Global, target: &Target, (id, seq): (&str, Option<i64>), body: bool) -> Result<u8, u8> {
    let mut path = format!("/api/v1/commands/{}?body={body}", segment(id));
    if let Some(seq) = seq {
        path.push_str(&format!("&seq={seq}"));
    }
    let one = asked(target, "GET", &path)?;
    if global.json() {
        return Ok(out::json(&one));
    }
    let mut text = String::new();
    let keys = [
        "id",
        "name",
        "state",
        "attempt",
        "direction",
        "service",
        "route",
        "consumer",
        "key",
        "created",
        "due",
        "expires",
        "finished",
        "status",
        "error",
        "bytes",
    ];
    for key in keys.into_iter().filter(|key| !one[*key].is_null()) {
        let value = one[key].as_str().map_or_else(|| one[key].to_string(), str::to_owned);
        text.push_str(&format!("{key:<10} {}\n", clean(&value)));
    }
    for (key, value) in one["tags"].as_object().into_iter().flatten() {
        text.push_str(&format!("{:<10} {key}={}\n", "tag", clean(words(value))));
    }
    text.push('\n');
    let mut rows = vec![["AT (UTC)", "STATE", "ATTEMPT", "WHY"].map(str::to_owned)];
    for step in one["history"].as_array().into_iter().flatten() {
        let at = step["at"].as_str().unwrap_or("-").replace('T', " ");
        let why = clean(step["why"].as_str().unwrap_or("-"));
        rows.push([at, words(&step["state"]).to_owned(), number(&step["attempt"]), why]);
    }
    text.push_str(&out::aligned(&rows));
    if let Some(answer) = one["answer"]["body"].as_str().filter(|body| !body.is_empty()) {
        text.push_str(&format!("\nanswer ({}):\n{}\n", words(&one["answer"]["content_type"]), clean(answer)));
    }
    if let Some(head) = one["request"]["head"].as_str() {
        text.push_str(&format!("\nrequest:\n{}\n{}\n", clean(head), clean(words(&one["request"]["body"]))));
    }
    Ok(out::result(&text))
}

/// Without what a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// One element of a path.
fn segment(text: &str) -> String {
    encoded(text).replace('/', "%2F")
}

fn change(global: &Global, target: &Target, which: &WhichArgs, (verb, reset): (&str, bool)) -> Result<u8, u8> {
    let mut query = query(&which.filter);
    if let Some(id) = &which.id {
        if !query.is_empty() || which.all {
            out::note("error: name an id or a filter, not both");
            return Err(USAGE);
        }
        query.push(by());
        query.extend(which.seq.map(|seq| format!("seq={seq}")));
        query.extend(reset.then(|| "reset=true".to_owned()));
        let (method, path) = match verb {
            "discard" => ("DELETE", format!("/api/v1/commands/{}", segment(id))),
            verb => ("POST", format!("/api/v1/commands/{}/{verb}", segment(id))),
        };
        if which.dry_run {
            let one = asked(target, "GET", &format!("/api/v1/commands/{}", segment(id)))?;
            return Ok(out::result(&format!("1 command, {}\n", words(&one["state"]))));
        }
        return tell(global, &asked(target, method, &format!("{path}?{}", query.join("&")))?);
    }
    if query.is_empty() && !which.all {
        out::note("error: say which: an id, a filter such as --state dead, or --all");
        return Err(USAGE);
    }
    query.push("all=true".to_owned());
    query.push(by());
    query.extend(reset.then(|| "reset=true".to_owned()));
    let (method, path) = match verb {
        "discard" => ("DELETE", "/api/v1/commands".to_owned()),
        verb => ("POST", format!("/api/v1/commands/{verb}")),
    };
    let path = format!("{path}?{}", query.join("&"));
    let would = asked(target, method, &format!("{path}&dry_run=true"))?;
    let count = number(&would["count"]);
    if which.dry_run {
        return if global.json() { Ok(out::json(&would)) } else { Ok(out::result(&format!("{count} commands\n"))) };
    }
    if !which.yes && would["count"].as_u64().unwrap_or(0) > 0 && !agreed(verb, &count)? {
        return Err(FAILED);
    }
    let (mut count, mut left) = (0, 0);
    let mut done: Value;
    loop {
        let text = client::told(target, (method, &path, ""), ANSWER_MAX, PATIENCE)?;
        done = serde_json::from_str(&text).unwrap_or_default();
        count += done["count"].as_u64().unwrap_or(0);
        left += done["left"].as_u64().unwrap_or(0);
        if done["more"] != true {
            break;
        }
    }
    (done["count"], done["left"]) = (count.into(), left.into());
    tell(global, &done)
}

/// Asks on a terminal; elsewhere it has to be said beforehand.
fn agreed(verb: &str, count: &str) -> Result<bool, u8> {
    if !std::io::stdin().is_terminal() {
        out::note(&format!("error: this would {verb} {count} commands; add --yes"));
        return Err(USAGE);
    }
    let mut error = std::io::stderr().lock();
    let _ = write!(error, "{verb} {count} commands? [y/N] ").and_then(|()| error.flush());
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn tell(global: &Global, done: &Value) -> Result<u8, u8> {
    if global.json() {
        return Ok(out::json(done));
    }
    let left = match done["left"].as_u64() {
        Some(left) if left > 0 => format!(", {left} left as they were"),
        _ => String::new(),
    };
    Ok(out::result(&format!("{} {}{left}\n", number(&done["count"]), words(&done["result"]))))
}

fn pause(global: &Global, target: &Target, of: &ServiceArgs, verb: &str) -> Result<u8, u8> {
    let mut path = format!("/api/v1/spool/{verb}?{}", by());
    if let Some(service) = &of.service {
        let direction = if of.outbound { "outbound" } else { "inbound" };
        path.push_str(&format!("&service={}&direction={direction}", encoded(service)));
    }
    let done = asked(target, "POST", &path)?;
    if of.service.is_none() && !global.json() {
        return Ok(out::result(&format!("everything is {}\n", words(&done["result"]))));
    }
    tell(global, &done)
}

fn export(target: &Target, filter: &FilterArgs, file: Option<&Path>) -> Result<u8, u8> {
    let mut into: Box<dyn Write> = match file {
        None => Box::new(std::io::stdout().lock()),
        Some(path) => Box::new(std::fs::File::create(path).map_err(|e| {
            out::note(&format!("error: can't write {}: {e}", path.display()));
            FAILED
        })?),
    };
    let (mut cursor, mut count, mut unreadable) = (None::<i64>, 0u64, 0);
    loop {
        let mut query = query(filter);
        query.extend(cursor.map(|at| format!("cursor={at}")));
        let path = format!("/api/v1/commands/export?{}", query.join("&"));
        let text = client::told(target, ("GET", &path, ""), ANSWER_MAX, PATIENCE)?;
        let page: Value = serde_json::from_str(&text).unwrap_or_default();
        for command in page["commands"].as_array().into_iter().flatten() {
            if let Err(e) = writeln!(into, "{command}") {
                out::note(&format!("error: can't write: {e}"));
                return Err(FAILED);
            }
            count += 1;
        }
        unreadable += page["unreadable"].as_u64().unwrap_or(0);
        cursor = page["next"].as_i64();
        if cursor.is_none() {
            break;
        }
    }
    if unreadable > 0 {
        out::note(&format!("{unreadable} commands could not be read and are not among them"));
    }
    into.flush().map_err(|_| FAILED)?;
    out::note(&format!("{count} commands; they are still in this spool: discard them when they are in the other"));
    Ok(0)
}

fn import(target: &Target, file: &Path) -> Result<u8, u8> {
    let from: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(std::fs::File::open(file).map_err(|e| {
            out::note(&format!("error: {}: {e}", file.display()));
            NO_FILE
        })?),
    };
    let (mut count, mut left) = (0, 0);
    let mut send = |lines: &mut String| -> Result<(), u8> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = format!("/api/v1/commands/import?{}", by());
        let done: Value = {
            let text = client::told(target, ("POST", &path, lines), ANSWER_MAX, PATIENCE)?;
            serde_json::from_str(&text).unwrap_or_default()
        };
        count += done["count"].as_u64().unwrap_or(0);
        left += done["left"].as_u64().unwrap_or(0);
        lines.clear();
        Ok(())
    };
    let (mut lines, mut n) = (String::new(), 0);
    for line in std::io::BufReader::new(from).lines() {
        let line = line.map_err(|e| {
            out::note(&format!("error: {}: {e}", file.display()));
            FAILED
        })?;
        lines.push_str(&line);
        lines.push('\n');
        n += 1;
        if n % LINES == 0 || lines.len() > BYTES {
            send(&mut lines)?;
        }
    }
    send(&mut lines)?;
    let note = if left > 0 {
        format!(", {left} left out: they are there already, or there is no room")
    } else {
        String::new()
    };
    Ok(out::result(&format!("{count} imported{note}\n")))
}
