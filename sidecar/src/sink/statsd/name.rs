//! Names and tags as each dialect's receivers take them.

use crate::sink::Dialect;
use crate::sink::json::cut;

/// The longest value of a tag, in bytes.
const TAG_MAX: usize = 200;

/// Tags in the order of their keys.
pub(super) type Tags = Vec<(String, String)>;

/// A part of a plain name: every other character than letters, digits, `_` and `-` becomes one `_`, dots too,
/// because they divide names.
pub(super) fn part(text: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    cut(text, TAG_MAX).0.chars().map(clean).collect()
}

/// A tag's value: what divides tags, values and lines in this dialect becomes `_`.
fn tag_value(dialect: Dialect, text: &str) -> String {
    let divides = |c: char| match dialect {
        // They are parts of a name.
        Dialect::Plain => !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')),
        Dialect::Datadog => matches!(c, ',' | '|' | '#'),
        Dialect::Influx => matches!(c, ',' | '=' | ':' | ' ' | '|'),
        // Carbon's own lines are divided by spaces.
        Dialect::Graphite => matches!(c, ';' | ':' | '|' | ' '),
    };
    let mut value: String =
        cut(text, TAG_MAX).0.chars().map(|c| if divides(c) || c.is_control() { '_' } else { c }).collect();
    // Graphite keeps values that begin so for its own queries, and refuses them.
    if dialect == Dialect::Graphite && value.starts_with('~') {
        value.replace_range(..1, "_");
    }
    value
}

/// A tag's key: what a value must not have, and what ends a key.
fn tag_key(dialect: Dialect, text: &str) -> String {
    let ends = |c: char| match dialect {
        Dialect::Plain | Dialect::Influx => false,
        Dialect::Datadog => c == ':',
        Dialect::Graphite => matches!(c, '!' | '^' | '='),
    };
    tag_value(dialect, text).chars().map(|c| if ends(c) { '_' } else { c }).collect()
}

/// The name of a metric that has tags: Prometheus' name without its unit, underscores as dots.
pub(super) fn dotted(prometheus: &str) -> String {
    let name = prometheus.strip_suffix("_total").or_else(|| prometheus.strip_suffix("_seconds")).unwrap_or(prometheus);
    name.replace('_', ".")
}

/// Tags in the order of their keys, empty ones left out, each key once.
pub(super) fn tags(dialect: Dialect, pairs: &[(&str, &str)]) -> Tags {
    let pairs = pairs.iter().filter(|(k, v)| !k.is_empty() && !v.is_empty());
    let mut tags: Tags = pairs.map(|(k, v)| (tag_key(dialect, k), tag_value(dialect, v))).collect();
    tags.sort();
    tags.dedup_by(|b, a| a.0 == b.0);
    tags
}

/// The name with the tags that the dialect puts there, and the tags that follow the value.
pub(super) fn placed(dialect: Dialect, mut name: String, tags: Tags) -> (String, Tags) {
    let divider = match dialect {
        Dialect::Plain | Dialect::Datadog => return (name, tags),
        Dialect::Influx => ',',
        Dialect::Graphite => ';',
    };
    for (key, value) in &tags {
        name.push(divider);
        name.push_str(key);
        name.push('=');
        name.push_str(value);
    }
    (name, Tags::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGGED: [Dialect; 3] = [Dialect::Datadog, Dialect::Influx, Dialect::Graphite];

    #[test]
    fn row_36_what_divides_tags_becomes_an_underscore() {
        let odd = "a,b|c#d:e f\ng";
        let shown = TAGGED.map(|dialect| tag_value(dialect, odd));
        assert_eq!(shown, ["a_b_c_d:e f_g", "a_b_c#d_e_f_g", "a,b_c#d_e_f_g"]);
        assert_eq!(tag_value(Dialect::Influx, "k=v\r"), "k_v_");
        assert_eq!(tag_value(Dialect::Graphite, "~a;b=c~"), "_a_b=c~");
        assert_eq!(TAGGED.map(|dialect| tag_key(dialect, "a:b=c!d^e")), ["a_b=c!d^e", "a_b_c!d^e", "a_b_c_d_e"]);
    }

    #[test]
    fn row_37_a_name_has_no_divider() {
        assert_eq!(part("Order::Place/é"), "Order__Place__");
        assert_eq!(part("v1.Create"), "v1_Create");
        assert_eq!(dotted("fourmi_commands_total"), "fourmi.commands");
        assert_eq!(dotted("fourmi_command_duration_seconds"), "fourmi.command.duration");
        assert_eq!(dotted("fourmi_commands_in_flight"), "fourmi.commands.in.flight");
    }

    #[test]
    fn row_38_empty_and_long_tags() {
        let long = "é".repeat(150);
        for dialect in TAGGED {
            let value = tag_value(dialect, &long);
            assert_eq!((value.len(), value.chars().count()), (200, 100));
            assert_eq!(tag_value(dialect, &format!("x{long}")).len(), 199);
            let sorted = tags(dialect, &[("route", "r"), ("env", "prod"), ("empty", ""), ("", "x"), ("k y", "v")]);
            let keys: Vec<_> = sorted.iter().map(|(k, _)| k.as_str()).collect();
            assert_eq!(keys, ["env", if dialect == Dialect::Datadog { "k y" } else { "k_y" }, "route"]);
        }
    }
}
