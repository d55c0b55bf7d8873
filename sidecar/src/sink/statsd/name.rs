//! Names and tags as each dialect's receivers take them.

/// The longest value of a tag.
const TAG_MAX: usize = 200;

/// A part of a plain name: every other character than letters, digits, `_` and `-` becomes one `_`, dots too,
/// because they divide names.
pub(crate) fn part(text: &str) -> String {
    super::super::json::cut(text, TAG_MAX)
        .0
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' })
        .collect()
}

/// A tag's value for DogStatsD: what divides tags and lines becomes `_`.
pub(crate) fn tag_value(text: &str) -> String {
    let clean = |c: char| if matches!(c, ',' | '|' | '#') || c.is_control() { '_' } else { c };
    super::super::json::cut(text, TAG_MAX).0.chars().map(clean).collect()
}

/// DogStatsD's name of a metric: Prometheus' name without its unit, underscores as dots.
pub(crate) fn dotted(prometheus: &str) -> String {
    let name = prometheus.strip_suffix("_total").or_else(|| prometheus.strip_suffix("_seconds")).unwrap_or(prometheus);
    name.replace('_', ".")
}

/// Tags in the order of their keys, empty ones left out, each key once.
pub(crate) fn tags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut tags: Vec<(String, String)> = pairs
        .iter()
        .filter(|(k, v)| !k.is_empty() && !v.is_empty())
        .map(|(k, v)| (tag_value(k).replace(':', "_"), tag_value(v)))
        .collect();
    tags.sort();
    tags.dedup_by(|b, a| a.0 == b.0);
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_divides_a_line_that_should_not() {
        assert_eq!(part("Order::Place/é"), "Order__Place__");
        assert_eq!(part("v1.Create"), "v1_Create");
        assert_eq!(tag_value("a,b|c#d:e f\ng"), "a_b_c_d:e f_g");
        let long = tag_value(&"é".repeat(150));
        assert_eq!((long.len(), long.chars().count()), (200, 100));
        assert_eq!(tag_value(&format!("x{}", "é".repeat(150))).len(), 199);
        let sorted = tags(&[("route", "r"), ("env", "prod"), ("empty", ""), ("", "x"), ("k:y", "v:w")]);
        let shown: Vec<_> = sorted.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(shown, ["env=prod", "k_y=v:w", "route=r"]);
        assert_eq!(dotted("fourmi_commands_total"), "fourmi.commands");
        assert_eq!(dotted("fourmi_command_duration_seconds"), "fourmi.command.duration");
        assert_eq!(dotted("fourmi_commands_in_flight"), "fourmi.commands.in.flight");
    }
}
