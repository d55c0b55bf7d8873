//! Tokens and signatures that a client would make.

use crate::table::{Sign, Token};
use aws_lc_rs::hmac;
use serde_json::Value;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding (RFC 4648 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for piece in bytes.chunks(3) {
        let bits = piece.iter().fold(0u32, |all, b| all << 8 | u32::from(*b)) << (8 * (3 - piece.len()));
        for n in 0..4 {
            let six = (bits >> (18 - 6 * n)) as usize & 63;
            out.push(if n <= piece.len() { STANDARD[six] as char } else { '=' });
        }
    }
    out
}

fn base64_url(bytes: &[u8]) -> String {
    base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn mac(algorithm: &str, secret: &str, text: &str) -> Vec<u8> {
    let algorithm = match algorithm.rsplit(['-', 'S']).next().unwrap_or("").trim_start_matches("sha") {
        "1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        "256" => hmac::HMAC_SHA256,
        "384" => hmac::HMAC_SHA384,
        "512" => hmac::HMAC_SHA512,
        other => panic!("no such algorithm: {other}"),
    };
    hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), text.as_bytes()).as_ref().to_vec()
}

/// A JSON web token.
pub(crate) fn token(token: &Token) -> String {
    let mut header = serde_json::json!({"typ": "JWT", "alg": token.alg});
    for (name, value) in &token.header {
        header[name] = value.clone();
    }
    let signed =
        [header, Value::Object(token.claims.clone())].map(|part| base64_url(part.to_string().as_bytes())).join(".");
    let signature = base64_url(&mac(&token.alg, &token.secret, &signed));
    format!("{signed}.{signature}")
}

/// The header line that signs a request with these lines.
pub(crate) fn line(sign: &Sign, method: &str, target: &str, lines: &[String]) -> String {
    let value = |name: &str| {
        let lines = lines.iter().filter_map(|l| l.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).next()
    };
    let part = |name: &str| match (name, value(name)) {
        ("request-line", _) => format!("{method} {target} HTTP/1.1"),
        ("@request-target", _) => format!("@request-target: {} {target}", method.to_ascii_lowercase()),
        (name, Some(value)) => format!("{name}: {value}"),
        (name, None) => format!("{name}:"),
    };
    let text = sign.headers.split(' ').map(part).collect::<Vec<_>>().join("\n");
    let signature = base64(&mac(&sign.algorithm, &sign.secret, &text));
    let (into, user, algorithm, headers) = (&sign.into, &sign.user, &sign.algorithm, &sign.headers);
    format!(
        "{into}: hmac username=\"{user}\", algorithm=\"{algorithm}\", headers=\"{headers}\", signature=\"{signature}\""
    )
}

/// The time so many seconds from now, as HTTP writes it (RFC 9110 5.6.7).
pub(crate) fn http_date(from_now: i64) -> String {
    let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(from_now);
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
