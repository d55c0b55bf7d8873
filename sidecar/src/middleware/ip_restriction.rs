//! `ip-restriction`: which addresses may call. What is denied is denied whatever else is allowed.

use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict};
use crate::exchange::{Exchange, Reply, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 990, build };

const NAME: &str = "ip-restriction";

/// Addresses as ranges without overlap, in order. IPv4 is a part of IPv6 here (RFC 4291, 2.5.5.2), so that an address
/// is the same in both spellings.
#[derive(Debug, Default)]
struct Ranges(Box<[(u128, u128)]>);

impl Ranges {
    fn new(mut ranges: Vec<(u128, u128)>) -> Ranges {
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Ranges(merged.into())
    }

    fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| address <= *last)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Reads an address or a range in CIDR notation.
fn range(text: &str) -> Option<(u128, u128)> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    Some((number(net.network()), number(net.broadcast())))
}

fn ranges(fields: &mut Fields<'_>, key: &'static str) -> Ranges {
    let texts = fields.texts(key).unwrap_or_default();
    let mut ranges = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        match range(text) {
            Some(range) => ranges.push(range),
            None => fields.wrong(
                &format!("{key}[{at}]"),
                format!("invalid ip or cidr range: '{text}'"),
                "write an address (10.1.2.3, fd00::1) or a range (10.0.0.0/8)",
            ),
        }
    }
    Ranges::new(ranges)
}

struct IpRestriction {
    allow: Ranges,
    deny: Ranges,
    status: u16,
    message: Option<Arc<str>>,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let given = |key| setup.config.get(key).and_then(|v| v.as_array()).is_some_and(|list| !list.is_empty());
    if !given("allow") && !given("deny") {
        fields.entity(
            "at least one of these fields must be non-empty: 'config.allow', 'config.deny'",
            "say who is allowed or who is denied",
        );
    }
    let (allow, deny) = (ranges(&mut fields, "allow"), ranges(&mut fields, "deny"));
    let status = fields.integer("status", 400, 599).unwrap_or(403);
    let message = fields.text("message");
    fields.finish()?;
    let status = u16::try_from(status).unwrap_or(403);
    Ok(Arc::new(IpRestriction { allow, deny, status, message: message.map(Into::into) }))
}

impl IpRestriction {
    fn lets_in(&self, address: IpAddr) -> bool {
        !self.deny.contains(address) && (self.allow.is_empty() || self.allow.contains(address))
    }
}

