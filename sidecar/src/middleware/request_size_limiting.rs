//! `request-size-limiting`: bodies that are too large are refused by what they announce. One that announces nothing is
//! read first when the limit is small, else counted on its way, so that no large body is ever held in memory.

use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict};
use crate::exchange::{Exchange, Protocol, Reply, Seen, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 951, build };

const NAME: &str = "request-size-limiting";

/// Up to this limit a body of unknown length is read before the service is asked.
const READ_MAX: u64 = 1 << 20;

const TOO_LARGE: &str = "Request size limit exceeded";

struct RequestSizeLimiting {
    most: u64,
    length_required: bool,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let size = fields.integer("allowed_payload_size", 0, i64::MAX).unwrap_or(128);
    let unit: u64 = match fields.one_of("size_unit", &["megabytes", "kilobytes", "bytes"], "megabytes") {
        "bytes" => 1,
        "kilobytes" => 1 << 10,
        _ => 1 << 20,
    };
    let length_required = fields.flag("require_content_length", false);
    fields.finish()?;
    let most = u64::try_from(size).unwrap_or(0).saturating_mul(unit);
    Ok(Arc::new(RequestSizeLimiting { most, length_required }))
}

impl RequestSizeLimiting {
    fn refuse(&self, exchange: &Exchange, what: &str) -> Verdict {
        // The caller still waits to be told to go on: no, and it need not send the body at all.
        let waits = exchange.request.headers.get("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue"));
        let mut reply = Reply::message(NAME, if waits { 417 } else { 413 }, TOO_LARGE);
        reply.why = format!("{what}, {} bytes are allowed", self.most).into();
        Verdict::Reply(reply)
    }

    /// For a body that does not say how long it is.
    fn unknown(&self, exchange: &mut Exchange) -> Verdict {
        let bound = Some(exchange.body_max.unwrap_or(u64::MAX).min(self.most));
        let asked = exchange.body_max == bound;
        exchange.body_max = bound;
        match &exchange.seen {
            Seen::Whole(body) if body.len() as u64 > self.most => {
                let what = format!("the body has {} bytes", body.len());
                self.refuse(exchange, &what)
            }
            Seen::Whole(_) => Verdict::Next,
            Seen::TooLong if asked => self.refuse(exchange, "the body is longer"),
            // What somebody else read was less than may pass: the rest is counted on its way.
            Seen::TooLong => Verdict::Next,
            // A stream of messages goes both ways: waiting for its end would be waiting for ever.
            Seen::Not if self.most > READ_MAX || exchange.protocol == Protocol::Grpc => Verdict::Next,
            // Over HTTP/2 a request without a body says nothing either.
            Seen::Not if exchange.request.method.is_safe() => Verdict::Next,
            Seen::Not => Verdict::Body(usize::try_from(self.most).unwrap_or(usize::MAX)),
        }
    }
}

