//! Header lines.

use super::{Done, Edit, Value};
use crate::exchange::Headers;
use crate::middleware::template::Failed;

/// Lines that frame messages or belong to one connection. Whoever could set them could smuggle requests.
const GUARDED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const ILLEGAL: Failed = Failed("the value is not one for a header");

/// Whether a text may be the name of a header, in any case.
pub(in super::super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Whether a value may stand in the line of this name.
pub(super) fn is_value(name: &str, value: &str) -> bool {
    value.bytes().all(|b| (b >= b' ' && b != 0x7f) || b == b'\t') && (name != "host" || is_host(value.as_bytes()))
}

/// The lines of a head.
pub(in super::super) struct Lines<'a> {
    /// The lines.
    pub(in super::super) headers: &'a mut Headers,
    /// Where another host goes, in a request.
    pub(in super::super) host: Option<&'a mut Option<String>>,
}

fn guarded(name: &str) -> bool {
    GUARDED.contains(&name)
}

fn done(legal: bool) -> Done {
    if legal { Ok(true) } else { Err(ILLEGAL) }
}

/// Whether a text may be a host, perhaps with a port.
fn is_host(host: &[u8]) -> bool {
    !host.is_empty() && host.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]!$&'()*+,;=%".contains(b))
}

impl Edit for Lines<'_> {
    fn remove(&mut self, name: &str) -> Done {
        Ok(!guarded(name) && self.headers.remove(name))
    }

    fn rename(&mut self, old: &str, new: &str) -> Done {
        if guarded(old) || guarded(new) || old == new || !self.headers.contains(old) {
            return Ok(false);
        }
        let values: Vec<Vec<u8>> = self.headers.get_all(old).map(<[u8]>::to_vec).collect();
        self.headers.remove(old);
        self.headers.remove(new);
        done(values.iter().all(|value| self.headers.add(new, value)))
    }

    fn replace(&mut self, name: &str, value: Value<'_>) -> Done {
        if name == "host"
            && let Some(host) = &mut self.host
        {
            let text = std::str::from_utf8(value.bytes()).ok().filter(|text| is_host(text.as_bytes()));
            **host = Some(text.ok_or(Failed("the value is not a host"))?.to_ascii_lowercase());
            return Ok(true);
        }
        if guarded(name) || !self.headers.contains(name) {
            return Ok(false);
        }
        done(self.headers.replace(name, value.bytes()))
    }

    fn add(&mut self, name: &str, value: Value<'_>) -> Done {
        if guarded(name) || self.headers.contains(name) {
            return Ok(false);
        }
        done(self.headers.add(name, value.bytes()))
    }

    fn append(&mut self, name: &str, value: Value<'_>) -> Done {
        if guarded(name) {
            return Ok(false);
        }
        done(self.headers.add(name, value.bytes()))
    }
}