impl Middleware for IpRestriction {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        let Some(address) = exchange.client else {
            const NOBODY: &str = "Cannot identify the client IP address, unix domain sockets are not supported.";
            return Verdict::Reply(Reply::message(NAME, 403, NOBODY));
        };
        if self.lets_in(address) {
            return Verdict::Next;
        }
        let usual = format!("IP address not allowed: {}", address.to_canonical());
        let mut reply = match &self.message {
            Some(message) => Reply::message(NAME, self.status, message.to_string()),
            None => return Verdict::Reply(Reply::message(NAME, self.status, usual)),
        };
        reply.why = usual.into();
        Verdict::Reply(reply)
    }

    fn explain(&self, exchange: &Exchange) -> String {
        match exchange.client {
            Some(address) if self.lets_in(address) => format!("{address} may call"),
            Some(address) => format!("{address} is refused"),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ask, plugin, wrong};
    use super::*;
    use crate::command::testing::exchange;
    use crate::exchange::Says;
    use serde_json::json;

    fn refused(config: &serde_json::Value, client: Option<&str>) -> Option<(u16, String)> {
        let mut exchange = exchange("GET", "/", &[]);
        exchange.client = client.map(|c| c.parse().unwrap());
        let reply = ask(&*plugin(NAME, config), &mut exchange)?;
        match reply.says {
            Says::Message(message) => Some((reply.status, message.into())),
            says => panic!("{says:?}"),
        }
    }

    #[test]
    fn who_may_call() {
        let no = |ip: &str| Some((403, format!("IP address not allowed: {ip}")));
        for (config, client, expected) in [
            (json!({"deny": ["127.0.0.1"]}), "127.0.0.1", no("127.0.0.1")),
            (json!({"deny": ["127.0.0.1"]}), "127.0.0.2", None),
            (
                json!({"deny": ["127.0.0.0/24"], "status": 401, "message": "Forbidden"}),
                "127.0.0.9",
                Some((401, "Forbidden".into())),
            ),
            (json!({"allow": ["127.0.0.2"]}), "127.0.0.1", no("127.0.0.1")),
            (json!({"allow": ["127.0.0.2"]}), "127.0.0.2", None),
            (json!({"allow": ["127.0.0.0/24"], "deny": ["127.0.0.1"]}), "127.0.0.1", no("127.0.0.1")),
            (json!({"allow": ["127.0.0.0/24"], "deny": ["127.0.0.1"]}), "127.0.0.3", None),
            (json!({"allow": ["0.0.0.0/0"]}), "203.0.113.9", None),
            (json!({"allow": ["0.0.0.0/0"]}), "2001:db8::1", no("2001:db8::1")),
            (json!({"allow": ["::1/128"], "deny": ["::1"]}), "::1", no("::1")),
            (json!({"allow": ["::1", "fd00::/8"]}), "fd12::7", None),
            // An address is the same in both spellings, here and there.
            (json!({"deny": ["10.0.0.0/8"]}), "::ffff:10.1.2.3", no("10.1.2.3")),
            (json!({"deny": ["::ffff:10.0.0.0/104"]}), "10.1.2.3", no("10.1.2.3")),
            // Bits behind the prefix mean nothing.
            (json!({"allow": ["192.168.7.9/16"]}), "192.168.200.1", None),
            // Ranges that overlap, touch and lie inside each other.
            (json!({"allow": ["10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8", "10.255.255.255"]}), "11.255.255.255", None),
            (json!({"allow": ["10.0.0.0/8", "10.1.0.0/16"]}), "11.0.0.0", no("11.0.0.0")),
            (json!({"allow": ["::/0"]}), "255.255.255.255", None),
        ] {
            assert_eq!(refused(&config, Some(client)), expected, "{config} {client}");
        }
        let nobody = refused(&json!({"deny": ["127.0.0.1"]}), None).unwrap();
        assert_eq!(nobody.0, 403);
        assert!(nobody.1.starts_with("Cannot identify the client IP address"), "{}", nobody.1);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let none = "@entity: at least one of these fields must be non-empty: 'config.allow', 'config.deny'";
        assert_eq!(wrong(NAME, &json!({})), [none]);
        assert_eq!(wrong(NAME, &json!({"allow": [], "deny": null})), [none]);
        for bad in ["10.0.0.0/33", "10.0.0", "::1/129", "localhost", "", "10.0.0.0/8/8", "10.0.0.01"] {
            let found = wrong(NAME, &json!({"allow": ["10.0.0.1", bad]}));
            assert_eq!(found, [format!("allow[1]: invalid ip or cidr range: '{bad}'")]);
        }
        assert_eq!(
            wrong(NAME, &json!({"deny": ["::1"], "status": 200, "allows": []})),
            ["allows: unknown field", "status: value should be between 400 and 599"]
        );
    }

    #[test]
    fn a_long_list_is_found_as_a_naive_reader_finds() {
        let mut random = fastrand::Rng::with_seed(7);
        let nets: Vec<IpNet> = (0..500)
            .map(|_| format!("10.{}.{}.0/{}", random.u8(0..4), random.u8(..), random.u8(14..=32)).parse().unwrap())
            .collect();
        let ranges = Ranges::new(nets.iter().map(|n| range(&n.to_string()).unwrap()).collect());
        for _ in 0..5_000 {
            let address = IpAddr::from([10, random.u8(0..6), random.u8(..), random.u8(0..3)]);
            assert_eq!(ranges.contains(address), nets.iter().any(|n| n.contains(&address)), "{address}");
        }
    }
}
