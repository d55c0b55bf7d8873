//! `request-termination`: answers instead of a service. It stands behind access and limits, so that whom they refuse
//! is told so by them.

use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict, query};
use crate::exchange::{Exchange, Headers, Named, Reply, Says, Seen, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use bytes::Bytes;
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 2, build };

const NAME: &str = "request-termination";

/// Bytes of a body that an echo repeats; a longer one is left out.
const ECHO_BODY_MAX: usize = 64 << 10;

struct RequestTermination {
    /// The answer, as far as it is the same for all.
    reply: Reply,
    /// What an echo says beside the request.
    echo: Option<Option<Arc<str>>>,
    /// The header or argument without which nothing is done: as a header's name, and as it is written.
    trigger: Option<(String, String)>,
}

/// What a status says by itself.
fn usual(status: u16) -> Option<&'static str> {
    Some(match status {
        401 => "Unauthorized",
        404 => "Not found",
        405 => "Method not allowed",
        500 => "An unexpected error occurred",
        502 => "Bad Gateway",
        503 => "Service unavailable",
        _ => return None,
    })
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let status = fields.integer("status_code", 100, 599).unwrap_or(503);
    if status < 200 {
        fields.wrong("status_code", "an informational status ends no request", "write a number from 200 to 599");
    }
    let message = fields.text("message");
    let content_type = fields.text("content_type");
    let body = fields.text("body");
    let echo = fields.flag("echo", false);
    let trigger = fields.text("trigger");
    if message.is_some() && (content_type.is_some() || body.is_some()) {
        fields.entity("message cannot be used with content_type or body", "leave one of them out");
    }
    if content_type.is_some() && body.is_none() {
        fields.entity("content_type requires a body", "add body");
    }
    if echo && (content_type.is_some() || body.is_some()) {
        fields.entity("echo cannot be used with content_type and body", "leave one of them out");
    }
    if content_type.as_ref().is_some_and(|t| !Headers::default().append("content-type", t)) {
        fields.wrong("content_type", "is no header value", "write a media type: text/html; charset=utf-8");
    }
    let name = |t: &String| Headers::default().add(&t.to_ascii_lowercase(), "");
    if trigger.as_ref().is_some_and(|t| !name(t)) {
        fields.wrong("trigger", "bad header name", "write letters, digits and hyphens");
    }
    fields.finish()?;
    let status = u16::try_from(status).unwrap_or(503);
    let message: Option<Arc<str>> = message.as_deref().or_else(|| usual(status)).map(Into::into);
    let says = match (body, &message) {
        // These have no body whatever is written.
        _ if matches!(status, 204 | 205 | 304) => Says::Nothing,
        (Some(body), _) => Says::Raw(body.into(), content_type.map(Into::into)),
        (None, Some(message)) => Says::Json(json!({ "message": **message }).to_string().into()),
        (None, None) => Says::Nothing,
    };
    let reply = Reply { status, says, headers: Headers::default(), by: NAME, why: "the route is closed".into() };
    let trigger = trigger.map(|t| (t.to_ascii_lowercase(), t));
    Ok(Arc::new(RequestTermination { reply, echo: echo.then_some(message), trigger }))
}

impl RequestTermination {
    fn is_triggered(&self, exchange: &Exchange) -> bool {
        let Some((header, argument)) = &self.trigger else { return true };
        let request = &exchange.request;
        let asked = |query| query::written(query).any(|(name, _)| query::decoded(name) == *argument);
        request.headers.contains(header) || request.query().is_some_and(asked)
    }

