//! `jwt`: a signed token (RFC 7519) says who calls.

use super::auth::args::args;
use super::auth::jws::{self, Token};
use super::auth::{Auth, CHALLENGE, UNAUTHORIZED, after_scheme, challenge};
use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict};
use crate::exchange::{Exchange, Reply, Says, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use crate::gateway::people::{Found, People, Signed, Verified};
use serde_json::{Map, Value as Json};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 1450, build };

const NAME: &str = "jwt";

/// A year: as far away `maximum_expiration` may be.
const EXPIRATION_MAX: i64 = 31_536_000;

struct Jwt {
    auth: Auth,
    people: Arc<People>,
    uri_param_names: Box<[String]>,
    cookie_names: Box<[String]>,
    /// In lower case.
    header_names: Box<[String]>,
    key_claim_name: String,
    secret_is_base64: bool,
    claims: Box<[Claim]>,
    /// Seconds.
    maximum_expiration: Option<f64>,
    run_on_preflight: bool,
    /// To who sent no token.
    challenge: String,
    /// To who sent one that is not taken.
    challenge_error: String,
}

/// A time that a token says of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    Exp,
    Nbf,
}

impl Claim {
    fn name(self) -> &'static str {
        match self {
            Claim::Exp => "exp",
            Claim::Nbf => "nbf",
        }
    }

    /// What is wrong with it at that second.
    fn wrong(self, claims: &Map<String, Json>, now: f64) -> Option<&'static str> {
        match (claims.get(self.name()).and_then(Json::as_f64), self) {
            (None, _) => Some("must be a number"),
            (Some(exp), Claim::Exp) => (exp <= now).then_some("token expired"),
            (Some(nbf), Claim::Nbf) => (nbf > now).then_some("token not valid yet"),
        }
    }
}

/// Why a token is not taken.
enum Bad {
    /// There is none.
    Missing,
    /// This.
    Message(Cow<'static, str>),
    /// Its claims, each with what is wrong.
    Claims(Map<String, Json>),
}

impl From<&'static str> for Bad {
    fn from(message: &'static str) -> Bad {
        Bad::Message(message.into())
    }
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let auth = Auth::new(NAME, &mut fields, setup);
    let realm = fields.text("realm");
    let plain = challenge("Bearer", realm.as_deref(), &mut fields);
    let joint = if realm.is_some() { "," } else { "" };
    let claim = |fields: &mut Fields<'_>, (at, name): (usize, &String)| match name.as_str() {
        "exp" => Some(Claim::Exp),
        "nbf" => Some(Claim::Nbf),
        _ => {
            fields.wrong(&format!("claims_to_verify[{at}]"), "expected one of: exp, nbf", "write exp or nbf");
            None
        }
    };
    let names = fields.texts("claims_to_verify").unwrap_or_default();
    let claims: Box<[Claim]> = names.iter().enumerate().filter_map(|one| claim(&mut fields, one)).collect();
    let maximum = fields.integer("maximum_expiration", 0, EXPIRATION_MAX).unwrap_or(0);
    if maximum > 0 && !claims.contains(&Claim::Exp) {
        fields.wrong("claims_to_verify", "expected to contain: exp", "add exp, or remove maximum_expiration");
    }
    let mut texts = |key, usual: &[&str]| -> Box<[String]> {
        fields.texts(key).map_or_else(|| usual.iter().map(|u| (*u).to_owned()).collect(), Into::into)
    };
    let built = Jwt {
        auth,
        people: setup.people.clone(),
        uri_param_names: texts("uri_param_names", &["jwt"]),
        cookie_names: texts("cookie_names", &[]),
        header_names: texts("header_names", &["authorization"]).iter().map(|n| n.to_ascii_lowercase()).collect(),
        key_claim_name: fields.text("key_claim_name").unwrap_or_else(|| "iss".to_owned()),
        secret_is_base64: fields.flag("secret_is_base64", false),
        claims,
        maximum_expiration: (maximum > 0).then_some(maximum as f64),
        run_on_preflight: fields.flag("run_on_preflight", true),
        challenge_error: format!("{plain}{joint} error=\"invalid_token\""),
        challenge: plain,
    };
    fields.finish()?;
    Ok(Arc::new(built))
}

