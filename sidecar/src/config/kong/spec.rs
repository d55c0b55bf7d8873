//! The table: every kind of entity with its fields, their types and limits, and what may be nested in it.

use super::scalar::{self, Wrong};

/// A kind of entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Service,
    Route,
    Consumer,
    Plugin,
    Upstream,
    Target,
    Certificate,
    Sni,
    CaCertificate,
    Vault,
    KeyAuth,
    BasicAuth,
    HmacAuth,
    Jwt,
    Acl,
    ConsumerGroup,
}

impl Kind {
    /// Whether a file may hold a hundred thousand of them.
    pub(super) fn is_many(self) -> bool {
        matches!(self, Kind::Consumer | Kind::KeyAuth | Kind::BasicAuth | Kind::HmacAuth | Kind::Jwt | Kind::Acl)
    }

    /// Whether others may name it.
    pub(super) fn is_referred_to(self) -> bool {
        match self {
            Kind::Service | Kind::Route | Kind::Consumer | Kind::Upstream | Kind::Certificate => true,
            Kind::Sni | Kind::CaCertificate | Kind::ConsumerGroup => true,
            Kind::Plugin | Kind::Target | Kind::Vault | Kind::Acl => false,
            Kind::KeyAuth | Kind::BasicAuth | Kind::HmacAuth | Kind::Jwt => false,
        }
    }
}

/// What a field holds.
pub(super) enum Type {
    Bool,
    /// A whole number, within.
    Int(i64, i64),
    /// One of these numbers.
    OneInt(&'static [i64]),
    /// Any number, within.
    Number(f64, f64),
    Text(fn(&str) -> Result<(), Wrong>),
    /// The same, never repeated in a message.
    Secret(fn(&str) -> Result<(), Wrong>),
    Word(&'static [&'static str]),
    List(&'static Type),
    /// A list without repetitions.
    Set(&'static Type),
    Map(fn(&str) -> Result<(), Wrong>, &'static Type),
    Record(&'static [Field]),
    /// Name or id of another entity.
    Foreign(Kind),
    /// Looked at elsewhere.
    Tree,
}

pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) of: Type,
    pub(super) required: bool,
}

pub(super) struct Spec {
    pub(super) kind: Kind,
    pub(super) list: &'static str,
    pub(super) one: &'static str,
    pub(super) many: &'static str,
    pub(super) fields: &'static [Field],
    /// Lists inside, and the field by which their entries point back.
    pub(super) children: &'static [(Kind, &'static str)],
    /// What others call it by.
    pub(super) key: Option<&'static str>,
    /// Fields that no two may share.
    pub(super) unique: &'static [&'static str],
}

const fn opt(name: &'static str, of: Type) -> Field {
    Field { name, of, required: false }
}

const fn req(name: &'static str, of: Type) -> Field {
    Field { name, of, required: true }
}

pub(super) const PROTOCOLS: &[&str] = &["grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"];
const HASH: &[&str] = &["none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture"];
const CHECKS: &[&str] = &["tcp", "http", "https", "grpc", "grpcs"];
pub(super) const JWT_ALGORITHMS: &[&str] = &[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA",
];

const ID: Field = opt("id", Type::Text(scalar::uuid));
const TAGS: Field = opt("tags", Type::Set(&Type::Text(scalar::tag)));
const CREATED: Field = opt("created_at", Type::Int(0, i64::MAX));
const UPDATED: Field = opt("updated_at", Type::Int(0, i64::MAX));
const COMMENT: Field = opt("_comment", Type::Text(scalar::any));
const IGNORE: Field = opt("_ignore", Type::List(&Type::Tree));
const TEXT: Type = Type::Text(scalar::filled);
const SECRET: Type = Type::Secret(scalar::filled);
const MS: Type = Type::Int(1, 2_147_483_646);
const SECONDS: Type = Type::Number(0.0, 65535.0);
const COUNT: Type = Type::Int(0, 255);
const STATUSES: Type = Type::List(&Type::Int(100, 999));
const HEADERS: Type = Type::Map(scalar::header, &Type::List(&Type::Text(scalar::any)));
const PEERS: Type =
    Type::Set(&Type::Record(&[opt("ip", Type::Text(scalar::network)), opt("port", Type::Int(0, 65535))]));

