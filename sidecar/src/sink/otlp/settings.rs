//! What the three OTLP sections have in common.

use super::Signal;
use super::post::Post;
use crate::section::address::Receiver;
use crate::section::{Key, Kind, Shape, Wrong, key, word};
use crate::sink::logs::read;
use crate::sink::transport::{HttpOut, Url};
use crate::tls::{ClientTls, section};
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::time::Duration;

/// OTLP over HTTP, as registered at IANA.
const PORT: u16 = 4318;
const SCHEMES: &[&str] = &["http", "https"];
/// Headers of the configuration that are sent.
const HEADERS_MAX: usize = 64;

pub(crate) const ENDPOINT: Key = key(
    "endpoint",
    Kind::Text(Shape::Receiver(SCHEMES, PORT)),
    "The receiver, `http(s)://HOST[:PORT][/PATH]`, port 4318 by default; without a path it is `/v1/logs`, `/v1/metrics` \
     or `/v1/traces`.",
)
.required();
pub(crate) const HEADERS: Key = key(
    "headers",
    Kind::Named(Shape::Header, &Kind::Text(Shape::Secret)),
    "Headers of every request, such as `authorization`; their values are shown to nobody.",
);
pub(crate) const COMPRESS: Key =
    key("compress", Kind::Word(&[word("gzip"), word("none")]), "How requests are packed.").or("gzip");
pub(crate) const TIMEOUT: Key = key(
    "timeout",
    Kind::Duration { min: Duration::from_millis(1), off: false },
    "How long a request may take, the connection included.",
)
.or("10s");
pub(crate) const TLS: Key = key("tls", Kind::Section(section::KEYS), "How an `https` receiver is spoken to.");
/// All of these.
pub(crate) const BASIC: [Key; 5] = [ENDPOINT, HEADERS, COMPRESS, TIMEOUT, TLS];

#[derive(Deserialize)]
struct Raw {
    endpoint: String,
    headers: BTreeMap<String, String>,
    compress: String,
    timeout: Duration,
    #[serde(default)]
    tls: section::Values,
}

/// Where a sink sends.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    url: Url,
    headers: HeaderMap,
    gzip: bool,
    timeout: Duration,
    tls: ClientTls,
}

impl Remote {
    /// As a section says.
    ///
    /// # Errors
    /// What is wrong, and with which key.
    pub(crate) fn new(values: &Json) -> Result<Remote, Wrong> {
        let Raw { endpoint, headers, compress, timeout, tls: words } = read(values)?;
        let to = Receiver::parse(&endpoint, SCHEMES, PORT).map_err(|w| w.of("endpoint"))?;
        let Receiver::Http { tls, host, port, path } = to else {
            return Err(Wrong::new("there is no such way", "use http:// or https://").of("endpoint"));
        };
        let remote = Remote {
            url: Url { tls, host, port, path },
            headers: lines(&headers).map_err(|w| w.of("headers"))?,
            gzip: compress == "gzip",
            timeout,
            tls: words.into(),
        };
        // The files are read once, so that what is wrong with them shows before anything starts.
        remote.clone().post(Signal::Logs).map_err(|e| Wrong::new(e, "correct the file or its path").of("tls"))?;
        Ok(remote)
    }

    /// Where that is, for people.
    pub(crate) fn target(&self, signal: Signal) -> String {
        let Url { tls, host, port, path } = &self.url;
        let path = if matches!(path.as_str(), "" | "/") { signal.path() } else { path };
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        // What stands behind a `?` may be a key.
        let path = path.split('?').next().unwrap_or_default();
        format!("http{}://{host}:{port}{path}", if *tls { "s" } else { "" })
    }

    /// A client for it.
    pub(super) fn post(self, signal: Signal) -> Result<Post, String> {
        let http = HttpOut::new(self.url, &self.tls, self.headers)?.limit(self.timeout);
        Ok(Post { http, signal, gzip: self.gzip })
    }
}

fn lines(headers: &BTreeMap<String, String>) -> Result<HeaderMap, Wrong> {
    if headers.len() > HEADERS_MAX {
        return Err(Wrong::new(
            format!("{} headers are too many", headers.len()),
            format!("keep at most {HEADERS_MAX}"),
        ));
    }
    let mut lines = HeaderMap::new();
    for (name, value) in headers {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(Wrong::new(format!("`{name}` is no header's name"), "use letters, digits and `-`"));
        };
        let ours = [HOST, CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, TRANSFER_ENCODING, CONNECTION];
        if ours.contains(&name) {
            return Err(Wrong::new(format!("`{name}` is set by Fourmi"), "remove it"));
        }
        // The value is not repeated: it may be a secret.
        let Ok(mut value) = HeaderValue::from_str(value) else {
            let message = format!("the value of `{name}` has characters that no header may have");
            return Err(Wrong::new(message, "remove line breaks and other control characters"));
        };
        value.set_sensitive(true);
        lines.insert(name, value);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn remote(own: Json) -> Result<Remote, Wrong> {
        let mut values = json!({"headers": {}, "compress": "gzip", "timeout": {"secs": 10, "nanos": 0}});
        values.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        Remote::new(&values)
    }

    #[test]
    fn an_endpoint_has_the_signals_path_unless_it_names_one() {
        for (endpoint, target) in [
            ("http://collector", "http://collector:4318/v1/logs"),
            ("https://otel.example:443/", "https://otel.example:443/v1/logs"),
            ("http://[::1]:9/custom?key=1", "http://[::1]:9/custom"),
        ] {
            assert_eq!(remote(json!({"endpoint": endpoint})).unwrap().target(Signal::Logs), target);
        }
        let made = remote(json!({"endpoint": "http://c", "headers": {"Authorization": "secret"}})).unwrap();
        assert!(!format!("{made:?}").contains("secret"));
        for (own, key) in [
            (json!({"endpoint": "grpc://c"}), "endpoint"),
            (json!({"endpoint": "c:4318"}), "endpoint"),
            (json!({"endpoint": "http://c", "headers": {"Host": "x"}}), "headers"),
            (json!({"endpoint": "http://c", "headers": {"x": "sec\nret"}}), "headers"),
        ] {
            let wrong = remote(own.clone()).unwrap_err();
            assert_eq!(wrong.key, Some(key), "{own}");
            assert!(!wrong.message.contains("ret"), "{}", wrong.message);
        }
    }
}
