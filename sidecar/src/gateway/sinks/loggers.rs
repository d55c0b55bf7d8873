//! Plugins that write every command's log object somewhere.

use super::Asked;
use super::endpoint::{finish, millis, place, texts, url};
use super::queue::Queue;
use crate::gateway::Wrong;
use crate::gateway::entity::Plugin;
use crate::gateway::fields::Fields;
use crate::sink::kong::{Http, Loggly, Severities, Syslog, Tcp, To};

/// Syslog's severities, in the order of their numbers.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
/// Syslog's facilities and their numbers.
const FACILITIES: [(&str, u8); 20] = [
    ("auth", 4),
    ("authpriv", 10),
    ("cron", 9),
    ("daemon", 3),
    ("ftp", 11),
    ("kern", 0),
    ("lpr", 6),
    ("mail", 2),
    ("news", 7),
    ("syslog", 5),
    ("user", 1),
    ("uucp", 8),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
/// Headers that are the body's or the connection's own.
const OURS: [&str; 3] = ["Host", "Content-Length", "Content-Type"];
/// What runs Lua; only an empty one gets here.
const LUA: &str = "custom_fields_by_lua";

fn one(to: To, queue: Queue) -> Asked {
    Asked { to: vec![to], buffer: queue.buffer, sampling: None }
}

pub(super) fn http(plugin: &Plugin) -> Result<Asked, Vec<Wrong>> {
    let mut fields = Fields::new(&plugin.config);
    let endpoint = fields.required("http_endpoint");
    let (url, user) =
        if endpoint.is_empty() { Default::default() } else { url(&mut fields, "http_endpoint", &endpoint) };
    let mut headers = texts(&mut fields, "headers");
    for (name, _) in &headers {
        if let Some(ours) = OURS.iter().find(|ours| name.eq_ignore_ascii_case(ours)) {
            fields.wrong("headers", format!("cannot contain '{ours}' header"), "remove it");
        }
    }
    headers.extend(user.filter(|_| !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))));
    let queue = Queue::read(&mut fields, 1);
    millis(&mut fields, "keepalive", 60_000);
    fields.ignored(&[LUA]);
    let http = Http {
        url,
        method: fields.one_of("method", &["POST", "PUT", "PATCH"], "POST"),
        content_type: fields.one_of(
            "content_type",
            &["application/json", "application/json; charset=utf-8"],
            "application/json",
        ),
        headers,
        timeout: millis(&mut fields, "timeout", 10_000),
        batch: queue.batch,
        linger: queue.linger,
    };
    finish(fields, one(To::Http(http), queue))
}

pub(super) fn tcp(plugin: &Plugin) -> Result<Asked, Vec<Wrong>> {
    let mut fields = Fields::new(&plugin.config);
    let tcp =
        Tcp { place: place(&mut fields, None, None), tls: fields.flag("tls", false), sni: fields.text("tls_sni") };
    millis(&mut fields, "timeout", 10_000);
    millis(&mut fields, "keepalive", 60_000);
    fields.ignored(&[LUA]);
    finish(fields, one(To::Tcp(tcp), Queue::none()))
}

pub(super) fn udp(plugin: &Plugin) -> Result<Asked, Vec<Wrong>> {
    let mut fields = Fields::new(&plugin.config);
    let place = place(&mut fields, None, None);
    millis(&mut fields, "timeout", 10_000);
    fields.ignored(&[LUA]);
    finish(fields, one(To::Udp(place), Queue::none()))
}

pub(super) fn file(plugin: &Plugin) -> Result<Asked, Vec<Wrong>> {
    let mut fields = Fields::new(&plugin.config);
    let path = fields.required("path");
    if path.contains(['*', '&', '%', '\\', '`']) {
        fields.wrong("path", "not a valid filename", "leave out * & % \\ and `");
    }
    fields.flag("reopen", false);
    fields.ignored(&[LUA]);
    finish(fields, one(To::File(path.into()), Queue::none()))
}

fn severity(fields: &mut Fields<'_>, key: &'static str) -> u8 {
    let word = fields.one_of(key, &SEVERITIES, "info");
    SEVERITIES.iter().position(|s| *s == word).and_then(|n| u8::try_from(n).ok()).unwrap_or(6)
}

fn severities(fields: &mut Fields<'_>) -> Severities {
    Severities {
        least: severity(fields, "log_level"),
        successful: severity(fields, "successful_severity"),
        client: severity(fields, "client_errors_severity"),
        server: severity(fields, "server_errors_severity"),
    }
}

pub(super) fn syslog(plugin: &Plugin) -> Result<Asked, Vec<Wrong>> {
    let mut fields = Fields::new(&plugin.config);
    let words = FACILITIES.map(|(word, _)| word);
    let word = fields.one_of("facility", &words, "user");
    let facility = FACILITIES.iter().find(|(w, _)| *w == word).map_or(1, |(_, n)| *n);
    let syslog = Syslog { severities: severities(&mut fields), facility };
    fields.ignored(&[LUA]);
    finish(fields, one(To::Syslog(syslog), Queue::none()))
}

pub(super) fn loggly(plugin: &Plugin) -> Result<Asked, Vec<Wrong>> {
    let mut fields = Fields::new(&plugin.config);
    let place = place(&mut fields, Some("logs-01.loggly.com"), Some(514));
    let loggly = Loggly {
        place,
        key: fields.required("key"),
        tags: fields.texts("tags").unwrap_or_else(|| vec!["kong".to_owned()]),
        severities: severities(&mut fields),
    };
    let plain = |text: &str| text.chars().all(|c| !c.is_control() && !matches!(c, '"' | '\\' | ']'));
    if !plain(&loggly.key) || loggly.key.contains(['@', ' ', '=']) {
        fields.wrong("key", "invalid value", "write the customer token alone");
    }
    if let Some(at) = loggly.tags.iter().position(|tag| !plain(tag)) {
        fields.wrong(&format!("tags[{at}]"), "invalid value", "leave out quotes, brackets and backslashes");
    }
    millis(&mut fields, "timeout", 10_000);
    fields.ignored(&[LUA]);
    finish(fields, one(To::Loggly(loggly), Queue::none()))
}