macro_rules! fields {
    ($($field:expr),* $(,)?) => { &[ID, $($field),*, TAGS, CREATED, UPDATED, COMMENT, IGNORE] };
}

pub(super) static SPECS: &[Spec] = &[
    Spec {
        kind: Kind::Service,
        list: "services",
        one: "service",
        many: "services",
        fields: fields![
            opt("name", Type::Text(scalar::name)),
            opt("enabled", Type::Bool),
            opt("protocol", Type::Word(PROTOCOLS)),
            req("host", Type::Text(scalar::host)),
            opt("port", Type::Int(0, 65535)),
            opt("path", Type::Text(scalar::path)),
            opt("retries", Type::Int(0, 32767)),
            opt("connect_timeout", MS),
            opt("write_timeout", MS),
            opt("read_timeout", MS),
            opt("client_certificate", Type::Foreign(Kind::Certificate)),
            opt("tls_verify", Type::Bool),
            opt("tls_verify_depth", Type::Int(0, 64)),
            opt("ca_certificates", Type::List(&Type::Foreign(Kind::CaCertificate))),
        ],
        children: &[(Kind::Route, "service"), (Kind::Plugin, "service")],
        key: Some("name"),
        unique: &["name"],
    },
    Spec {
        kind: Kind::Route,
        list: "routes",
        one: "route",
        many: "routes",
        fields: fields![
            opt("name", Type::Text(scalar::name)),
            opt("service", Type::Foreign(Kind::Service)),
            opt("protocols", Type::Set(&Type::Word(PROTOCOLS))),
            opt("methods", Type::Set(&Type::Text(scalar::method))),
            opt("hosts", Type::List(&Type::Text(scalar::route_host))),
            opt("paths", Type::List(&Type::Text(scalar::route_path))),
            opt("headers", Type::Map(scalar::route_header, &Type::List(&Type::Text(scalar::route_header_value)))),
            opt("snis", Type::Set(&Type::Text(scalar::sni))),
            opt("sources", PEERS),
            opt("destinations", PEERS),
            opt("strip_path", Type::Bool),
            opt("preserve_host", Type::Bool),
            opt("regex_priority", Type::Int(i32::MIN as i64, i32::MAX as i64)),
            opt("path_handling", Type::Word(&["v0", "v1"])),
            opt("https_redirect_status_code", Type::OneInt(&[426, 301, 302, 307, 308])),
            opt("request_buffering", Type::Bool),
            opt("response_buffering", Type::Bool),
        ],
        children: &[(Kind::Plugin, "route")],
        key: Some("name"),
        unique: &["name"],
    },
    Spec {
        kind: Kind::Consumer,
        list: "consumers",
        one: "consumer",
        many: "consumers",
        fields: fields![
            opt("username", TEXT),
            opt("custom_id", TEXT),
            opt("groups", Type::List(&Type::Foreign(Kind::ConsumerGroup))),
        ],
        children: &[
            (Kind::Plugin, "consumer"),
            (Kind::KeyAuth, "consumer"),
            (Kind::BasicAuth, "consumer"),
            (Kind::HmacAuth, "consumer"),
            (Kind::Jwt, "consumer"),
            (Kind::Acl, "consumer"),
        ],
        key: Some("username"),
        unique: &["username", "custom_id"],
    },
    Spec {
        kind: Kind::Plugin,
        list: "plugins",
        one: "plugin",
        many: "plugins",
        fields: fields![
            req("name", TEXT),
            opt("instance_name", Type::Text(scalar::name)),
            opt("service", Type::Foreign(Kind::Service)),
            opt("route", Type::Foreign(Kind::Route)),
            opt("consumer", Type::Foreign(Kind::Consumer)),
            opt("consumer_group", Type::Foreign(Kind::ConsumerGroup)),
            opt("config", Type::Tree),
            opt("protocols", Type::Set(&Type::Word(PROTOCOLS))),
            opt("enabled", Type::Bool),
        ],
        children: &[],
        key: Some("instance_name"),
        unique: &["instance_name"],
    },
    Spec {
        kind: Kind::Upstream,
        list: "upstreams",
        one: "upstream",
        many: "upstreams",
        fields: fields![
            req("name", Type::Text(scalar::upstream)),
            opt("algorithm", Type::Word(&["consistent-hashing", "least-connections", "round-robin", "latency"])),
            opt("hash_on", Type::Word(HASH)),
            opt("hash_fallback", Type::Word(HASH)),
            opt("hash_on_header", Type::Text(scalar::header)),
            opt("hash_fallback_header", Type::Text(scalar::header)),
            opt("hash_on_cookie", TEXT),
            opt("hash_on_cookie_path", Type::Text(scalar::cookie_path)),
            opt("hash_on_query_arg", TEXT),
            opt("hash_fallback_query_arg", TEXT),
            opt("hash_on_uri_capture", TEXT),
            opt("hash_fallback_uri_capture", TEXT),
            opt("slots", Type::Int(10, 65536)),
            opt(
                "healthchecks",
                Type::Record(&[
                    opt(
                        "active",
                        Type::Record(&[
                            opt("type", Type::Word(CHECKS)),
                            opt("timeout", SECONDS),
                            opt("concurrency", Type::Int(1, 2_147_483_648)),
                            opt("http_path", Type::Text(scalar::path)),
                            opt("https_sni", Type::Text(scalar::sni)),
                            opt("https_verify_certificate", Type::Bool),
                            opt("headers", HEADERS),
                            opt(
                                "healthy",
                                Type::Record(&[
                                    opt("interval", SECONDS),
                                    opt("http_statuses", STATUSES),
                                    opt("successes", COUNT),
                                ]),
                            ),
                            opt(
                                "unhealthy",
                                Type::Record(&[
                                    opt("interval", SECONDS),
                                    opt("http_statuses", STATUSES),
                                    opt("tcp_failures", COUNT),
                                    opt("timeouts", COUNT),
                                    opt("http_failures", COUNT),
                                ]),
                            ),
                        ]),
                    ),
                    opt(
                        "passive",
                        Type::Record(&[
                            opt("type", Type::Word(CHECKS)),
                            opt("healthy", Type::Record(&[opt("http_statuses", STATUSES), opt("successes", COUNT)])),
                            opt(
                                "unhealthy",
                                Type::Record(&[
                                    opt("http_statuses", STATUSES),
                                    opt("tcp_failures", COUNT),
                                    opt("timeouts", COUNT),
                                    opt("http_failures", COUNT),
                                ]),
                            ),
                        ]),
                    ),
                    opt("threshold", Type::Number(0.0, 100.0)),
                ]),
            ),
            opt("host_header", Type::Text(scalar::target)),
            opt("client_certificate", Type::Foreign(Kind::Certificate)),
            opt("use_srv_name", Type::Bool),
        ],
        children: &[(Kind::Target, "upstream")],
        key: Some("name"),
        unique: &["name"],
    },
    Spec {
        kind: Kind::Target,
        list: "targets",
        one: "target",
        many: "targets",
        fields: fields![
            req("target", Type::Text(scalar::target)),
            req("upstream", Type::Foreign(Kind::Upstream)),
            opt("weight", Type::Int(0, 65535)),
        ],
        children: &[],
        key: Some("target"),
        unique: &[],
    },
    Spec {
        kind: Kind::Certificate,
        list: "certificates",
        one: "certificate",
        many: "certificates",
        fields: fields![
            req("cert", Type::Text(scalar::filled)),
            req("key", SECRET),
            opt("cert_alt", Type::Text(scalar::filled)),
            opt("key_alt", SECRET),
        ],
        children: &[(Kind::Sni, "certificate"), (Kind::Service, "client_certificate")],
        key: None,
        unique: &[],
    },
    Spec {
        kind: Kind::Sni,
        list: "snis",
        one: "SNI",
        many: "SNIs",
        fields: fields![req("name", Type::Text(scalar::sni)), req("certificate", Type::Foreign(Kind::Certificate)),],
        children: &[],
        key: Some("name"),
        unique: &["name"],
    },
    Spec {
        kind: Kind::CaCertificate,
        list: "ca_certificates",
        one: "CA certificate",
        many: "CA certificates",
        fields: fields![req("cert", Type::Text(scalar::filled)), opt("cert_digest", Type::Text(scalar::filled))],
        children: &[],
        key: None,
        unique: &[],
    },
    Spec {
        kind: Kind::Vault,
        list: "vaults",
        one: "vault",
        many: "vaults",
        fields: fields![
            req("prefix", Type::Text(scalar::vault_prefix)),
            req("name", TEXT),
            opt("description", TEXT),
            opt("config", Type::Record(&[opt("prefix", Type::Text(scalar::any))])),
        ],
        children: &[],
        key: Some("prefix"),
        unique: &["prefix"],
    },
    Spec {
        kind: Kind::KeyAuth,
        list: "keyauth_credentials",
        one: "API key",
        many: "API keys",
        fields: fields![
            req("consumer", Type::Foreign(Kind::Consumer)),
            opt("key", SECRET),
            opt("ttl", Type::Int(0, 100_000_000)),
        ],
        children: &[],
        key: Some("key"),
        unique: &["key"],
    },
    Spec {
        kind: Kind::BasicAuth,
        list: "basicauth_credentials",
        one: "basic-auth credential",
        many: "basic-auth credentials",
        fields: fields![req("consumer", Type::Foreign(Kind::Consumer)), req("username", TEXT), req("password", SECRET),],
        children: &[],
        key: Some("username"),
        unique: &["username"],
    },
    Spec {
        kind: Kind::HmacAuth,
        list: "hmacauth_credentials",
        one: "HMAC credential",
        many: "HMAC credentials",
        fields: fields![req("consumer", Type::Foreign(Kind::Consumer)), req("username", TEXT), opt("secret", SECRET),],
        children: &[],
        key: Some("username"),
        unique: &["username"],
    },
    Spec {
        kind: Kind::Jwt,
        list: "jwt_secrets",
        one: "JWT secret",
        many: "JWT secrets",
        fields: fields![
            req("consumer", Type::Foreign(Kind::Consumer)),
            opt("key", TEXT),
            opt("secret", SECRET),
            opt("rsa_public_key", Type::Text(scalar::filled)),
            opt("algorithm", Type::Word(JWT_ALGORITHMS)),
        ],
        children: &[],
        key: Some("key"),
        unique: &["key"],
    },
    Spec {
        kind: Kind::Acl,
        list: "acls",
        one: "group membership",
        many: "group memberships",
        fields: fields![req("consumer", Type::Foreign(Kind::Consumer)), req("group", TEXT)],
        children: &[],
        key: None,
        unique: &[],
    },
    Spec {
        kind: Kind::ConsumerGroup,
        list: "consumer_groups",
        one: "consumer group",
        many: "consumer groups",
        fields: fields![req("name", TEXT), opt("consumers", Type::List(&Type::Foreign(Kind::Consumer))),],
        children: &[(Kind::Plugin, "consumer_group")],
        key: Some("name"),
        unique: &["name"],
    },
];

