//! The log object as a line of its own, or behind the head of a syslog message.

use super::object::{Object, status};
use super::settings::{Loggly, Severities};
use crate::sink::entry::Entry;
use crate::sink::fields::Who;
use crate::sink::generation::Encode;
use crate::sink::json::number as int;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::Write;

/// The object alone.
pub(super) struct Alone(pub(super) Object);

impl Encode for Alone {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, _: &Who) -> bool {
        self.0.write(out, entry)
    }
}

/// With a line feed behind it.
pub(super) struct Lines(pub(super) Object);

impl Encode for Lines {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, _: &Who) -> bool {
        let is_told = self.0.write(out, entry);
        if is_told {
            out.push(b'\n');
        }
        is_told
    }
}

/// As the C library writes to the local syslog daemon.
pub(super) struct Local {
    pub(super) object: Object,
    pub(super) severities: Severities,
    pub(super) facility: u8,
    pub(super) zone: TimeZone,
}

impl Encode for Local {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, _: &Who) -> bool {
        let Some(severity) = self.severities.of(status(entry)) else { return false };
        let at = i64::try_from(entry.wall).ok().and_then(|n| Timestamp::from_microsecond(n).ok()).unwrap_or_default();
        let at = at.to_zoned(self.zone.clone());
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "<{}>{} kong[{}]: ",
            self.facility * 8 + severity,
            at.strftime("%b %e %H:%M:%S"),
            std::process::id()
        );
        self.object.write(out, entry)
    }
}

/// As Loggly's syslog endpoint wants it: RFC 5424 with the token in the structured data.
pub(super) struct ToLoggly {
    pub(super) object: Object,
    pub(super) settings: Loggly,
}

/// Facility `user`, times eight.
const USER: u64 = 8;

impl Encode for ToLoggly {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        let Loggly { key, tags, severities, .. } = &self.settings;
        let Some(severity) = severities.of(status(entry)) else { return false };
        let at = i64::try_from(entry.wall).ok().and_then(|n| Timestamp::from_microsecond(n).ok()).unwrap_or_default();
        out.push(b'<');
        int(out, USER + u64::from(severity));
        // Writing to a Vec cannot fail.
        let _ = write!(out, ">1 {at:.3} {} kong - - [{key}@41058", who.hostname);
        for tag in tags {
            let _ = write!(out, " tag=\"{tag}\"");
        }
        out.extend_from_slice(b"] ");
        self.object.write(out, entry)
    }
}
