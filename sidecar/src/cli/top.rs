//! `fourmi top`: the commands of a running Fourmi by how many there are, again and again; off a terminal once.

use super::args::Global;
use super::client::{self, Target};
use super::out;
use super::screen::{Key, Screen};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::thread::sleep;
use std::time::Duration;

const PATH: &str = "/api/v1/overview";
/// Between two pictures.
const BEAT: Duration = Duration::from_secs(1);

/// Draws until `q`; where nobody can press it, prints one table.
pub(crate) fn top(global: &Global, target: &Target) -> u8 {
    let place = match client::find(target) {
        Ok(place) => place,
        Err(lost) => return lost.tell(target.json),
    };
    let asked = || match client::ask(&place, "GET", PATH, true, client::PATIENCE) {
        Ok(answer) if answer.good() => serde_json::from_str::<Value>(&answer.body).map_err(|_| {
            out::note(&format!("error: http://{}{PATH} answered something else than JSON", place.authority));
            1
        }),
        Ok(answer) => Err(client::refused(target, &place, PATH, &answer)),
        Err(why) => Err(client::unreachable(&place, PATH, &why)),
    };
    let all = match asked() {
        Ok(all) => all,
        Err(code) => return code,
    };
    // Rates need two looks; a page that is open has taken the first.
    let known = !all["window_seconds"].is_null();
    let once = |all: &Value| match global.json() {
        true => out::json(all),
        false => out::result(&picture(all, usize::MAX, usize::MAX, out::result_colored(global.color))),
    };
    if global.json() || !std::io::stdout().is_terminal() {
        if known {
            return once(&all);
        }
        sleep(BEAT);
        return asked().map_or_else(|code| code, |all| once(&all));
    }
    let mut screen = match Screen::open() {
        Ok(screen) => screen,
        Err(why) => {
            out::note(&format!("error: this terminal cannot be drawn on: {why}"));
            return once(&all);
        }
    };
    let (mut all, mut paused) = (all, false);
    loop {
        let (width, height) = screen.size();
        let mut text = picture(&all, width, height.saturating_sub(1), out::result_colored(global.color));
        let _ = write!(text, "q quits, p {}", if paused { "goes on" } else { "pauses" });
        if screen.show(&text).is_err() {
            return 0;
        }
        match screen.key(BEAT) {
            Some(Key::Quit) => return 0,
            Some(Key::Pause) => paused = !paused,
            Some(Key::Other) => {}
            None if paused => {}
            None => match client::ask(&place, "GET", PATH, true, client::PATIENCE) {
                Ok(answer) if answer.good() => all = serde_json::from_str(&answer.body).unwrap_or(all),
                Ok(answer) => {
                    drop(screen);
                    return client::refused(target, &place, PATH, &answer);
                }
                Err(why) => {
                    drop(screen);
                    return client::unreachable(&place, PATH, &why);
                }
            },
        }
    }
}

/// Who and how much, and a line for each command, the most first.
fn picture(all: &Value, width: usize, height: usize, color: bool) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let bold = |text: String| if color { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text };
    let (inbound, outbound) = (&all["inbound"], &all["outbound"]);
    let way = if inbound["total"].as_f64() > Some(0.0) { inbound } else { outbound };
    let ready = match (all["ready"] == true, all["draining"] == true) {
        (_, true) => "draining",
        (true, _) => "ready",
        (false, _) => "NOT READY",
    };
    let first = format!(
        "{} {} {}  {ready}  {}/s  success {}  p95 {}  in flight {}  lost {}",
        text(&all["service"]),
        text(&all["env"]),
        text(&all["hostname"]),
        number(&way["lately"]["rate"], 1),
        share(&way["lately"]["success"]),
        ms(&way["lately"]["p95_ms"]),
        number(&all["in_flight"], 0),
        number(&all["lost"], 0),
    );
    let mut rows: Vec<&Value> = all["rows"].as_array().into_iter().flatten().collect();
    let rate = |row: &Value| row["lately"]["rate"].as_f64().unwrap_or_default();
    rows.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
    let mut table =
        vec![["COMMAND", "WAY", "RATE/S", "SUCCESS", "P50", "P95", "P99", "IN FLIGHT", "TOTAL"].map(str::to_owned)];
    let room = height.saturating_sub(3);
    for row in rows.iter().take(room) {
        let way = match row["direction"] == "outbound" {
            true => format!("to {}", text(&row["service"])),
            false => "in".to_owned(),
        };
        let lately = &row["lately"];
        table.push([
            text(&row["command"]).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
            way,
            number(&lately["rate"], 1),
            share(&lately["success"]),
            ms(&lately["p50_ms"]),
            ms(&lately["p95_ms"]),
            ms(&lately["p99_ms"]),
            number(&lately["busy"], 2),
            number(&row["total"], 0),
        ]);
    }
    let more = rows.len().saturating_sub(room) as u64 + all["more_rows"].as_u64().unwrap_or(0);
    let mut out = cut(&first, width);
    out = bold(out);
    out.push('\n');
    for (at, line) in columns(&table).lines().enumerate() {
        let line = cut(line, width);
        out.push_str(&if at == 0 { bold(line) } else { line });
        out.push('\n');
    }
    if more > 0 {
        let _ = writeln!(out, "and {more} more");
    }
    out
}

/// As wide as they must be; numbers stand at the right.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
    }
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).enumerate().map(|(at, (cell, width))| match at {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    out
}

fn cut(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
}

fn number(value: &Value, digits: usize) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |n| format!("{n:.digits$}"))
}

fn share(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(1.0) => "100%".to_owned(),
        // What failed must not be rounded away.
        Some(share) => format!("{:.1}%", (share * 100.0).min(99.9)),
    }
}

fn ms(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |n| format!("{n:.1}ms"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_most_come_first_and_all_fits() {
        let row = |name: &str, rate: f64| {
            json!({"command": name, "direction": "inbound", "service": "order", "total": 7.0,
                   "lately": {"rate": rate, "success": 0.9996, "p50_ms": 1.0, "p95_ms": 22.25, "p99_ms": null, "busy": 0.5}})
        };
        let all = json!({
            "service": "order", "env": "demo", "hostname": "a", "ready": true, "in_flight": 2, "lost": 0.0,
            "inbound": {"total": 9.0, "lately": {"rate": 40.0, "success": 1.0, "p95_ms": 3.0}}, "outbound": {"total": 0.0},
            "rows": [row("A", 1.0), row("B\u{1b}[2J", 39.0)], "more_rows": 0,
        });
        let said = picture(&all, usize::MAX, usize::MAX, false);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[0], "order demo a  ready  40.0/s  success 100%  p95 3.0ms  in flight 2  lost 0");
        assert_eq!(lines[1], "COMMAND  WAY  RATE/S  SUCCESS    P50     P95  P99  IN FLIGHT  TOTAL");
        assert_eq!(lines[2], "B\u{fffd}[2J    in     39.0    99.9%  1.0ms  22.2ms    -       0.50      7");
        assert!(lines[3].starts_with("A "));
        let small = picture(&all, 20, 4, false);
        assert!(small.lines().all(|l| l.chars().count() <= 20) && small.ends_with("and 1 more\n"), "{small}");
        assert!(picture(&all, 80, 9, true).starts_with("\u{1b}[1morder"));
    }
}
