//! `discovery.http`: Consul's HTTP API, and who may do what there.

use crate::names::port;
use crate::section::{Key, Kind, Shape, Word, Wrong, key, word};
use crate::tls::ServerTls;
use crate::tls::section::LISTENER_KEYS;
use fourmi_discovery::Node;
use fourmi_discovery::dns::{Settings as Answers, Visible};
use fourmi_discovery::http::{Access, Resource, Right, Rule, Settings, Token};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

const TEXT: Kind = Kind::Text(Shape::Free);
const RIGHT: Kind = Kind::Word(RIGHTS);
const NAMES: Kind = Kind::Named(Shape::Prefix, &RIGHT);

/// Its keys.
pub(super) const KEYS: &[Key] = &[
    key("listen", Kind::OneOrMany(&Kind::Text(Shape::Socket)), "Where.").or("127.0.0.1:8500"),
    key(
        "allow_write",
        Kind::List(&Kind::Text(Shape::Network)),
        "Networks from where it may be changed, besides this machine.",
    ),
    key("default", Kind::Word(DEFAULTS), "What no rule speaks of: `allow` is everything, `deny` nothing.").or("allow"),
    key("anonymous", Kind::Section(RULES), "What may be done without a token."),
    key("dns", Kind::Section(RULES), "What names tell, as whoever asks by DNS has no token.")
        .or_words("as `anonymous`"),
    key("access", Kind::List(&Kind::Section(TOKEN)), "Who may do what, by tokens."),
    key("tls", Kind::Section(LISTENER_KEYS), "Encrypts all of `listen`; callers then write https://.").or_words("off"),
    key("check_host", Kind::Flag, "Whether `Host` must name us, so that no page in a browser reaches us.")
        .or_words("true on listeners of this machine"),
];

const TOKEN: &[Key] = &[
    key("name", TEXT, "What it is called where it is talked about.").required(),
    key("token", Kind::Text(Shape::Secret), "The secret."),
    key("token_file", Kind::Text(Shape::File), "A file that holds it."),
    key("rules", Kind::Section(RULES), "What it allows."),
];

const RULES: &[Key] = &[
    key("service", NAMES, "By the name of a service: `{stock: write}`."),
    key("service_prefix", NAMES, "By how it begins; `''` is every name."),
    key("node", NAMES, "The same of nodes."),
    key("node_prefix", NAMES, "By how it begins."),
    key("agent", NAMES, "What this node says of itself."),
    key("agent_prefix", NAMES, "By how it begins."),
    key("key", NAMES, "The same of keys."),
    key("key_prefix", NAMES, "By how it begins."),
    key("event", NAMES, "The same of events: `write` fires them."),
    key("event_prefix", NAMES, "By how it begins."),
];

const RIGHTS: &[Word] = &[word("deny"), word("read"), word("write")];
const DEFAULTS: &[Word] = &[word("allow"), word("deny")];

/// The most tokens.
const TOKENS_MAX: usize = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Values {
    listen: Vec<String>,
    allow_write: Vec<IpNet>,
    default: Option<String>,
    anonymous: Rules,
    dns: Option<Rules>,
    access: Vec<TokenValues>,
    check_host: Option<bool>,
    tls: Option<Value>,
}

/// Where it listens, and how.
#[derive(Debug, Default)]
pub(super) struct Listening {
    pub(super) at: Vec<SocketAddr>,
    pub(super) settings: Settings,
    pub(super) tls: Option<ServerTls>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenValues {
    name: String,
    token: Option<String>,
    token_file: Option<PathBuf>,
    rules: Rules,
}

impl std::fmt::Debug for TokenValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the secret.
        f.debug_struct("TokenValues").field("name", &self.name).finish_non_exhaustive()
    }
}