impl Middleware for RequestSizeLimiting {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        let headers = &exchange.request.headers;
        if let Some(length) = headers.get("content-length").and_then(|v| v.parse::<u64>().ok()) {
            return match length > self.most {
                true => self.refuse(exchange, &format!("{length} bytes are announced")),
                false => Verdict::Next,
            };
        }
        let chunked = headers.contains("transfer-encoding");
        if self.length_required && !chunked {
            return Verdict::Reply(Reply::message(NAME, 411, "A valid Content-Length header is required"));
        }
        let two = matches!(exchange.protocol, Protocol::Http2 | Protocol::Grpc);
        // Over HTTP/1 a request that names neither has no body.
        if chunked || two { self.unknown(exchange) } else { Verdict::Next }
    }

    fn explain(&self, _: &Exchange) -> String {
        format!("bodies of up to {} bytes", self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ask, plugin, wrong};
    use super::*;
    use crate::command::testing::exchange;
    use crate::exchange::Silent;
    use serde_json::{Value, json};

    fn asked(config: &Value, lines: &[(&'static str, &str)]) -> Option<(u16, String)> {
        let reply = ask(&*plugin(NAME, config), &mut exchange("POST", "/", lines))?;
        Some((reply.status, format!("{:?}", reply.says)))
    }

    #[test]
    fn what_is_announced_is_held_against_the_limit() {
        let too_large = |status| Some((status, format!("Message({TOO_LARGE:?})")));
        for (config, lines, expected) in [
            (json!({"allowed_payload_size": 2}), &[("content-length", "2097152")][..], None),
            (json!({"allowed_payload_size": 2}), &[("content-length", "2097153")], too_large(413)),
            (
                json!({"allowed_payload_size": 2}),
                &[("content-length", "2097153"), ("expect", "100-Continue")],
                too_large(417),
            ),
            (json!({"allowed_payload_size": 2}), &[("content-length", "0"), ("expect", "100-continue")], None),
            (
                json!({"allowed_payload_size": 2, "size_unit": "kilobytes"}),
                &[("content-length", "2049")],
                too_large(413),
            ),
            (json!({"allowed_payload_size": 2, "size_unit": "bytes"}), &[("content-length", "2")], None),
            (json!({"allowed_payload_size": 0}), &[("content-length", "1")], too_large(413)),
            (json!({}), &[("content-length", "134217728")], None),
            (json!({}), &[("content-length", "134217729")], too_large(413)),
            (json!({}), &[("content-length", "18446744073709551615")], too_large(413)),
            (json!({"allowed_payload_size": i64::MAX}), &[("content-length", "18446744073709551615")], None),
            (json!({}), &[], None),
            (
                json!({"require_content_length": true}),
                &[],
                Some((411, r#"Message("A valid Content-Length header is required")"#.into())),
            ),
        ] {
            assert_eq!(asked(&config, lines), expected, "{config} {lines:?}");
        }
    }

    #[test]
    fn a_body_of_unknown_length_is_read_or_counted() {
        let chunked = &[("transfer-encoding", "chunked")][..];
        let small = plugin(NAME, &json!({"allowed_payload_size": 3, "size_unit": "bytes"}));
        let mut asking = exchange("POST", "/", chunked);
        assert!(matches!(small.on_request(&mut asking, &Silent), Verdict::Body(3)));
        assert_eq!(asking.body_max, Some(3));
        asking.seen = Seen::Whole("abc".into());
        assert!(ask(&*small, &mut asking).is_none());
        asking.seen = Seen::TooLong;
        assert_eq!(ask(&*small, &mut asking).unwrap().status, 413);
        // Another has read it before: all of it, or less than may pass.
        let mut read = exchange("POST", "/", chunked);
        read.seen = Seen::Whole("abcd".into());
        assert_eq!(ask(&*small, &mut read).unwrap().status, 413);
        let mut partly = exchange("POST", "/", chunked);
        partly.seen = Seen::TooLong;
        assert!(ask(&*small, &mut partly).is_none());
        assert_eq!(partly.body_max, Some(3));

        let large = plugin(NAME, &json!({}));
        let mut streaming = exchange("POST", "/", chunked);
        assert!(ask(&*large, &mut streaming).is_none());
        assert_eq!(streaming.body_max, Some(128 << 20));
        for (protocol, reads) in [(Protocol::Http2, true), (Protocol::Grpc, false)] {
            let mut two = exchange("POST", "/", &[]);
            two.protocol = protocol;
            assert_eq!(matches!(small.on_request(&mut two, &Silent), Verdict::Body(3)), reads, "{protocol:?}");
            assert_eq!(two.body_max, Some(3));
        }
        let strict = plugin(NAME, &json!({"require_content_length": true}));
        assert!(ask(&*strict, &mut exchange("POST", "/", chunked)).is_none());
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(
            wrong(NAME, &json!({"allowed_payload_size": -1, "size_unit": "MB", "require_content_length": "no"})),
            [
                format!("allowed_payload_size: value should be between 0 and {}", i64::MAX),
                "size_unit: expected one of: megabytes, kilobytes, bytes".into(),
                "require_content_length: expected a boolean".into(),
            ]
        );
    }
}
