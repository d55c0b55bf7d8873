//! Reads Prometheus' text format 0.0.4: what the page and the demo show comes from the same numbers as everyone's.

use std::borrow::Cow;

/// One line of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample<'a> {
    /// The metric's name, `_bucket` and the like included.
    pub(crate) name: &'a str,
    /// Label names and values, in their order.
    pub(crate) labels: Vec<(&'a str, Cow<'a, str>)>,
    /// The value.
    pub(crate) value: f64,
}

impl Sample<'_> {
    /// A label's value; empty when it is not there, which means the same in Prometheus.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }
}

/// The samples of a text. Lines that cannot be read are passed over.
pub(crate) fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample)
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' ', '\t'])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, quoted) = rest.split_once("=\"")?;
            let (value, after) = unquote(quoted)?;
            labels.push((label, value));
            rest = after;
        }
    }
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { name, labels, value })
}

/// A value up to its closing quote, and what follows.
fn unquote(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text.as_bytes()[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = text[..end].to_owned();
    let mut chars = text[end..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Cow::Owned(value), &text[end + at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_values_and_odd_lines() {
        let text = "# HELP a b\na 1\nb{x=\"1\",y=\"q\\\"u\\\\o\\n\"} 2.5 1700000000\nbroken{x=\"1\nc{} +Inf\nd{x=\"\",} 4\nnone\n";
        let all: Vec<_> = samples(text).collect();
        assert_eq!(all.len(), 4);
        assert_eq!((all[0].name, all[0].value), ("a", 1.0));
        assert_eq!((all[1].label("x"), all[1].label("y"), all[1].label("z")), ("1", "q\"u\\o\n", ""));
        assert_eq!(all[1].value, 2.5);
        assert!(all[2].value.is_infinite());
        assert_eq!((all[3].name, all[3].value), ("d", 4.0));
    }
}