impl Jwt {
    /// The one token of a request, wherever it is.
    fn token<'a>(&'a self, exchange: &'a Exchange) -> Result<Cow<'a, [u8]>, Bad> {
        let request = &exchange.request;
        let query = request.query().filter(|_| !self.uri_param_names.is_empty()).unwrap_or_default();
        let queried = args(query.as_bytes())
            .filter(|arg| self.uri_param_names.iter().any(|name| *name.as_bytes() == *arg.name))
            .filter_map(|arg| arg.value);
        let cookies = (!self.cookie_names.is_empty()).then(|| request.headers.get_all("cookie"));
        let cookies = cookies.into_iter().flatten().flat_map(|line| line.split(|b| *b == b';')).filter_map(|pair| {
            let (name, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
            let wanted = self.cookie_names.iter().any(|wanted| *wanted.as_bytes() == *name.trim_ascii());
            wanted.then(|| Cow::Borrowed(value.get(1..).unwrap_or_default().trim_ascii()))
        });
        let lines = self.header_names.iter().flat_map(|name| request.headers.get_all(name));
        let lines = lines.filter_map(|line| {
            let rest = after_scheme(line, "bearer")?;
            let token = rest.trim_ascii_start();
            (token.len() < rest.len()).then_some(Cow::Borrowed(token))
        });
        let mut found: Option<Cow<'a, [u8]>> = None;
        for token in queried.chain(cookies).chain(lines).filter(|token| !token.is_empty()) {
            match &found {
                Some(first) if *first != token => return Err("Multiple tokens provided".into()),
                Some(_) => {}
                None => found = Some(token),
            }
        }
        found.ok_or(Bad::Missing)
    }

    /// The credential that a token is held against.
    fn credential(&self, token: &Token<'_>) -> Result<Found<'_, Signed>, Bad> {
        let claim = &self.key_claim_name;
        let has = |map: &Map<String, Json>| {
            map.get(claim).filter(|value| !matches!(value, Json::Null | Json::Bool(false))).cloned()
        };
        let key = has(&token.claims).or_else(|| has(&token.header));
        let key = key.ok_or_else(|| Bad::Message(format!("No mandatory '{claim}' in claims").into()))?;
        let key = key.as_str().filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| Bad::Message(format!("Invalid '{claim}' in claims").into()))?;
        let unknown = || Bad::Message(format!("No credentials found for given '{claim}'").into());
        self.people.jwt(key).ok_or_else(unknown)
    }

    fn verified(&self, exchange: &Exchange) -> Result<Found<'_, Signed>, Bad> {
        let token = self.token(exchange)?;
        let token = jws::parse(&token)?;
        let found = self.credential(&token)?;
        if token.algorithm != found.secret.algorithm {
            return Err("Invalid algorithm".into());
        }
        let secret = |text: &[u8]| {
            if self.secret_is_base64 { crate::exchange::from_base64any(text) } else { Some(text.to_vec()) }
        };
        match found.secret.verify(token.signed, &token.signature, secret) {
            Verified::Yes => {}
            Verified::No => return Err("Invalid signature".into()),
            Verified::NoKey => return Err("Invalid key/secret".into()),
        }
        let now = exchange.timings.wall.duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs() as f64);
        let wrong = |claim: &Claim| Some((claim.name().to_owned(), Json::from(claim.wrong(&token.claims, now)?)));
        let wrong: Map<String, Json> = self.claims.iter().filter_map(wrong).collect();
        if !wrong.is_empty() {
            return Err(Bad::Claims(wrong));
        }
        let exp = token.claims.get("exp").and_then(Json::as_f64);
        if self.maximum_expiration.is_some_and(|most| exp.is_none_or(|exp| exp - now > most)) {
            let far = ("exp".to_owned(), Json::from("exceeds maximum allowed expiration"));
            return Err(Bad::Claims([far].into_iter().collect()));
        }
        Ok(found)
    }

    fn refused(&self, bad: Bad) -> Box<Reply> {
        match bad {
            Bad::Missing => Reply::compact(NAME, 401, UNAUTHORIZED).with(CHALLENGE, &self.challenge),
            Bad::Message(message) => Reply::compact(NAME, 401, message).with(CHALLENGE, &self.challenge_error),
            Bad::Claims(claims) => {
                let json = Json::Object(claims).to_string();
                let mut reply = Reply::compact(NAME, 401, json.clone()).with(CHALLENGE, &self.challenge_error);
                reply.says = Says::Json(json.into());
                reply
            }
        }
    }
}

impl Middleware for Jwt {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        if !self.run_on_preflight && exchange.request.method == http::Method::OPTIONS {
            return self.auth.pass(exchange);
        }
        if self.auth.is_done(exchange) {
            return Verdict::Next;
        }
        match self.verified(exchange) {
            Ok(found) => self.auth.admit(exchange, found.consumer, found.credential),
            Err(bad) => self.auth.fail(exchange, || self.refused(bad)),
        }
    }

    fn explain(&self, _: &Exchange) -> String {
        format!("wants a token whose {} is the key of a credential", self.key_claim_name)
    }
}

#[cfg(test)]
mod tests;
