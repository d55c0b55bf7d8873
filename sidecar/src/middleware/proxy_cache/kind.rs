//! Media types: which answers are kept.

/// A media type with its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    main: String,
    sub: String,
    parameters: Vec<(String, String)>,
}

impl Kind {
    /// Reads `type/subtype; name=value`; names are compared without case.
    pub(super) fn read(text: &str) -> Option<Kind> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let token = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic() && !b"/,\"".contains(&b));
        if !token(main) || !token(sub) {
            return None;
        }
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=')?;
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
            Some((name.trim().to_ascii_lowercase(), bare.to_ascii_lowercase()))
        };
        let mut parameters = parts.filter(|p| !p.is_empty()).map(parameter).collect::<Option<Vec<_>>>()?;
        parameters.sort_unstable();
        Some(Kind { main: main.to_ascii_lowercase(), sub: sub.to_ascii_lowercase(), parameters })
    }

    /// Whether another is of this kind; `*` stands for every type, and parameters are the same or none on both sides.
    pub(super) fn takes(&self, other: &Kind) -> bool {
        (self.main == "*" || self.main == other.main)
            && (self.sub == "*" || self.sub == other.sub)
            && self.parameters == other.parameters
    }

    /// Whether it is a stream that has no end.
    pub(super) fn is_endless(&self) -> bool {
        self.main == "text" && self.sub == "event-stream" || self.sub.starts_with("grpc")
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn kinds_of_answers() {
        for (wanted, found, takes) in [
            ("application/json", "application/json", true),
            ("application/json", "Application/JSON", true),
            ("application/json", "application/json; charset=utf-8", false),
            ("application/json; charset=utf-8", "application/json;charset=\"UTF-8\"", true),
            ("application/json; charset=utf-8", "application/json", false),
            ("a/b; x=1; y=2", "a/b;y=2;x=1", true),
            ("*/*", "image/png", true),
            ("image/*", "image/png", true),
            ("image/*", "text/plain", false),
            ("*/*", "image/png; q=1", false),
        ] {
            assert_eq!(Kind::read(wanted).unwrap().takes(&Kind::read(found).unwrap()), takes, "{wanted} {found}");
        }
        for bad in ["", "json", "/", "a/", "/b", "a b/c", "a/b/c", "a/b; c", "a/b, c/d"] {
            assert_eq!(Kind::read(bad), None, "{bad}");
        }
        assert!(Kind::read("text/event-stream").unwrap().is_endless());
    }
}