    /// The command as it came in, for people who want to see what a service would.
    fn echo(&self, exchange: &Exchange, message: Option<&str>) -> Bytes {
        let request = &exchange.request;
        let text = |bytes: &[u8]| Json::from(String::from_utf8_lossy(bytes));
        let raw = match &exchange.seen {
            Seen::Whole(body) => Some(body),
            _ => None,
        };
        let parsed = raw.and_then(|body| match request.media_type().to_ascii_lowercase().as_str() {
            "application/json" => serde_json::from_slice(body).ok(),
            "application/x-www-form-urlencoded" => std::str::from_utf8(body).ok().map(arguments),
            _ => None,
        });
        let named = exchange.captures.iter().filter_map(|(n, v)| Some((n.as_deref()?.to_owned(), v.as_str().into())));
        let unnamed: Vec<&str> = exchange.captures.iter().skip(1).map(|(_, value)| value.as_str()).collect();
        let port = request.authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let via = exchange.via.as_deref();
        let echo = json!({
            "message": message,
            "kong": {
                "node_id": *exchange.identity.service,
                "worker_pid": std::process::id(),
                "hostname": *exchange.identity.hostname,
            },
            "request": {
                "scheme": if exchange.secure { "https" } else { "http" },
                "host": request.host(),
                "port": port.or(exchange.local.map(|local| local.port())),
                "headers": gathered(request.headers.iter().map(|(name, value)| (name.to_owned(), text(value)))),
                "query": arguments(request.query().unwrap_or_default()),
                "body": parsed,
                "raw_body": raw.map(|body| text(body)),
                "method": request.method.as_str(),
                "path": request.path(),
                "uri_captures": { "named": Map::from_iter(named), "unnamed": unnamed },
            },
            "matched_route": via.and_then(|via| via.route.as_ref()).map(entity),
            "matched_service": via.and_then(|via| via.service.as_ref()).map(entity),
        });
        echo.to_string().into()
    }
}

fn entity(named: &Named) -> Json {
    json!({ "id": *named.id, "name": named.name.as_deref() })
}

fn arguments(query: &str) -> Json {
    let value = |value: Option<&str>| value.map_or(Json::Bool(true), |v| query::decoded(v).into());
    gathered(query::written(query).map(|(name, v)| (query::decoded(name).into_owned(), value(v)))).into()
}

/// Names with their values; what comes several times has a list.
fn gathered(pairs: impl Iterator<Item = (String, Json)>) -> Map<String, Json> {
    let mut all = Map::new();
    for (name, value) in pairs {
        match all.get_mut(&name) {
            None => drop(all.insert(name, value)),
            Some(Json::Array(list)) => list.push(value),
            Some(first) => *first = Json::Array(vec![first.take(), value]),
        }
    }
    all
}

