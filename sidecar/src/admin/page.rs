//! The page at `/`: what a person wants to know first, out of the same numbers that Prometheus reads. No script.

use super::Control;
use super::histogram::Histogram;
use super::scrape::samples;
use crate::names::metric;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// The one asset.
pub(super) const STYLE: &str = include_str!("page.css");
/// Rows of the table of commands; `/metrics` has them all.
const ROWS: usize = 100;

/// What the metrics say of one command in one direction.
#[derive(Default)]
struct Row {
    total: f64,
    success: f64,
    others: BTreeMap<String, f64>,
    seconds: f64,
    timed: f64,
    buckets: Histogram,
}

/// Everything the page shows of the metrics.
#[derive(Default)]
struct Numbers {
    commands: BTreeMap<(String, String, String), Row>,
    in_flight: f64,
    sinks: BTreeMap<String, BTreeMap<String, f64>>,
    instances: Vec<(String, String, f64)>,
}

impl Numbers {
    fn read(text: &str) -> Self {
        let mut numbers = Numbers::default();
        for sample in samples(text) {
            let key = || {
                let of = |label| sample.label(label).to_owned();
                (of("direction"), of("service"), of("command"))
            };
            let part = sample.name.strip_prefix(metric::COMMAND_DURATION);
            match (sample.name, part) {
                (metric::COMMANDS, _) => {
                    let row = numbers.commands.entry(key()).or_default();
                    row.total += sample.value;
                    match sample.label("outcome") {
                        "success" => row.success += sample.value,
                        other => *row.others.entry(other.to_owned()).or_default() += sample.value,
                    }
                }
                (_, Some("_sum")) => numbers.commands.entry(key()).or_default().seconds += sample.value,
                (_, Some("_count")) => numbers.commands.entry(key()).or_default().timed += sample.value,
                (_, Some("_bucket")) => {
                    if let Ok(bound) = sample.label("le").parse() {
                        numbers.commands.entry(key()).or_default().buckets.add(bound, sample.value);
                    }
                }
                (metric::IN_FLIGHT, _) => numbers.in_flight += sample.value,
                (metric::SINK_RECORDS, _) => {
                    let results = numbers.sinks.entry(sample.label("sink").to_owned()).or_default();
                    *results.entry(sample.label("result").to_owned()).or_default() += sample.value;
                }
                (metric::INSTANCES, _) => numbers.instances.push((
                    sample.label("service").to_owned(),
                    sample.label("state").to_owned(),
                    sample.value,
                )),
                _ => {}
            }
        }
        // A histogram may have been cut differently (or not at all); rows are what was counted.
        numbers.commands.retain(|_, row| row.total > 0.0);
        numbers
    }

    fn lost(&self) -> f64 {
        self.sinks.values().flatten().filter(|(result, _)| *result != "sent").map(|(_, n)| n).sum()
    }
}

/// The whole page. `live`: it loads itself again every five seconds.
pub(super) fn page(control: &dyn Control, live: bool) -> String {
    let mut text = String::new();
    control.metrics(&mut text);
    let numbers = Numbers::read(&text);
    let mut html = String::with_capacity(8 << 10);
    // Writing to a String cannot fail.
    let _ = write(&mut html, control, &numbers, live);
    html
}

fn write(out: &mut String, control: &dyn Control, numbers: &Numbers, live: bool) -> std::fmt::Result {
    let identity = control.identity();
    let (service, env, host) = (Safe(&identity.service), Safe(&identity.env), Safe(&identity.hostname));
    let refresh = if live { "<meta http-equiv=\"refresh\" content=\"5\">" } else { "" };
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">{refresh}\
         <title>{service} · Fourmi</title><link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/page.css\">\
         </head>\n<body><header><h1>{service}</h1><p class=\"soft\">{env} · {host} · fourmi {}</p>",
        env!("CARGO_PKG_VERSION")
    )?;
    let parts = control.ready();
    let waiting: Vec<_> = parts.iter().filter(|part| !part.ready).collect();
    match waiting.is_empty() {
        true => out.push_str("<p class=\"good\"><strong>✔ ready</strong></p>"),
        false => {
            out.push_str("<p class=\"bad\"><strong>✘ not ready</strong></p><ul>");
            for part in waiting {
                write!(out, "<li><strong>{}</strong> {}</li>", Safe(&part.name), Safe(&part.detail))?;
            }
            out.push_str("</ul>");
        }
    }
    let total: f64 = numbers.commands.values().map(|row| row.total).sum();
    let success: f64 = numbers.commands.values().map(|row| row.success).sum();
    let lost = numbers.lost();
    out.push_str("</header>\n<main><dl class=\"cards\">");
    card(out, "commands", count(total))?;
    card(out, "success", share(success, total))?;
    card(out, "in flight", count(numbers.in_flight))?;
    card(out, "records lost", count(lost))?;
    out.push_str("</dl>\n");
    commands(out, numbers)?;
    sinks(out, numbers)?;
    instances(out, numbers)?;
    out.push_str("</main>\n<nav aria-label=\"More\"><h2>More</h2><ul>");
    let (way, word) = if live { ("/?pause", "pause this page") } else { ("/", "keep this page live") };
    write!(out, "<li><a href=\"{way}\">{word}</a></li>")?;
    for path in ["/metrics", "/readyz?verbose", "/livez"] {
        write!(out, "<li><a href=\"{path}\">{path}</a></li>")?;
    }
    for path in ["status", "config", "sinks", "upstreams"] {
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
        ("mean", true),
        ("p95", true),
        ("other outcomes", false),
    ];
    table(out, "Commands", "Since the start, most first", &columns)?;
    let mut rows: Vec<_> = numbers.commands.iter().collect();
    rows.sort_by(|(_, a), (_, b)| b.total.total_cmp(&a.total));
    for ((direction, service, command), row) in rows.iter().take(ROWS) {
        let others: Vec<_> = row.others.iter().map(|(name, n)| format!("{name} {}", count(*n))).collect();
        let mean = (row.timed > 0.0).then(|| row.seconds / row.timed);
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            Safe(direction),
            Safe(service),
            Safe(command),
            count(row.total),
            share(row.success, row.total),
            millis(mean),
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

/// Text that stays text inside HTML, in elements and in quoted attributes.
struct Safe<'a>(&'a str);

impl Display for Safe<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
