//! `redirect`: sends callers somewhere else.

use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict};
use crate::exchange::{Exchange, Headers, Reply, Says, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 779, build };

const NAME: &str = "redirect";

struct Redirect {
    /// The answer; its `Location` is missing when it depends on the request.
    reply: Reply,
    /// Scheme and authority, before which the request's own path and query are put.
    origin: Option<String>,
}

/// Scheme and authority of an absolute address; none for anything else.
fn origin(location: &str) -> Option<&str> {
    let rest = ["http://", "https://"].iter().find_map(|s| {
        location.get(..s.len()).filter(|found| found.eq_ignore_ascii_case(s)).and_then(|_| location.get(s.len()..))
    })?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let sound = !authority.is_empty() && location.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    sound.then(|| location.get(..location.len() - rest.len() + authority.len())).flatten()
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let status = fields.integer("status_code", 100, 599).unwrap_or(301);
    if status < 200 {
        fields.wrong("status_code", "an informational status ends no request", "write 301, 302, 303, 307 or 308");
    }
    let given = fields.has("location");
    let location = fields.required("location");
    let origin = origin(&location);
    if given && !location.is_empty() && origin.is_none() {
        fields.wrong("location", "expected a url", "write an absolute address: https://shop.example.com/new");
    }
    let keeps = fields.flag("keep_incoming_path", false);
    fields.finish()?;
    let mut headers = Headers::default();
    if !keeps {
        headers.append("location", &location);
    }
    let says = Says::Raw(Bytes::from_static(b"redirecting"), None);
    let status = u16::try_from(status).unwrap_or(301);
    let reply = Reply { status, says, headers, by: NAME, why: "the route leads elsewhere".into() };
    let origin = origin.filter(|_| keeps).map(str::to_owned);
    Ok(Arc::new(Redirect { reply, origin }))
}

/// A path or query with everything escaped that may not stand in an address.
fn escaped(text: &str) -> Cow<'_, str> {
    let stands = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b);
    if text.bytes().all(stands) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if stands(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Cow::Owned(out)
}

impl Middleware for Redirect {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        let mut reply = self.reply.clone();
        if let Some(origin) = &self.origin {
            let path = exchange.request.path();
            // `OPTIONS *` is about no path.
            let path = if path.starts_with('/') { path } else { "/" };
            let mut location = format!("{origin}{}", escaped(path));
            if let Some(query) = exchange.request.query() {
                location.push('?');
                location.push_str(&escaped(query));
            }
            reply.headers.append("location", location);
        }
        Verdict::Reply(Box::new(reply))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ask, plugin, wrong};
    use super::*;
    use crate::command::testing::exchange;
    use serde_json::{Value, json};

    fn sent(config: &Value, path: &str, query: Option<&str>) -> (u16, String) {
        let mut exchange = exchange("GET", "/", &[]);
        exchange.request.set_target(path, query);
        let reply = ask(&*plugin(NAME, config), &mut exchange).unwrap();
        assert!(matches!(&reply.says, Says::Raw(body, None) if **body == *b"redirecting"));
        (reply.status, reply.headers.get("location").unwrap_or_default().to_owned())
    }

    #[test]
    fn where_callers_are_sent() {
        let plain = json!({"location": "https://new.test/a?b=c"});
        assert_eq!(sent(&plain, "/x", Some("y=z")), (301, "https://new.test/a?b=c".into()));
        let keeping =
            json!({"location": "https://new.test:8443/a?b=c", "keep_incoming_path": true, "status_code": 308});
        for (path, query, expected) in [
            ("/x/y", Some("z=1&b=2"), "https://new.test:8443/x/y?z=1&b=2"),
            ("/", None, "https://new.test:8443/"),
            ("*", None, "https://new.test:8443/"),
            ("/a%2Fb é", Some("q=<\\>"), "https://new.test:8443/a%2Fb%20%C3%A9?q=%3C%5C%3E"),
            // The host stays the configured one.
            ("//evil.test", None, "https://new.test:8443//evil.test"),
            ("/@evil.test", None, "https://new.test:8443/@evil.test"),
        ] {
            assert_eq!(sent(&keeping, path, query), (308, expected.into()), "{path}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(wrong(NAME, &json!({})), ["location: required field missing"]);
        for bad in ["/relative", "ftp://a.test", "https://", "https:///a", "https://a.test/b c", "https://a.test/\r\n"]
        {
            assert_eq!(wrong(NAME, &json!({"location": bad})), ["location: expected a url"], "{bad}");
        }
        assert_eq!(
            wrong(NAME, &json!({"location": "http://a.test", "status_code": 199})),
            ["status_code: an informational status ends no request"]
        );
    }
}
