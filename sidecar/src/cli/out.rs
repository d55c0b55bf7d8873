//! Results to standard output, everything else to standard error; colour only where it is wanted.

use super::args::Color;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

/// Prints a result. A reader that has gone away (`fourmi schema | head`) is no failure.
pub(crate) fn result(text: &str) -> u8 {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => 0,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            note(&format!("error: can't write to standard output: {error}"));
            1
        }
    }
}

/// Prints a result for programs.
pub(crate) fn json(value: &serde_json::Value) -> u8 {
    result(&format!("{value:#}\n"))
}

/// Says something beside the result. If nobody can hear it, nothing can be done about it.
pub(crate) fn note(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{}", text.trim_end_matches('\n'));
}

/// Whether standard error takes colour.
pub(crate) fn colored(when: Color) -> bool {
    takes_color(when, std::io::stderr().is_terminal())
}

/// Whether standard output does.
pub(crate) fn result_colored(when: Color) -> bool {
    takes_color(when, std::io::stdout().is_terminal())
}

fn takes_color(when: Color, terminal: bool) -> bool {
    match when {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && wanted(),
    }
}

/// Whether the environment lets us use colour at all (https://no-color.org).
fn wanted() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|t| t != "dumb")
}

/// Columns as wide as they must be; the last one is free.
pub(crate) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
    }
    out
}
