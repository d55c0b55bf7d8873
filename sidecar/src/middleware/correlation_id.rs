//! `correlation-id`: one id for a command on all its hops, kept when the caller gave one.

use super::plugin::{Plugin, Setup};
use super::{After, Hooks, Middleware, Verdict};
use crate::exchange::{AnswerHead, Exchange, Headers, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use std::cell::{Cell, OnceCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 100_001, build };

const NAME: &str = "correlation-id";

thread_local! {
    /// What `uuid#counter` begins with: one for each thread, so that counting needs no other.
    static THREAD: OnceCell<String> = const { OnceCell::new() };
    /// Ids of this thread so far.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generator {
    Uuid,
    Counter,
    Tracker,
}

struct CorrelationId {
    /// In lower case.
    header: String,
    /// The record's field.
    field: Arc<str>,
    generator: Generator,
    echo: bool,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let header = fields.text("header_name").unwrap_or_else(|| "Kong-Request-ID".to_owned()).to_ascii_lowercase();
    if !Headers::default().add(&header, "") {
        fields.wrong("header_name", "bad header name", "write letters, digits and hyphens");
    } else if OTHERS.contains(&header.as_str()) {
        fields.wrong("header_name", "means something else in HTTP", "write a name of your own: X-Correlation-ID");
    }
    let generator = match fields.one_of("generator", &["uuid", "uuid#counter", "tracker"], "uuid#counter") {
        "uuid" => Generator::Uuid,
        "tracker" => Generator::Tracker,
        _ => Generator::Counter,
    };
    let echo = fields.flag("echo_downstream", false);
    fields.finish()?;
    Ok(Arc::new(CorrelationId { header, field: "correlation_id".into(), generator, echo }))
}

/// An id in their place would break the message or take its meaning away.
const OTHERS: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "content-type",
    "content-encoding",
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "date",
    "location",
];

/// A UUID of version 4.
fn uuid() -> String {
    let value = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let part = |low: u32, digits: u32| value >> (4 * low) & ((1 << (4 * digits)) - 1);
    format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", part(24, 8), part(20, 4), part(16, 4), part(12, 4), part(0, 12))
}

impl CorrelationId {
    fn generated(&self, exchange: &Exchange) -> String {
        if self.generator == Generator::Uuid {
            return uuid();
        }
        let count = COUNT.get() + 1;
        COUNT.set(count);
        if self.generator == Generator::Counter {
            return THREAD.with(|thread| format!("{}#{count}", thread.get_or_init(uuid)));
        }
        let local = exchange.local.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let address = match local.ip().to_canonical() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => v6.to_string(),
        };
        let connection = exchange.peer.map_or(0, |peer| peer.port());
        let seconds = exchange.timings.wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        format!("{address}-{}-{}-{connection}-{count}-{seconds:.3}", local.port(), std::process::id())
    }

    fn given<'a>(&self, headers: &'a Headers) -> Option<&'a [u8]> {
        headers.get_bytes(&self.header).filter(|id| !id.trim_ascii().is_empty())
    }

    /// The id that the command got when it came, whatever has become of its header since.
    fn known<'a>(&self, exchange: &'a Exchange) -> Option<&'a str> {
        exchange.shown.iter().find(|(field, _)| *field == self.field).map(|(_, id)| id.as_str())
    }
}

