//! Signed tokens in their compact form (RFC 7515, 7.1), taken apart and not yet believed.

use crate::exchange::from_base64url;
use crate::gateway::people::Algorithm;
use serde_json::{Map, Value as Json};

/// A token.
pub(in crate::middleware) struct Token<'a> {
    /// How its signature is made, as it says itself.
    pub(in crate::middleware) algorithm: Algorithm,
    /// Its JOSE header.
    pub(in crate::middleware) header: Map<String, Json>,
    /// What it says.
    pub(in crate::middleware) claims: Map<String, Json>,
    /// What is signed.
    pub(in crate::middleware) signed: &'a [u8],
    /// The signature.
    pub(in crate::middleware) signature: Vec<u8>,
}

/// Takes a token apart.
///
/// # Errors
/// What is wrong with it, in Kong's words.
pub(in crate::middleware) fn parse(token: &[u8]) -> Result<Token<'_>, &'static str> {
    const JSON: &str = "Bad token; invalid JSON";
    let mut dots = memchr::memchr_iter(b'.', token);
    let (first, second) = dots.next().zip(dots.next()).ok_or(JSON)?;
    let json = |text: &[u8]| serde_json::from_slice::<Json>(&from_base64url(text)?).ok();
    let header = json(&token[..first]).ok_or(JSON)?;
    let claims = json(&token[first + 1..second]).ok_or(JSON)?;
    let Json::Object(header) = header else { return Err("Bad token; invalid alg") };
    let algorithm = header.get("alg").and_then(Json::as_str).and_then(Algorithm::parse);
    let algorithm = algorithm.ok_or("Bad token; invalid alg")?;
    let Json::Object(claims) = claims else { return Err("Bad token; invalid claims") };
    // A further dot is no letter of the alphabet.
    let signature = from_base64url(&token[second + 1..]).ok_or("Bad token; invalid signature")?;
    Ok(Token { algorithm, header, claims, signed: &token[..second], signature })
}
