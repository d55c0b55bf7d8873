//! The severities of loggers, as syslog's (RFC 5424, 6.2.1): 0 emergency to 7 debug.

/// By its word, whatever its letters' case.
pub(super) fn word(text: &str) -> Option<u8> {
    let mut lower = [0; 16];
    let lower = lower.get_mut(..text.len())?;
    lower.copy_from_slice(text.as_bytes());
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"emergency" | b"emerg" | b"panic" => 0,
        b"alert" => 1,
        b"critical" | b"crit" | b"fatal" | b"dpanic" | b"severe" => 2,
        b"error" | b"err" | b"eror" | b"failure" => 3,
        b"warning" | b"warn" | b"wrn" => 4,
        b"notice" | b"deprecated" => 5,
        b"info" | b"information" | b"informational" | b"inf" | b"http" | b"default" | b"log" | b"success" => 6,
        b"debug" | b"dbg" | b"trace" | b"verbose" | b"silly" | b"fine" | b"finer" | b"finest" | b"trc" => 7,
        _ => return None,
    })
}

/// By a number under the key `level` or the like: syslog's 0–7, pino's and bunyan's 10–60, Monolog's 100–600.
pub(super) fn number(n: i64) -> Option<u8> {
    Some(match n {
        0..=7 => n as u8,
        10..=29 => 7,
        30..=39 => 6,
        40..=49 => 4,
        50..=59 => 3,
        60..=69 => 2,
        100..=199 => 7,
        200..=249 => 6,
        250..=299 => 5,
        300..=399 => 4,
        400..=499 => 3,
        500..=549 => 2,
        550..=599 => 1,
        600..=699 => 0,
        _ => return None,
    })
}

/// By Python's `levelno`.
pub(super) fn python(n: i64) -> Option<u8> {
    Some(match n {
        1..=19 => 7,
        20..=29 => 6,
        30..=39 => 4,
        40..=49 => 3,
        50..=59 => 2,
        _ => return None,
    })
}

/// By OpenTelemetry's `severity_number` (1–24).
pub(super) fn open_telemetry(n: i64) -> Option<u8> {
    Some(match n {
        1..=8 => 7,
        9..=12 => 6,
        13..=16 => 4,
        17..=20 => 3,
        21..=24 => 2,
        _ => return None,
    })
}

/// Of a line of text, by the first word that is a level as loggers write it: `[error]`, `ERROR:`, `app.ERROR`,
/// `level=warn`, `PHP Warning:`, `error: …` at its beginning.
pub(super) fn of_text(text: &str) -> Option<u8> {
    /// Words from the beginning among which a logger writes its level.
    const WORDS: usize = 8;
    let start = text.char_indices().nth(240).map_or(text, |(i, _)| &text[..i]);
    // php-fpm wraps what its workers say.
    if let Some((_, inner)) = start.split_once("PHP message: ") {
        return of_text(inner).or(Some(5));
    }
    if let Some(level) = php(start) {
        return Some(level);
    }
    // Go's last words.
    if start.starts_with("panic: ") {
        return Some(2);
    }
    for (n, token) in start.split_whitespace().take(WORDS).enumerate() {
        if let Some((key, value)) = token.split_once('=') {
            let key = key.trim_start_matches(['{', '[', '"']);
            if matches!(key, "level" | "lvl" | "severity" | "loglevel") {
                return word(value.trim_matches(['"', ',', ']', '}']));
            }
            continue;
        }
        let bare = token.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        // `app.ERROR` and `WARNING:root:…` have their level beside other words.
        let last = bare.rsplit('.').next().unwrap_or(bare);
        let first = bare.split(':').next().unwrap_or(bare);
        for part in [bare, last, first] {
            let Some(level) = word(part) else { continue };
            let upper = part.len() > 2 && part.bytes().all(|b| b.is_ascii_uppercase());
            let bracketed = token.starts_with(['[', '<', '(', '|']) && token.contains([']', '>', ')', '|']);
            let leading = n < 2 && token.ends_with(':') && first == bare;
            if upper || bracketed || leading {
                return Some(level);
            }
        }
    }
    if start.starts_with("Traceback (most recent call last)")
        || start.starts_with("Uncaught ")
        || start.starts_with("Unhandled ")
        || start.starts_with("Exception in thread")
        || start.starts_with("thread '")
    {
        return Some(3);
    }
    let kind = start.split([':', ' ']).next().unwrap_or("");
    (kind.len() > 5 && (kind.ends_with("Error") || kind.ends_with("Exception")) && start.contains(':')).then_some(3)
}

/// `PHP Warning:  …`, with a date in brackets in front or without.
fn php(text: &str) -> Option<u8> {
    let rest = match text.strip_prefix('[') {
        Some(dated) => dated.split_once("] ")?.1,
        None => text,
    };
    let kind = rest.strip_prefix("PHP ")?.split(':').next()?;
    Some(match kind {
        "Fatal error" | "Parse error" | "Recoverable fatal error" | "Core error" | "Compile error" | "Exception" => 3,
        "Warning" | "Core warning" | "Compile warning" | "User Warning" => 4,
        "Notice" | "Deprecated" | "Strict Standards" | "User Notice" | "User Deprecated" => 5,
        "User Error" => 3,
        _ => return None,
    })
}