impl Middleware for CorrelationId {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, answer: self.echo, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        let id = match self.given(&exchange.request.headers) {
            Some(id) => String::from_utf8_lossy(id).into_owned(),
            None => {
                let id = self.generated(exchange);
                exchange.request.headers.replace(&self.header, &id);
                id
            }
        };
        exchange.shown.push((self.field.clone(), id));
        Verdict::Next
    }

    fn on_answer(&self, exchange: &mut Exchange, answer: &mut AnswerHead) -> After {
        if let Some(id) = self.known(exchange) {
            answer.headers.replace(&self.header, id);
        } else if let Some(id) = self.given(&exchange.request.headers) {
            answer.headers.replace(&self.header, id);
        } else {
            // Somebody else answered before it was this one's turn.
            answer.headers.replace(&self.header, self.generated(exchange));
        }
        After::Next
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ask, plugin, wrong};
    use super::*;
    use crate::command::testing::exchange;
    use serde_json::{Value, json};

    /// The id upstream, and in the answer.
    fn ids(middleware: &dyn Middleware, mut exchange: Exchange) -> (String, Option<String>) {
        assert!(ask(middleware, &mut exchange).is_none());
        let up = exchange.request.headers.get_all(if exchange.request.headers.contains("x-id") {
            "x-id"
        } else {
            "kong-request-id"
        });
        let up: Vec<_> = up.map(|v| String::from_utf8_lossy(v).into_owned()).collect();
        assert_eq!((up.len(), exchange.shown.len()), (1, 1), "{up:?}");
        assert_eq!(exchange.shown[0], ("correlation_id".into(), up[0].clone()));
        // A transformer may take it away from the service.
        exchange.request.headers.remove("kong-request-id");
        let mut answer = AnswerHead { status: 502, headers: Headers::default(), own: true };
        answer.headers.append("kong-request-id", "the service's");
        if middleware.hooks().answer {
            middleware.on_answer(&mut exchange, &mut answer);
            assert_eq!(answer.headers.get_all("kong-request-id").count(), 1);
        }
        (up[0].clone(), answer.headers.get("kong-request-id").map(str::to_owned))
    }

    fn is_uuid(text: &str) -> bool {
        text.parse::<crate::gateway::Id>().is_ok() && &text[14..15] == "4" && "89ab".contains(&text[19..20])
    }

    #[test]
    fn the_formats_of_ids() {
        let of = |config: Value| ids(&*plugin(NAME, &config), exchange("GET", "/", &[])).0;
        let (first, second) = (of(json!({})), of(json!({"generator": "uuid#counter"})));
        let split = |id: &str| id.split_once('#').map(|(u, n)| (u.to_owned(), n.parse::<u64>().unwrap())).unwrap();
        let ((uuid, one), (again, two)) = (split(&first), split(&second));
        assert!(is_uuid(&uuid) && uuid == again && two == one + 1, "{first} {second}");
        let (one, two) = (of(json!({"generator": "uuid"})), of(json!({"generator": "uuid"})));
        assert!(is_uuid(&one) && is_uuid(&two) && one != two, "{one} {two}");
        let mut tracked = exchange("GET", "/", &[]);
        tracked.local = "[::ffff:10.0.0.1]:8000".parse().ok();
        tracked.peer = "10.0.0.9:40001".parse().ok();
        tracked.timings.wall = UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_125);
        let id = ids(&*plugin(NAME, &json!({"generator": "tracker"})), tracked).0;
        let parts: Vec<&str> = id.split('-').collect();
        let pid = std::process::id().to_string();
        assert_eq!((&parts[..4], parts[5]), (&["10.0.0.1", "8000", &pid, "40001"][..], "1700000000.125"), "{id}");
        assert!(of(json!({"generator": "tracker"})).starts_with("0.0.0.0-0-"));
    }

    #[test]
    fn the_id_of_the_caller_is_kept_and_echoed() {
        let echo = plugin(NAME, &json!({"echo_downstream": true}));
        let given = |lines: &[(&'static str, &str)]| ids(&*echo, exchange("GET", "/", lines));
        assert_eq!(given(&[("kong-request-id", "foobar")]), ("foobar".into(), Some("foobar".into())));
        for lines in [&[("kong-request-id", "")][..], &[("kong-request-id", "  ")], &[]] {
            let (up, down) = given(lines);
            assert!(up.contains('#') && down.as_ref() == Some(&up), "{lines:?} {up} {down:?}");
        }
        let silent = plugin(NAME, &json!({"header_name": "X-ID"}));
        let (up, down) = ids(&*silent, exchange("GET", "/", &[("x-id", "é")]));
        assert_eq!((up.as_str(), down.as_deref()), ("é", Some("the service's")));
    }

    #[test]
    fn who_is_refused_before_gets_an_id_too() {
        let echo = plugin(NAME, &json!({"echo_downstream": true, "generator": "uuid"}));
        for (lines, kept) in [(&[("kong-request-id", "mine")][..], true), (&[], false)] {
            let mut refused = exchange("GET", "/", lines);
            let mut answer = AnswerHead { status: 401, headers: Headers::default(), own: true };
            echo.on_answer(&mut refused, &mut answer);
            let id = answer.headers.get("kong-request-id").unwrap();
            assert_eq!((id == "mine", is_uuid(id)), (kept, !kept), "{id}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (config, expected) in [
            (json!({"header_name": "a b"}), "header_name: bad header name"),
            (json!({"header_name": "Content-Length"}), "header_name: means something else in HTTP"),
            (json!({"generator": "random"}), "generator: expected one of: uuid, uuid#counter, tracker"),
        ] {
            assert_eq!(wrong(NAME, &config), [expected]);
        }
    }
}