impl Middleware for RequestTermination {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        if !self.is_triggered(exchange) {
            return Verdict::Next;
        }
        let mut reply = self.reply.clone();
        match (&self.echo, &exchange.seen) {
            (Some(_), Seen::Not) => return Verdict::Body(ECHO_BODY_MAX),
            (Some(message), _) if !matches!(self.reply.status, 204 | 205 | 304) => {
                reply.says = Says::Json(self.echo(exchange, message.as_deref()));
            }
            _ => {}
        }
        Verdict::Reply(Box::new(reply))
    }

    fn explain(&self, exchange: &Exchange) -> String {
        if self.is_triggered(exchange) { format!("answers {}", self.reply.status) } else { String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ask, plugin, wrong};
    use super::*;
    use crate::command::testing::exchange;
    use crate::exchange::{Silent, Via};

    fn shown(says: &Says) -> (String, Option<&str>) {
        match says {
            Says::Json(json) => (String::from_utf8_lossy(json).into(), Some("json")),
            Says::Raw(body, kind) => (String::from_utf8_lossy(body).into(), kind.as_deref()),
            Says::Nothing => (String::new(), None),
            Says::Message(message) => panic!("{message}"),
        }
    }

    #[test]
    fn what_is_answered() {
        let said = |text: &str| (format!("{{\"message\":\"{text}\"}}"), Some("json"));
        for (config, status, expected) in [
            (json!({}), 503, said("Service unavailable")),
            (json!({"status_code": 404}), 404, said("Not found")),
            (json!({"status_code": 401}), 401, said("Unauthorized")),
            (json!({"status_code": 405}), 405, said("Method not allowed")),
            (json!({"status_code": 500}), 500, said("An unexpected error occurred")),
            (json!({"status_code": 502}), 502, said("Bad Gateway")),
            (json!({"status_code": 406, "message": "Invalid"}), 406, said("Invalid")),
            (json!({"message": "a \"quote\""}), 503, said("a \\\"quote\\\"")),
            (json!({"status_code": 204}), 204, (String::new(), None)),
            (json!({"status_code": 204, "message": "never"}), 204, (String::new(), None)),
            (json!({"status_code": 418}), 418, (String::new(), None)),
            (
                json!({"status_code": 451, "body": "<html>", "content_type": "text/html"}),
                451,
                ("<html>".into(), Some("text/html")),
            ),
            (json!({"body": "x"}), 503, ("x".into(), None)),
        ] {
            let reply = ask(&*plugin(NAME, &config), &mut exchange("GET", "/", &[])).unwrap();
            assert_eq!((reply.status, shown(&reply.says)), (status, expected), "{config}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (config, expected) in [
            (json!({"message": "a", "body": "b"}), &["@entity: message cannot be used with content_type or body"][..]),
            (json!({"content_type": "text/html"}), &["@entity: content_type requires a body"]),
            (
                json!({"echo": true, "body": "b", "content_type": "c"}),
                &["@entity: echo cannot be used with content_type and body"],
            ),
            (json!({"status_code": 600}), &["status_code: value should be between 100 and 599"]),
            (json!({"status_code": 100}), &["status_code: an informational status ends no request"]),
            (json!({"body": "b", "content_type": "a\r\nb: c"}), &["content_type: is no header value"]),
            (json!({"trigger": "a b"}), &["trigger: bad header name"]),
            (json!({"message": ""}), &["message: length must be at least 1"]),
            (json!({"echo_trigger": "x"}), &["echo_trigger: unknown field"]),
        ] {
            assert_eq!(wrong(NAME, &config), expected, "{config}");
        }
    }

    #[test]
    fn an_echo_says_what_came_when_it_is_asked_for() {
        let echo = plugin(NAME, &json!({"trigger": "Gimme-An-Echo", "echo": true, "status_code": 404}));
        let at = |query: Option<&str>, lines: &[(&'static str, &str)]| {
            let mut exchange = exchange("POST", "/", lines);
            exchange.request.set_target("/a/7", query);
            exchange.request.authority = "shop.test:8000".into();
            exchange
        };
        assert!(ask(&*echo, &mut at(Some("x=gimme-an-echo&gimme-an-echo=1"), &[])).is_none(), "arguments have a case");
        for mut asked in [at(Some("Gimme%2dAn-Echo"), &[]), at(None, &[("gimme-an-echo", "")])] {
            assert!(matches!(echo.on_request(&mut asked, &Silent), Verdict::Body(ECHO_BODY_MAX)));
        }
        let lines = [("gimme-an-echo", "1"), ("x", "a"), ("x", "b"), ("content-type", "application/json; v=1")];
        let mut asked = at(Some("q=1&q=2&r&s=%22"), &lines);
        asked.seen = Seen::Whole(r#"{"k": [1]}"#.into());
        asked.captures = vec![(None, "/a/7".into()), (Some("id".into()), "7".into())];
        let route = Named { id: "r-id".into(), name: Some("r".into()), label: "r".into() };
        asked.via = Some(Arc::new(Via { route: Some(route), service: None }));
        let reply = ask(&*echo, &mut asked).unwrap();
        assert_eq!(reply.status, 404);
        let said: Json = serde_json::from_str(&shown(&reply.says).0).unwrap();
        assert_eq!(said["message"], "Not found");
        assert_eq!(said["kong"]["hostname"], "test");
        let expected = json!({
            "scheme": "http", "host": "shop.test", "port": 8000, "method": "POST", "path": "/a/7",
            "headers": {"gimme-an-echo": "1", "x": ["a", "b"], "content-type": "application/json; v=1"},
            "query": {"q": ["1", "2"], "r": true, "s": "\""},
            "body": {"k": [1]}, "raw_body": "{\"k\": [1]}",
            "uri_captures": {"named": {"id": "7"}, "unnamed": ["7"]},
        });
        assert_eq!(said["request"], expected);
        assert_eq!(
            (&said["matched_route"], &said["matched_service"]),
            (&json!({"id": "r-id", "name": "r"}), &Json::Null)
        );
        asked.seen = Seen::TooLong;
        let said: Json = serde_json::from_str(&shown(&ask(&*echo, &mut asked).unwrap().says).0).unwrap();
        assert_eq!(said["request"]["raw_body"], Json::Null);
    }
}
