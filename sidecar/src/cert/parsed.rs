//! What a certificate says, as plain values.

use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// One certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) serial: String,
    pub(super) uris: Vec<String>,
    pub(super) dns: Vec<String>,
    pub(super) ips: Vec<String>,
    /// Names of other kinds.
    pub(super) others: Vec<String>,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    pub(super) authority: bool,
    /// An authority that may not sign certificates is none for us.
    pub(super) may_sign: bool,
    pub(super) server: bool,
    pub(super) client: bool,
    /// The bits of the public key, to compare with a private key's.
    pub(super) public_key: Vec<u8>,
}

impl Parsed {
    pub(super) fn of(der: &[u8]) -> Result<Parsed, String> {
        let (rest, x509) = X509Certificate::from_der(der).map_err(|e| format!("it is not X.509: {e}"))?;
        if !rest.is_empty() {
            return Err("it is not X.509: something follows it".to_owned());
        }
        let odd = |what: &str| format!("its {what} cannot be read");
        let mut parsed = Parsed {
            subject: distinguished(x509.subject()),
            issuer: distinguished(x509.issuer()),
            serial: x509.raw_serial().iter().map(|b| format!("{b:02x}")).collect(),
            not_before: x509.validity().not_before.timestamp(),
            not_after: x509.validity().not_after.timestamp(),
            authority: x509.is_ca(),
            public_key: x509.public_key().subject_public_key.data.to_vec(),
            ..Parsed::default()
        };
        // Without the extension everything is allowed.
        let usage = x509.key_usage().map_err(|_| odd("key usage"))?;
        parsed.may_sign = parsed.authority && usage.is_none_or(|u| u.value.key_cert_sign());
        let extended = x509.extended_key_usage().map_err(|_| odd("extended key usage"))?;
        (parsed.server, parsed.client) =
            extended.map_or((true, true), |e| (e.value.any || e.value.server_auth, e.value.any || e.value.client_auth));
        let names = x509.subject_alternative_name().map_err(|_| odd("subject alternative names"))?;
        for name in names.iter().flat_map(|n| &n.value.general_names) {
            match name {
                GeneralName::URI(uri) => parsed.uris.push(plain(uri)),
                GeneralName::DNSName(name) => parsed.dns.push(plain(name)),
                GeneralName::IPAddress(bytes) => match ip(bytes) {
                    Some(ip) => parsed.ips.push(ip.to_string()),
                    None => parsed.others.push(format!("IP:{bytes:02x?}")),
                },
                GeneralName::RFC822Name(name) => parsed.others.push(plain(name)),
                GeneralName::DirectoryName(name) => parsed.others.push(distinguished(name)),
                other => parsed.others.push(kind(other).to_owned()),
            }
        }
        Ok(parsed)
    }

    /// The one SPIFFE ID. Two of them are none: nobody could say which one it is.
    pub(super) fn identity(&self) -> Option<&str> {
        match self.uris.as_slice() {
            [uri] if super::name::parts(uri).is_some() => Some(uri),
            _ => None,
        }
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// Names that hardly anybody uses are only mentioned.
fn kind(name: &GeneralName<'_>) -> &'static str {
    match name {
        GeneralName::RegisteredID(_) => "(registered id)",
        GeneralName::Invalid(..) => "(invalid)",
        _ => "(other name)",
    }
}

/// The attributes that stand in nearly every name. The crate's own table of all of them would be larger than the rest.
const ATTRIBUTES: [(&str, &str); 6] =
    [("2.5.4.3", "CN"), ("2.5.4.6", "C"), ("2.5.4.7", "L"), ("2.5.4.8", "ST"), ("2.5.4.10", "O"), ("2.5.4.11", "OU")];

fn distinguished(name: &X509Name<'_>) -> String {
    let part = |attribute: &AttributeTypeAndValue<'_>| {
        let oid = attribute.attr_type().to_id_string();
        let known = ATTRIBUTES.iter().find(|(id, _)| *id == oid).map_or(oid.as_str(), |(_, short)| short);
        format!("{known}={}", plain(attribute.as_str().unwrap_or("(not text)")))
    };
    name.iter_attributes().map(part).collect::<Vec<_>>().join(", ")
}

/// A certificate is somebody else's text: it may not write control characters to a terminal.
fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
