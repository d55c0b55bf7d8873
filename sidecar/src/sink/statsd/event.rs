//! Events as DogStatsD takes them.

use super::name::Tags;
use crate::sink::event::Happened;
use crate::sink::json::cut;
use std::fmt::Write;

/// Datadog shows at most so many characters of a title; bytes here, so never more.
const TITLE_MAX: usize = 100;
/// The same for the text.
const TEXT_MAX: usize = 4000;
/// Datadog's limit on an aggregation key.
const KEY_MAX: usize = 100;

/// `_e{<title bytes>,<text bytes>}:title|text|d:<time>|h:<host>|k:<key>|t:<kind>|#tags`. A text that would make the
/// line longer than `max` bytes is cut.
pub(super) fn line(happened: &Happened, host: &str, tags: &Tags, max: usize) -> String {
    let event = &happened.event;
    let title = escaped(&event.title, TITLE_MAX);
    let mut end = format!("|d:{}", happened.at);
    // Writing to a String cannot fail.
    if !host.is_empty() {
        let _ = write!(end, "|h:{}", field(host));
    }
    if let Some(key) = event.aggregation_key.as_deref().filter(|k| !k.is_empty()) {
        let _ = write!(end, "|k:{}", field(key));
    }
    let _ = write!(end, "|t:{}", event.kind.as_str());
    for (i, (key, value)) in tags.iter().enumerate() {
        let _ = write!(end, "{}{key}:{value}", if i == 0 { "|#" } else { "," });
    }
    // `_e{,}:|` and two lengths of at most four digits.
    let room = max.saturating_sub(title.len() + end.len() + 7 + 8).min(TEXT_MAX);
    let text = escaped(&event.text, room);
    format!("_e{{{},{}}}:{title}|{text}{end}", title.len(), text.len())
}

/// A line feed would end the line: it becomes the two characters `\n`, which count as two. At most `max` bytes.
fn escaped(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| *c != '\r') {
        let before = out.len();
        match c {
            '\n' => out.push_str("\\n"),
            c => out.push(if c.is_control() { ' ' } else { c }),
        }
        if out.len() > max {
            out.truncate(before);
            break;
        }
    }
    out
}

fn field(text: &str) -> String {
    cut(text, KEY_MAX).0.chars().map(|c| if c == '|' || c.is_control() { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::event::{Event, EventKind};

    fn happened(title: &str, text: &str, key: Option<&str>) -> Happened {
        let event = Event {
            title: title.into(),
            text: text.into(),
            kind: EventKind::Warning,
            aggregation_key: key.map(str::to_owned),
        };
        Happened { at: 1_700_000_000, event }
    }

    /// The title and text as the lengths say, as an agent reads them.
    fn read(line: &str) -> (&str, &str, &str) {
        let (lengths, rest) = line.strip_prefix("_e{").unwrap().split_once("}:").unwrap();
        let (title, text) = lengths.split_once(',').unwrap();
        let (title, text): (usize, usize) = (title.parse().unwrap(), text.parse().unwrap());
        assert_eq!(&rest[title..=title], "|");
        (&rest[..title], &rest[title + 1..title + 1 + text], &rest[title + 1 + text..])
    }

    #[test]
    fn row_59_an_event_counts_its_escaped_bytes() {
        let plain = line(&happened("title", "ab\ncd", None), "", &Tags::new(), 1432);
        assert_eq!(plain, "_e{5,6}:title|ab\\ncd|d:1700000000|t:warning");
        let tags = vec![("env".to_owned(), "prod".to_owned()), ("service".to_owned(), "order".to_owned())];
        let full = line(&happened("é|x", "t", Some("order|1\n")), "pay-3", &tags, 1432);
        assert_eq!(full, "_e{4,1}:é|x|t|d:1700000000|h:pay-3|k:order_1_|t:warning|#env:prod,service:order");
        for text in ["\n".repeat(5000), "é".repeat(5000), "a\nb".repeat(200)] {
            for max in [512, 1432, 8192] {
                let cut = line(&happened(&"T\n".repeat(99), &text, None), "pay-3", &tags, max);
                assert!(cut.len() <= max && !cut.contains('\n'), "{cut}");
                let (title, text, end) = read(&cut);
                assert!(title.len() <= 100 && text.len() > 100, "{cut}");
                assert_eq!(text.matches('\\').count(), text.matches("\\n").count(), "no half of an escape");
                assert!(end.starts_with("|d:1700000000|h:pay-3"), "{cut}");
            }
        }
    }
}
