//! What a name in Consul's dialect asks for.

use std::borrow::Cow;

/// What a name asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form<'a> {
    Service { name: &'a str, tag: Option<Cow<'a, str>> },
    Node(String),
    Address(&'a str),
}

/// What the labels in front of the domain ask for; None when they are no question that is answered here.
pub(super) fn form<'a>(labels: &[&'a str], srv: bool, datacenter: &str) -> Option<Form<'a>> {
    const WORDS: [&str; 7] = ["service", "connect", "virtual", "ingress", "node", "query", "addr"];
    // The word nearest to the domain decides. SRV may leave `service` out: an underscore then begins the name.
    let found = labels.iter().enumerate().rev().find_map(|(at, label)| match WORDS.contains(label) {
        true => Some((*label, labels.get(..at)?, labels.get(at + 1..)?)),
        false if srv && label.starts_with('_') => Some(("service", labels.get(..=at)?, labels.get(at + 1..)?)),
        false => None,
    });
    let (word, parts, locality) = found?;
    let here = match locality {
        [] => true,
        [name] | [name, "dc"] => name.eq_ignore_ascii_case(datacenter),
        _ => false,
    };
    if !here {
        return None;
    }
    match (word, parts) {
        ("service", [service, protocol]) if service.starts_with('_') && protocol.starts_with('_') => {
            let tag = protocol.get(1..).filter(|tag| *tag != "tcp").map(Cow::Borrowed);
            Some(Form::Service { name: service.get(1..)?, tag })
        }
        ("service", [service]) => Some(Form::Service { name: service, tag: None }),
        ("service", [tag, service]) => Some(Form::Service { name: service, tag: Some(Cow::Borrowed(tag)) }),
        ("service", [tags @ .., service]) => Some(Form::Service { name: service, tag: Some(tags.join(".").into()) }),
        ("node", [_, ..]) => Some(Form::Node(parts.join("."))),
        ("addr", [hex]) => Some(Form::Address(hex)),
        // Prepared queries and the service mesh are not there.
        _ => None,
    }
}
