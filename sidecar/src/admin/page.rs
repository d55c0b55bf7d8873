//! The page at `/`, as it is before a script runs, and where none does: what a person wants to know first.

use super::answer::{Answer, TEXT, make};
use super::api::Desk;
use super::html::Safe;
use super::numbers::Numbers;
use super::web;
use crate::config::Admin;
use crate::exchange::Identity;
use http::{HeaderValue, header};
use std::fmt::{Display, Write};

/// Rows of the table of commands; `/metrics` has them all.
const ROWS: usize = 100;

/// The whole page.
pub(super) fn page(desk: &Desk) -> String {
    let numbers = desk.pulse.beat(&*desk.control).now;
    let mut html = String::with_capacity(8 << 10);
    // Writing to a String cannot fail.
    let _ = write(&mut html, desk, &numbers);
    html
}

/// What every page begins with.
fn begin(out: &mut String, title: &str, script: &str, refresh: bool) -> std::fmt::Result {
    let (style, script) = (web::path("eyes.css"), web::path(script));
    let refresh = if refresh { "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>" } else { "" };
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">{refresh}\
         <title>{} · Fourmi</title><link rel=\"icon\" href=\"{}\"><link rel=\"stylesheet\" href=\"{style}\">\
         <script type=\"module\" src=\"{script}\"></script></head>\n",
        Safe(title),
        web::path("ant.svg"),
    )
}

/// Where a token is asked for. It is sent as a header, so it stands in no log.
pub(super) fn login(identity: &Identity) -> Answer {
    let mut out = String::new();
    let _ = begin(&mut out, &identity.service, "login.js", false);
    out.push_str(
        "<body class=\"login\"><main><h1>Fourmi</h1><form id=\"login\"><label for=\"token\">Token of this admin \
         listener</label><input id=\"token\" type=\"password\" autocomplete=\"current-password\" required>\
         <button>Open</button><p id=\"said\" role=\"status\"></p></form><noscript><p>Without script: send it as \
         <code>Authorization: Bearer TOKEN</code>.</p></noscript></main></body></html>\n",
    );
    let mut answer = make(401, "text/html; charset=utf-8", out);
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

/// A browser has shown the token: from now on it shows its mark.
pub(super) fn logged_in(settings: &Admin) -> Answer {
    let mut answer = make(200, TEXT, "welcome\n");
    let token = settings.token_file.as_deref().and_then(|file| crate::token::read(file).ok());
    if let Some(token) = token {
        let cookie = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200",
            super::guard::cookie(settings),
            crate::token::mark(&token)
        );
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            answer.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
    answer
}

fn write(out: &mut String, desk: &Desk, numbers: &Numbers) -> std::fmt::Result {
    let control = &*desk.control;
    let identity = control.identity();
    let (service, env, host) = (Safe(&identity.service), Safe(&identity.env), Safe(&identity.hostname));
    begin(out, &identity.service, "eyes.js", true)?;
    write!(
        out,
        "<body><a class=\"skip\" href=\"#main\">Skip to content</a><header id=\"top\"><h1>{service}</h1>\
         <p class=\"soft\">{env} · {host} · fourmi {}</p>",
        env!("CARGO_PKG_VERSION")
    )?;
    let parts = control.ready();
    let waiting: Vec<_> = parts.iter().filter(|part| !part.ready).collect();
    match waiting.is_empty() {
        true => out.push_str("<p class=\"state good\">✔ ready</p>"),
        false => {
            out.push_str("<p class=\"state bad\">✘ not ready</p><ul>");
            for part in waiting {
                write!(out, "<li><strong>{}</strong> {}</li>", Safe(&part.name), Safe(&part.detail))?;
            }
            out.push_str("</ul>");
        }
    }
    let total: f64 = numbers.commands.values().map(|row| row.total).sum();
    let success: f64 = numbers.commands.values().map(|row| row.success()).sum();
    out.push_str("</header>\n<main id=\"main\" tabindex=\"-1\"><dl class=\"cards\">");
    card(out, "commands", count(total))?;
    card(out, "success", share(success, total))?;
    card(out, "in flight", count(numbers.in_flight.values().sum()))?;
    card(out, "records lost", count(numbers.lost()))?;
    out.push_str("</dl>\n");
    commands(out, numbers)?;
    sinks(out, numbers)?;
    instances(out, numbers)?;
    out.push_str("</main>\n<nav id=\"more\" aria-label=\"More\"><h2>More</h2><ul>");
    for path in ["/metrics", "/readyz?verbose"] {
        write!(out, "<li><a href=\"{path}\">{path}</a></li>")?;
    }
    for path in ["status", "config", "sinks", "upstreams", "limits", "topology", "recent", "registry", "check"] {
        write!(out, "<li><a href=\"/api/v1/{path}\">{path}</a></li>")?;
    }
    out.push_str("</ul></nav></body></html>\n");
    Ok(())
}

fn card(out: &mut String, name: &str, value: impl Display) -> std::fmt::Result {
    write!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>")
}

fn table(out: &mut String, title: &str, caption: &str, columns: &[(&str, bool)]) -> std::fmt::Result {
    write!(out, "<section><h2>{title}</h2><div class=\"wide\"><table><caption>{caption}</caption><thead><tr>")?;
    for (name, number) in columns {
        let class = if *number { " class=\"n\"" } else { "" };
        write!(out, "<th scope=\"col\"{class}>{name}</th>")?;
    }
    out.push_str("</tr></thead><tbody>\n");
    Ok(())
}

const END: &str = "</tbody></table></div></section>\n";

fn commands(out: &mut String, numbers: &Numbers) -> std::fmt::Result {
    if numbers.commands.is_empty() {
        out.push_str(
            "<section><h2>Commands</h2><p>None yet. Send one to the inbound listener, with a header \
             <code>Fourmi-Command</code> that names it.</p></section>\n",
        );
        return Ok(());
    }
    let columns = [
        ("direction", false),
        ("service", false),
        ("command", false),
        ("total", true),
        ("success", true),
        ("p50", true),
        ("p95", true),
        ("other outcomes", false),
    ];
    table(out, "Commands", "Since the start, most first", &columns)?;
    let mut rows: Vec<_> = numbers.commands.iter().collect();
    rows.sort_by(|(_, a), (_, b)| b.total.total_cmp(&a.total));
    for ((direction, service, command), row) in rows.iter().take(ROWS) {
        let others = row.outcomes.iter().filter(|(name, _)| *name != "success");
        let others: Vec<_> = others.map(|(name, n)| format!("{name} {}", count(*n))).collect();
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            Safe(direction),
            Safe(service),
            Safe(command),
            count(row.total),
            share(row.success(), row.total),
            millis(row.buckets.quantile(0.5)),
            millis(row.buckets.quantile(0.95)),
            Safe(&others.join(", ")),
        )?;
    }
    out.push_str(END);
    if rows.len() > ROWS {
        write!(out, "<p class=\"soft\">{} more in <a href=\"/metrics\">/metrics</a></p>", rows.len() - ROWS)?;
    }
    Ok(())
}

