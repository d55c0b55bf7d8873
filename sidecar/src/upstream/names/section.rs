//! The section `dns:`: whom Fourmi asks for the names of services and workers.

use super::Settings;
use crate::section::{Key, Kind, Shape, Wrong, key};
use hickory_proto::rr::Name;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Its keys.
pub(crate) const KEYS: &[Key] = &[
    key("nameservers", Kind::OneOrMany(&Kind::Text(Shape::Free)), "The DNS servers to ask, in their order.")
        .or_words("those of /etc/resolv.conf"),
    key("search", Kind::OneOrMany(&Kind::Text(Shape::Free)), "Domains that short names are looked for in.")
        .or_words("those of /etc/resolv.conf"),
    key("timeout", Kind::Duration { min: Duration::from_millis(1), off: false }, "How long a server has for one try.")
        .or_words("2s, or what /etc/resolv.conf says"),
    key("attempts", Kind::Count { min: 1, max: 5, word: None }, "How often a server that does not answer is asked.")
        .or_words("2, or what /etc/resolv.conf says"),
    key("hosts", Kind::Flag, "Whether names in /etc/hosts come from there.").or("true"),
];

/// The most servers and search domains.
const SERVERS_MAX: usize = 8;
const SEARCH_MAX: usize = 16;

/// The values of the section; also without it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Values {
    nameservers: Vec<String>,
    search: Option<Vec<String>>,
    timeout: Option<Duration>,
    attempts: Option<u32>,
    hosts: bool,
}

impl Default for Values {
    fn default() -> Values {
        Values { nameservers: Vec::new(), search: None, timeout: None, attempts: None, hosts: true }
    }
}

impl TryFrom<Values> for Settings {
    type Error = Wrong;

    fn try_from(v: Values) -> Result<Settings, Wrong> {
        let Values { nameservers, search, timeout, attempts, hosts } = v;
        at_most(SERVERS_MAX, nameservers.len(), "nameservers")?;
        at_most(SEARCH_MAX, search.as_ref().map_or(0, Vec::len), "search")?;
        let nameservers = nameservers.iter().map(|text| server(text)).collect::<Result<_, _>>()?;
        search.iter().flatten().try_for_each(|text| domain(text))?;
        Ok(Settings { nameservers, search, timeout, attempts, hosts })
    }
}

/// What the section says, or why it can't be.
pub(crate) fn settings(values: &serde_json::Value) -> Result<Settings, Wrong> {
    Values::deserialize(values).map_err(|e| Wrong::new(e.to_string(), "correct the section"))?.try_into()
}

fn at_most(max: usize, n: usize, key: &'static str) -> Result<(), Wrong> {
    match n <= max {
        true => Ok(()),
        false => Err(Wrong::new(format!("{n} of them"), format!("keep at most {max}")).of(key)),
    }
}

/// What is wrong with each text of a list, by its place there.
pub(crate) fn of_list<'a>(key: &str, texts: impl Iterator<Item = Option<&'a str>>) -> Vec<(usize, Wrong)> {
    let wrong = |text: &str| match key {
        "nameservers" => server(text).err(),
        "search" => domain(text).err(),
        _ => None,
    };
    texts.enumerate().filter_map(|(i, text)| Some((i, wrong(text?)?))).collect()
}

fn domain(text: &str) -> Result<(), Wrong> {
    match text.is_empty() || Name::from_ascii(text).is_err() {
        true => {
            let wrong = Wrong::new(format!("`{text}` is no domain"), "write a domain such as svc.cluster.local");
            Err(wrong.of("search"))
        }
        false => Ok(()),
    }
}

/// A server's address; port 53 unless it says another. Names cannot be: who would be asked for them?
fn server(text: &str) -> Result<SocketAddr, Wrong> {
    let ip = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    match (text.parse::<SocketAddr>(), ip.parse::<IpAddr>()) {
        (Ok(address), _) if address.port() > 0 => Ok(address),
        (_, Ok(ip)) => Ok(SocketAddr::new(ip, 53)),
        _ => {
            let wrong = Wrong::new(
                format!("`{text}` is no address of a DNS server"),
                "write an address such as 10.0.0.2, 127.0.0.1:5353 or [fd00::53]:5353",
            );
            Err(wrong.of("nameservers"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(values: serde_json::Value) -> Result<Settings, Wrong> {
        serde_json::from_value::<Values>(values).unwrap().try_into()
    }

    #[test]
    fn the_section_is_understood() {
        assert_eq!(settings(json!({})).unwrap(), Settings::default());
        let all = json!({
            "nameservers": ["10.0.0.2", "127.0.0.1:5353", "fd00::53", "[fd00::54]", "[fd00::55]:5353"],
            "search": ["svc.cluster.local", "."], "timeout": {"secs": 1, "nanos": 0}, "attempts": 3, "hosts": false,
        });
        let all = settings(all).unwrap();
        let servers: Vec<String> = all.nameservers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["10.0.0.2:53", "127.0.0.1:5353", "[fd00::53]:53", "[fd00::54]:53", "[fd00::55]:5353"]);
        assert_eq!((all.timeout, all.attempts, all.hosts), (Some(Duration::from_secs(1)), Some(3), false));
        assert_eq!(all.search.unwrap().len(), 2);
        for (key, value) in [
            ("nameservers", json!(["dns.example"])),
            ("nameservers", json!(["10.0.0.2:0"])),
            ("nameservers", json!(vec!["10.0.0.2"; 9])),
            ("search", json!(["a..b"])),
            ("search", json!([""])),
        ] {
            let wrong = settings(json!({ key: value })).unwrap_err();
            assert_eq!(wrong.key, Some(key), "{wrong:?}");
        }
    }
}
