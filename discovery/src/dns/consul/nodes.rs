//! Nodes: where they are and what is known of them.

use super::Asked;
use crate::dns::labels::name_of;
use crate::dns::reply::{self, Answer, Reply, add_new, cname};
use crate::model::{Address, Node};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, Record, RecordType};

/// A key of meta that begins so has a value that is the whole text.
const PLAIN: &str = "rfc1035-";

pub(super) fn answer(asked: &Asked<'_>, node: &str, seen: &mut Vec<Name>) -> Reply {
    let Asked { context, name, kind, .. } = *asked;
    let entry = context.snapshot.node(node).filter(|entry| context.settings.visible.node(&entry.node.name));
    let Some(entry) = entry else { return asked.nothing(ResponseCode::NXDomain) };
    let (node, settings) = (&*entry.node, context.settings);
    let mut records = Vec::new();
    if matches!(kind, RecordType::A | RecordType::AAAA | RecordType::ANY) {
        match address(node, kind) {
            Address::Ip(ip) => records.extend(reply::address(name, settings.ttls.node, *ip, kind)),
            Address::Name(host) => {
                if let Some(host) = name_of(host).filter(|host| host != name) {
                    records.push(cname(name, settings.ttls.node, host.clone()));
                    add_new(&mut records, context.resolve(&host, kind, seen));
                }
            }
        }
    }
    let mut along = Vec::new();
    match kind {
        RecordType::ANY | RecordType::TXT => records.extend(meta(asked, node, name)),
        _ if settings.node_meta && !records.is_empty() => along.extend(meta(asked, node, name)),
        _ => {}
    }
    match records.is_empty() {
        true => asked.nothing(ResponseCode::NoError),
        false => Reply { additionals: along, ..Reply::answers(records.into_iter().map(Answer::from).collect()) },
    }
}

/// Where a node is for those who ask for that family.
pub(super) fn address(node: &Node, kind: RecordType) -> &Address {
    let tagged = super::services::TAGGED.iter().filter(|(_, kinds)| kinds.contains(&kind));
    tagged.filter_map(|(key, _)| node.tagged.get(*key)).next().unwrap_or(&node.address)
}

/// What is known of a node, as texts.
pub(super) fn meta<'a>(asked: &'a Asked<'_>, node: &'a Node, owner: &'a Name) -> impl Iterator<Item = Record> + 'a {
    let ttl = asked.context.settings.ttls.node;
    node.meta.iter().map(move |(key, value)| {
        let plain = key.get(..PLAIN.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(PLAIN));
        reply::text(owner, ttl, &if plain { value.clone() } else { pair(key, value) })
    })
}

/// A key and its value in one text (RFC 1464).
fn pair(key: &str, value: &str) -> String {
    let mut text = String::with_capacity(key.len() + value.len() + 1);
    let inner = key.trim_matches([' ', '\t']);
    let start = key.len() - key.trim_start_matches([' ', '\t']).len();
    let blanks = |blanks: &str| blanks.chars().flat_map(|blank| ['`', blank]).collect::<String>();
    text.push_str(&blanks(key.get(..start).unwrap_or_default()));
    for c in inner.chars() {
        if matches!(c, '=' | '`') {
            text.push('`');
        }
        text.push(c);
    }
    text.push_str(&blanks(key.get(start + inner.len()..).unwrap_or_default()));
    text.push('=');
    text.push_str(&value.replace('`', "``"));
    text
}

#[cfg(test)]
mod tests {
    use super::pair;

    #[test]
    fn keys_are_written_so_that_they_can_be_read_again() {
        let pairs = [
            ("a=a", "true", "a`=a=true"),
            (" abc", " 321", "` abc= 321"),
            ("abc ", "123 ", "abc` =123 "),
            ("=", "\\=", "`==\\="),
            ("string2", "`abc`", "string2=``abc``"),
        ];
        for (key, value, text) in pairs {
            assert_eq!(pair(key, value), text);
        }
    }
}