impl Kind {
    pub(super) fn spec(self) -> &'static Spec {
        // The table names every kind; a test holds it to that.
        SPECS.iter().find(|s| s.kind == self).unwrap_or(&SPECS[0])
    }

    pub(super) fn of_list(list: &str) -> Option<Kind> {
        SPECS.iter().find(|s| s.list == list).map(|s| s.kind)
    }
}

/// Lists and keys at the top that Kong or deck know and that mean nothing here: one warning each.
pub(super) const IGNORED: &[&str] = &[
    "_workspace",
    "_konnect",
    "workspaces",
    "keys",
    "key_sets",
    "filter_chains",
    "oauth2_credentials",
    "oauth2_tokens",
    "oauth2_authorization_codes",
    "acme_storage",
    "sessions",
    "rbac_roles",
    "licenses",
    "custom_entities",
    "service_packages",
    "partials",
    "degraphql_routes",
    "consumer_group_overrides",
];

/// The same inside entities.
pub(super) const IGNORED_INSIDE: &[(Kind, &str)] = &[
    (Kind::Service, "filter_chains"),
    (Kind::Route, "filter_chains"),
    (Kind::Plugin, "ordering"),
    (Kind::Plugin, "condition"),
    (Kind::Plugin, "partials"),
    (Kind::Plugin, "run_on"),
    (Kind::Consumer, "oauth2_credentials"),
    (Kind::Consumer, "mtls_auth_credentials"),
];

pub(super) const INFO: &[&str] =
    &["select_tags", "default_lookup_tags", "defaults", "consumer_group_policy_overrides", "skip_hash_for_basic_auth"];
