//! What is seen while it runs: a table that is drawn again in place on a terminal, a line now and then elsewhere.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two lines where there is no terminal.
const LINE: Duration = Duration::from_secs(5);

/// One service now.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Row {
    /// Its name.
    pub(super) service: &'static str,
    /// Commands to it a second.
    pub(super) rate: f64,
    /// Share of them that went well, 0 to 1, since the last drawing.
    pub(super) success: Option<f64>,
    /// 95 of 100 recent ones stayed below, in ms.
    pub(super) p95: Option<f64>,
    /// Log records received, both directions.
    pub(super) records: u64,
    /// Commands counted by StatsD, both directions.
    pub(super) counted: u64,
    /// Records lost.
    pub(super) lost: u64,
}

/// Standard error, so that standard output holds the result alone.
pub(super) struct Screen {
    terminal: bool,
    drawn: usize,
    last: Option<Instant>,
}

impl Screen {
    /// Looks whether there is a terminal.
    pub(super) fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Screen { terminal: std::io::stderr().is_terminal() && !dumb, drawn: 0, last: None }
    }

    /// Shows the rows, and a line about what happened last.
    pub(super) fn show(&mut self, elapsed: Duration, rows: &[Row], news: &str) {
        let text = if self.terminal {
            let text = format!("{:>4} s  {news}\n{}", elapsed.as_secs(), table(rows));
            let up = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { "\x1b[?25l".to_owned() };
            self.drawn = text.lines().count();
            format!("{up}\x1b[J{text}")
        } else {
            if self.last.is_some_and(|last| last.elapsed() < LINE) {
                return;
            }
            self.last = Some(Instant::now());
            line(elapsed, rows)
        };
        let mut out = std::io::stderr().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Says something once; the table goes on below it.
    pub(super) fn say(&mut self, text: &str) {
        if !self.terminal {
            super::tell(text);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.drawn > 0 {
            let _ = std::io::stderr().lock().write_all(b"\x1b[?25h");
        }
    }
}

fn table(rows: &[Row]) -> String {
    let mut out = format!(
        "{:<9}{:>10}{:>9}{:>11}{:>13}{:>9}{:>7}\n",
        "service", "rate", "success", "p95", "log records", "StatsD", "lost"
    );
    for row in rows {
        let success = row.success.map_or("–".to_owned(), |s| format!("{:.1} %", 100.0 * s));
        let p95 = row.p95.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:<9}{:>8.0}/s{success:>9}{p95:>11}{:>13}{:>9}{:>7}",
            row.service, row.rate, row.records, row.counted, row.lost
        );
    }
    out
}

fn line(elapsed: Duration, rows: &[Row]) -> String {
    let mut out = format!("{} s:", elapsed.as_secs());
    for row in rows {
        let success = row.success.map_or(String::new(), |s| format!(" {:.1} %", 100.0 * s));
        let _ = write!(out, " {} {:.0}/s{success},", row.service, row.rate);
    }
    let records: u64 = rows.iter().map(|row| row.records).sum();
    let lost: u64 = rows.iter().map(|row| row.lost).sum();
    let _ = writeln!(out, " {records} log records, {lost} lost");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_in_columns_and_in_a_line() {
        let row = Row {
            service: "stock",
            rate: 199.6,
            success: Some(0.971),
            p95: Some(3.12),
            records: 400,
            counted: 390,
            lost: 0,
        };
        let rows = [row, Row { service: "mail", ..Row::default() }];
        let text = table(&rows);
        assert!(text.contains("stock         200/s   97.1 %     3.1 ms          400      390      0"), "{text}");
        assert_eq!(text.lines().map(|l| l.chars().count()).max(), text.lines().map(|l| l.chars().count()).min());
        assert_eq!(line(Duration::from_secs(5), &rows), "5 s: stock 200/s 97.1 %, mail 0/s, 400 log records, 0 lost\n");
    }
}
