//! Times that somebody wrote with a unit, where the file takes a bare number.

/// In what a field counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Thousandths of a second.
    Millis,
    /// Whole seconds and their fractions.
    Seconds,
}

/// In what a plugin's field counts, if it is a time.
pub(crate) fn unit_of_plugin(field: &str) -> Option<Unit> {
    match field {
        "timeout" | "keepalive" | "connect_timeout" | "send_timeout" | "read_timeout" | "write_timeout" => {
            Some(Unit::Millis)
        }
        _ => {
            let seconds = ["timeout", "interval", "ttl", "delay", "time", "window_size", "max_age", "clock_skew"];
            seconds.iter().any(|end| field.ends_with(end)).then_some(Unit::Seconds)
        }
    }
}

/// The same of an entity's field, by its path.
pub(crate) fn unit_of_entity(path: &str) -> Option<Unit> {
    let last = path.rsplit('.').next().unwrap_or(path);
    match last {
        "connect_timeout" | "read_timeout" | "write_timeout" => Some(Unit::Millis),
        "interval" | "timeout" | "ttl" => Some(Unit::Seconds),
        _ => None,
    }
}

/// `write 30000 (milliseconds)` for `30s`; nothing for what is no time.
pub(crate) fn instead(text: &str, unit: Option<Unit>) -> Option<String> {
    let unit = unit?;
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, named) = text.split_at(end);
    let millis = match named.trim() {
        "ms" => 1.0,
        "s" | "sec" => 1_000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let millis = number.parse::<f64>().ok().filter(|n| n.is_finite() && *n < 1e9)? * millis;
    Some(match unit {
        Unit::Millis => format!("write {} (milliseconds)", millis.round()),
        Unit::Seconds => format!("write {} (seconds)", millis / 1_000.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_the_unit_of_their_field() {
        let plugin = |field: &str, text: &str| instead(text, unit_of_plugin(field));
        assert_eq!(plugin("timeout", "30s").as_deref(), Some("write 30000 (milliseconds)"));
        assert_eq!(plugin("flush_timeout", "1.5m").as_deref(), Some("write 90 (seconds)"));
        assert_eq!(plugin("max_retry_time", "250 ms").as_deref(), Some("write 0.25 (seconds)"));
        assert_eq!(plugin("allowed_payload_size", "8m"), None);
        assert_eq!((plugin("timeout", "soon"), plugin("timeout", "5"), plugin("timeout", "s")), (None, None, None));
        assert_eq!(unit_of_entity("services[0].read_timeout"), Some(Unit::Millis));
        assert_eq!(unit_of_entity("upstreams[0].healthchecks.active.timeout"), Some(Unit::Seconds));
        assert_eq!(unit_of_entity("services[0].port"), None);
    }
}
