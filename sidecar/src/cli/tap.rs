//! `fourmi tap`: the commands of a running Fourmi as they end, a line each.

use super::args::{Global, TapArgs};
use super::client::{self, Target};
use super::out;
use super::upstreams::encoded;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, Write as _};
use std::time::{Duration, Instant};

/// Nothing was heard for so long: even silence is told every ten seconds.
const SILENCE: Duration = Duration::from_secs(25);
/// Between two lines about what was skipped.
const SKIPPED: Duration = Duration::from_secs(5);
/// Bytes of one line of the stream.
const LINE_MAX: u64 = 1 << 20;

/// Follows until it is interrupted, has told `-n` of them, or the other side ends.
pub(crate) fn tap(global: &Global, target: &Target, args: &TapArgs) -> u8 {
    let place = match client::find(target) {
        Ok(place) => place,
        Err(lost) => return lost.tell(target.json),
    };
    let path = path(args);
    let stream = match client::open(&place, &path, SILENCE) {
        Ok(Ok(stream)) => stream,
        Ok(Err(answer)) => return client::refused(target, &place, "/api/v1/tap", &answer),
        Err(why) => return client::unreachable(&place, "/api/v1/tap", &why),
    };
    let mut told =
        Told { color: out::result_colored(global.color), json: global.json(), left: args.count, ..Told::default() };
    let ended = told.follow(stream);
    told.say_skipped(true);
    match ended {
        Ok(()) => 0,
        Err(why) => client::unreachable(&place, "/api/v1/tap", &why),
    }
}

/// What is asked for.
fn path(args: &TapArgs) -> String {
    let mut path = format!("/api/v1/tap?max-rps={}", args.max_rps);
    let mut add = |name: &str, value: &str| {
        let _ = write!(path, "&{name}={}", encoded(value));
    };
    let one = [
        ("service", &args.service),
        ("command", &args.command),
        ("id", &args.id),
        ("trace", &args.trace),
        ("consumer", &args.consumer),
        ("direction", &args.direction),
        ("min-latency", &args.min_latency),
    ];
    one.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).for_each(|(name, value)| add(name, value));
    args.result.iter().for_each(|word| add("result", word));
    args.tag.iter().for_each(|pair| add("tag", pair));
    path
}

#[derive(Default)]
struct Told {
    color: bool,
    json: bool,
    left: Option<u64>,
    skipped: u64,
    said: Option<Instant>,
}

impl Told {
    /// Reads server-sent events: an `event:` names what its `data:` is.
    fn follow(&mut self, mut stream: impl BufRead) -> Result<(), String> {
        let (mut line, mut event) = (String::new(), String::new());
        loop {
            line.clear();
            let read = <&mut dyn BufRead as std::io::Read>::take(&mut stream, LINE_MAX).read_line(&mut line);
            if read.map_err(|e| e.to_string())? == 0 {
                return Err("it has ended".into());
            }
            match line.trim_end().split_once(": ") {
                Some(("event", name)) => name.clone_into(&mut event),
                Some(("data", data)) => {
                    if !self.take(&event, data) {
                        return Ok(());
                    }
                    event.clear();
                }
                _ => {}
            }
            self.say_skipped(false);
        }
    }

    /// False when there is nobody to tell, or nothing more to be told.
    fn take(&mut self, event: &str, data: &str) -> bool {
        match event {
            "skipped" => self.skipped += data.parse::<u64>().unwrap_or(0),
            "" => {
                let text = match (self.json, serde_json::from_str(data)) {
                    (true, _) => format!("{data}\n"),
                    (false, Ok(command)) => line(&command, self.color),
                    (false, Err(_)) => return true,
                };
                let mut out = std::io::stdout().lock();
                if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                    return false;
                }
                self.left = self.left.map(|n| n.saturating_sub(1));
            }
            _ => {}
        }
        self.left != Some(0)
    }

    fn say_skipped(&mut self, last: bool) {
        let due = self.said.is_none_or(|said| said.elapsed() >= SKIPPED);
        if self.skipped > 0 && (due || last) {
            out::note(&format!("{} skipped", self.skipped));
            self.skipped = 0;
            self.said = Some(Instant::now());
        }
    }
}

/// One command for people, and for grep: every value has its name but the first ones, which every line has.
fn line(c: &Value, color: bool) -> String {
    // What a caller sent must reach a terminal as nothing but text.
    let text = |key: &str| -> String {
        let text = c[key].as_str().unwrap_or_default();
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    };
    let or_none = |key: &str| Some(text(key)).filter(|t| !t.is_empty()).unwrap_or_else(|| "-".to_owned());
    let wall = c["timestamp"].as_f64().unwrap_or_default();
    let time = jiff::Timestamp::from_microsecond((wall * 1e6) as i64);
    let time = time.map_or_else(|_| "-".to_owned(), |t| t.strftime("%H:%M:%S%.3fZ").to_string());
    let tint = match c["level"].as_u64() {
        Some(0..=3) => "1;31",
        Some(4) => "33",
        _ => "32",
    };
    let outcome = match (color, text("outcome")) {
        (true, outcome) => format!("\u{1b}[{tint}m{outcome:<12}\u{1b}[0m"),
        (false, outcome) => format!("{outcome:<12}"),
    };
    let way = if text("direction") == "outbound" { "out" } else { "in" };
    let status = c["status"].as_u64().map_or_else(|| "-".to_owned(), |s| s.to_string());
    let ms = c["duration_ms"].as_f64().unwrap_or_default();
    let mut out =
        format!("{time} {way:<3} {:<10} {:<24} {status:>3} {outcome} {ms:>9.3}ms", or_none("to"), or_none("command"));
    for (name, key) in [
        ("id", "command_id"),
        ("tags", "tags"),
        ("consumer", "consumer"),
        ("upstream", "upstream"),
        ("trace", "trace_id"),
        ("error", "error"),
    ] {
        match text(key) {
            value if value.is_empty() => {}
            value if value.contains([' ', '"']) => {
                let _ = write!(out, " {name}={value:?}");
            }
            value => {
                let _ = write!(out, " {name}={value}");
            }
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_can_be_grepped() {
        let c = json!({
            "timestamp": 1_700_000_000.5, "direction": "outbound", "to": "stock", "command": "ReserveStock",
            "status": 409, "outcome": "client_error", "level": 4, "duration_ms": 3.25, "command_id": "order-17",
            "tags": "shop=berlin", "error": "two words\u{7}",
        });
        let said = line(&c, false);
        assert!(said.ends_with(
            "out stock      ReserveStock             409 client_error     3.250ms id=order-17 tags=shop=berlin error=\"two words\u{fffd}\"\n"
        ), "{said}");
        assert!(line(&c, true).contains("\u{1b}[33mclient_error\u{1b}[0m"));
        let strange = json!({"command": "a\u{1b}[2Jb\r\n", "duration_ms": 1});
        assert!(!line(&strange, false).contains(['\r', '\u{1b}']), "{:?}", line(&strange, false));
    }

    #[test]
    fn events_are_told_apart() {
        let stream = "retry: 2000\nevent: hello\ndata: {}\n\n:\n\nevent: skipped\ndata: 7\n\ndata: {\"command\":\"A\"}\n\ndata: {}\n\n";
        let mut told = Told { left: Some(1), json: true, said: Some(Instant::now()), ..Told::default() };
        assert_eq!(told.follow(stream.as_bytes()), Ok(()));
        assert_eq!((told.skipped, told.left), (7, Some(0)));
        assert!(Told::default().follow(&b"data: x\n"[..]).is_err(), "the other side has ended");
    }
}