fn sinks(out: &mut String, numbers: &Numbers) -> std::fmt::Result {
    if numbers.sinks.is_empty() {
        return Ok(());
    }
    table(out, "Sinks", "Records told, and lost with the reason", &[("sink", false), ("sent", true), ("lost", false)])?;
    for (sink, results) in &numbers.sinks {
        let lost: Vec<_> = results
            .iter()
            .filter(|(result, n)| *result != "sent" && **n > 0.0)
            .map(|(result, n)| format!("{result} {}", count(*n)))
            .collect();
        let (class, lost) = if lost.is_empty() { ("soft", "none".to_owned()) } else { ("bad", lost.join(", ")) };
        writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"{class}\">{}</td></tr>",
            Safe(sink),
            count(results.get("sent").copied().unwrap_or(0.0)),
            Safe(&lost)
        )?;
    }
    out.push_str(END);
    Ok(())
}

fn instances(out: &mut String, numbers: &Numbers) -> std::fmt::Result {
    if numbers.instances.is_empty() {
        return Ok(());
    }
    table(out, "Instances", "By service and state", &[("service", false), ("state", false), ("instances", true)])?;
    for (service, state, n) in &numbers.instances {
        let (service, state) = (Safe(service), Safe(state));
        writeln!(out, "<tr><th scope=\"row\">{service}</th><td>{state}</td><td class=\"n\">{}</td></tr>", count(*n))?;
    }
    out.push_str(END);
    Ok(())
}

fn count(n: f64) -> String {
    format!("{n:.0}")
}

fn share(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1} %", 100.0 * part / whole) } else { "–".to_owned() }
}

fn millis(seconds: Option<f64>) -> String {
    seconds.map_or("–".to_owned(), |s| format!("{:.1} ms", s * 1e3))
}