type Names = BTreeMap<String, Word3>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rules {
    service: Names,
    service_prefix: Names,
    node: Names,
    node_prefix: Names,
    agent: Names,
    agent_prefix: Names,
    key: Names,
    key_prefix: Names,
    event: Names,
    event_prefix: Names,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word3 {
    Deny,
    Read,
    Write,
}

impl Rules {
    fn all(&self) -> Vec<Rule> {
        let lists = [
            (Resource::Service, false, &self.service),
            (Resource::Service, true, &self.service_prefix),
            (Resource::Node, false, &self.node),
            (Resource::Node, true, &self.node_prefix),
            (Resource::Agent, false, &self.agent),
            (Resource::Agent, true, &self.agent_prefix),
            (Resource::Key, false, &self.key),
            (Resource::Key, true, &self.key_prefix),
            (Resource::Event, false, &self.event),
            (Resource::Event, true, &self.event_prefix),
        ];
        let rule = |resource, prefix, name: &String, word: &Word3| Rule {
            resource,
            name: name.clone(),
            prefix,
            right: match word {
                Word3::Deny => Right::Deny,
                Word3::Read => Right::Read,
                Word3::Write => Right::Write,
            },
        };
        let of = |(resource, prefix, names): (Resource, bool, &Names)| {
            names.iter().map(move |(name, word)| rule(resource, prefix, name, word)).collect::<Vec<_>>()
        };
        lists.into_iter().flat_map(of).collect()
    }
}

/// Where it listens and what it allows; names tell no more.
pub(super) fn settings(v: Values, answers: &mut Answers, node: &Node) -> Result<Listening, Wrong> {
    let listen = super::dns::listen(&v.listen, port::CONSUL, "http.listen")?;
    if v.access.len() > TOKENS_MAX {
        let message = format!("{} tokens", v.access.len());
        return Err(Wrong::new(message, format!("keep at most {TOKENS_MAX}")).of("http.access"));
    }
    let mut tokens: Vec<Token> = Vec::with_capacity(v.access.len());
    for values in v.access {
        let rules = values.rules.all();
        let (secret, accessor) = secret(values).map_err(|wrong| wrong.of("http.access"))?;
        let token = Token { secret, accessor, rules };
        if let Some(other) = tokens.iter().find(|other| other.secret == token.secret) {
            let message = format!("`{}` and `{}` have the same secret", other.accessor, token.accessor);
            return Err(Wrong::new(message, "give each a secret of its own").of("http.access"));
        }
        tokens.push(token);
    }
    let access = Access {
        default: if v.default.as_deref() == Some("deny") { Right::Deny } else { Right::Write },
        tokens,
        anonymous: v.anonymous.all(),
    };
    if access != Access::default() {
        let rules = v.dns.as_ref().map_or_else(|| access.anonymous.clone(), Rules::all);
        answers.visible = Visible::by(access.clone(), rules);
    }
    let settings = Settings {
        node: node.name.clone(),
        address: node.address.ip().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        datacenter: answers.datacenter.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        domains: answers.domains.iter().map(|d| d.name().trim_end_matches('.').to_owned()).collect(),
        check_host: v.check_host,
        allow_write: v.allow_write,
        access,
        ..Settings::default()
    };
    Ok(Listening { at: listen, settings, tls: v.tls.map(encrypted).transpose()? })
}

/// How listeners encrypt, with files that can be used.
fn encrypted(values: Value) -> Result<ServerTls, Wrong> {
    let of = |wrong: Wrong| match wrong.key {
        Some(key) => Wrong { message: format!("`{key}`: {}", wrong.message), ..wrong }.of("http.tls"),
        None => wrong.of("http.tls"),
    };
    let tls = ServerTls::of_section(values).map_err(of)?;
    match tls.troubles().into_iter().next() {
        Some((_, trouble)) => Err(of(trouble.into())),
        // Without a pair nobody has looked.
        None => tls.acceptor().map(|_| tls.clone()).map_err(|trouble| of(trouble.into())),
    }
}

fn secret(values: TokenValues) -> Result<(String, String), Wrong> {
    let wrong = |w: Wrong| Wrong { message: format!("the token `{}`: {}", values.name, w.message), ..w };
    let secret = super::secret::of(values.token, values.token_file, "token").map_err(wrong)?;
    let none = || Wrong::new(format!("the token `{}` has no secret", values.name), "write `token` or `token_file`");
    Ok((secret.ok_or_else(none)?, values.name))
}
