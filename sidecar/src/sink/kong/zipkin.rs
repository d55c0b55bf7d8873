//! A command as a span of Zipkin's version 2 JSON (<https://zipkin.io/zipkin-api/>).

use super::known::{Entity, Known, number};
use super::object::{path, place, status};
use super::settings::Zipkin;
use crate::exchange::Direction;
use crate::sink::entry::{Entry, What};
use crate::sink::fields::Who;
use crate::sink::generation::Encode;
use crate::sink::json::{STRING_MAX, escaped, hex, number as int};
use crate::sink::record::address;
use std::net::IpAddr;
use std::sync::Arc;

/// Tags of the caller's own.
const TAGS_MAX: usize = 16;

/// Writes spans.
pub(super) struct Spans {
    pub(super) settings: Zipkin,
    pub(super) known: Arc<Known>,
}

impl Encode for Spans {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, _: &Who) -> bool {
        let Some(whole) = entry.whole.as_ref().filter(|_| entry.what == What::Command) else { return false };
        if entry.trace_id == 0 || !self.settings.recorded.takes(entry) {
            return false;
        }
        out.extend_from_slice(b"{\"traceId\":\"");
        match self.settings.short {
            true => hex(out, &(entry.trace_id as u64).to_be_bytes()),
            false => hex(out, &entry.trace_id.to_be_bytes()),
        }
        out.extend_from_slice(b"\",\"id\":\"");
        hex(out, &entry.span_id.to_be_bytes());
        if entry.parent_span != 0 {
            out.extend_from_slice(b"\",\"parentId\":\"");
            hex(out, &entry.parent_span.to_be_bytes());
        }
        let outbound = entry.direction == Some(Direction::Outbound);
        out.extend_from_slice(if outbound { b"\",\"kind\":\"CLIENT\"" } else { b"\",\"kind\":\"SERVER\"" });
        let path = path(whole.target);
        out.extend_from_slice(b",\"name\":\"");
        escaped(out, entry.method, STRING_MAX);
        if self.settings.path {
            out.push(b' ');
            escaped(out, path, STRING_MAX);
        }
        out.extend_from_slice(b"\",\"timestamp\":");
        int(out, entry.wall);
        out.extend_from_slice(b",\"duration\":");
        // The format has no zero.
        int(out, (entry.total.0 / 1000).max(1));
        out.extend_from_slice(b",\"localEndpoint\":{\"serviceName\":\"");
        escaped(out, &self.settings.local, STRING_MAX);
        out.extend_from_slice(b"\"}");
        if let Some(client) = entry.client {
            out.extend_from_slice(b",\"remoteEndpoint\":{");
            endpoint(out, client);
            out.push(b'}');
        }
        out.extend_from_slice(b",\"tags\":{\"lc\":\"kong\"");
        let mut tag = |name: &str, value: &str| {
            if !value.is_empty() {
                out.extend_from_slice(b",\"");
                escaped(out, name, STRING_MAX);
                out.extend_from_slice(b"\":\"");
                escaped(out, value, STRING_MAX);
                out.push(b'"');
            }
        };
        tag("http.method", entry.method);
        tag("http.path", &self.known.redactor.text(path));
        tag("http.host", whole.authority);
        tag("http.protocol", entry.protocol.map_or("", |p| p.as_str()));
        tag("http.status_code", itoa::Buffer::new().format(status(entry)));
        let Known { services, routes, .. } = &*self.known;
        let service = services.get(&number(whole.service));
        let route = routes.get(&number(whole.route));
        tag("kong.service", service.map_or("", |s| &s.id));
        tag("kong.service_name", service.and_then(|s| s.name.as_deref()).unwrap_or_default());
        tag("kong.route", route.map_or("", |r| &r.id));
        tag("kong.route_name", route.and_then(|r| r.name.as_deref()).unwrap_or_default());
        tag("kong.consumer", whole.consumer);
        if self.settings.credential {
            tag("kong.credential", whole.credential);
        }
        let other = service.map(Entity::label).or(self.settings.other.as_deref());
        tag("peer.service", other.unwrap_or_default());
        let (host, port) = place(entry.upstream);
        if !host.is_empty() {
            tag("peer.address", &format!("{host}:{port}"));
        }
        if status(entry) >= 500 {
            tag("error", if entry.fault.is_empty() { "true" } else { entry.fault });
        }
        for (name, value) in &self.settings.tags {
            tag(name, value);
        }
        let told = whole.headers.iter().filter(|(name, _)| *name == self.settings.tags_header);
        for pair in told.flat_map(|(_, value)| value.split(';')).take(TAGS_MAX) {
            if let Some((name, value)) = pair.split_once('=') {
                tag(name.trim(), &self.known.redactor.header(name.trim(), value.trim()));
            }
        }
        out.extend_from_slice(b"}}");
        true
    }
}

fn endpoint(out: &mut Vec<u8>, ip: IpAddr) {
    out.extend_from_slice(if ip.is_ipv4() { b"\"ipv4\":\"" } else { b"\"ipv6\":\"" });
    address(out, ip);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
