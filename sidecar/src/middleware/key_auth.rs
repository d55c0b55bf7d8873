//! `key-auth`: a key in a header line, the query or the body says who calls.

use super::auth::args::{args, without};
use super::auth::form::{Field, Form, is_form};
use super::auth::{Auth, CHALLENGE, UNAUTHORIZED, challenge};
use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict};
use crate::exchange::{Exchange, Reply, Seen, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use crate::gateway::people::{Found, Key, People};
use std::borrow::Cow;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 1250, build };

const NAME: &str = "key-auth";

/// As much of a body is read to find a key in it.
const BODY_MAX: usize = 1 << 20;

struct KeyAuth {
    auth: Auth,
    people: Arc<People>,
    names: Box<[Name]>,
    hide_credentials: bool,
    key_in_header: bool,
    key_in_query: bool,
    key_in_body: bool,
    run_on_preflight: bool,
    challenge: String,
}

/// Under which a key is given.
struct Name {
    text: String,
    /// In lower case.
    header: String,
}

/// What was found under one name.
enum Value<'a> {
    Nothing,
    Key(Cow<'a, [u8]>),
    Twice,
}

/// What came out of looking everywhere.
enum Search<'a> {
    /// The body has to be read.
    Body,
    /// Nothing, or nothing of use; the message says it.
    Failed(&'static str),
    /// A key, under the name of that place; whose it is.
    Key(usize, Option<Found<'a, Key>>),
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let auth = Auth::new(NAME, &mut fields, setup);
    let names = fields.texts("key_names").unwrap_or_else(|| vec!["apikey".to_owned()]);
    for (at, name) in names.iter().enumerate() {
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') || name.is_empty() {
            let message = format!("bad header name '{name}', allowed characters are A-Z, a-z, 0-9, '_', and '-'");
            fields.wrong(&format!("key_names[{at}]"), message, "write such a name");
        }
    }
    let realm = fields.text("realm");
    let challenge = challenge("Key", realm.as_deref(), &mut fields);
    let name = |text: String| Name { header: text.to_ascii_lowercase(), text };
    let built = KeyAuth {
        auth,
        people: setup.people.clone(),
        names: names.into_iter().map(name).collect(),
        hide_credentials: fields.flag("hide_credentials", false),
        key_in_header: fields.flag("key_in_header", true),
        key_in_query: fields.flag("key_in_query", true),
        key_in_body: fields.flag("key_in_body", false),
        run_on_preflight: fields.flag("run_on_preflight", true),
        challenge,
    };
    fields.finish()?;
    Ok(Arc::new(built))
}

impl KeyAuth {
    fn search(&self, exchange: &Exchange) -> Search<'_> {
        let body = match &exchange.seen {
            _ if !self.key_in_body || !is_form(&exchange.request) => None,
            Seen::Whole(body) => Some(body),
            // A key elsewhere is to be taken out of the body, too.
            Seen::Not if self.hide_credentials => return Search::Body,
            _ => None,
        };
        let form = body.and_then(|body| Form::read(&exchange.request, body));
        for (place, name) in self.names.iter().enumerate() {
            let mut found = self.outside(exchange, name);
            let may = self.key_in_body && !name.header.starts_with(crate::names::header::PREFIX);
            if matches!(found, Value::Nothing) && may {
                if matches!(exchange.seen, Seen::Not) && is_form(&exchange.request) {
                    return Search::Body;
                }
                found = match form.as_ref().map_or(Field::Nothing, |form| form.get(&name.text)) {
                    Field::Nothing => Value::Nothing,
                    Field::One(key) => Value::Key(key.into()),
                    Field::Several => Value::Twice,
                };
            }
            match found {
                Value::Nothing => {}
                Value::Twice => return Search::Failed("Duplicate API key found"),
                Value::Key(key) if key.is_empty() => break,
                Value::Key(key) => {
                    return Search::Key(place, self.people.key(&key, exchange.timings.start));
                }
            }
        }
        Search::Failed("No API key found in request")
    }

    /// In the header lines and the query.
    fn outside<'a>(&self, exchange: &'a Exchange, name: &'a Name) -> Value<'a> {
        if self.key_in_header {
            let mut all = exchange.request.headers.get_all(&name.header);
            match (all.next(), all.next()) {
                (Some(key), None) => return Value::Key(key.into()),
                (Some(_), Some(_)) => return Value::Twice,
                (None, _) => {}
            }
        }
        // What is proved by the connection is said by its codec, and by no query.
        let may = self.key_in_query && !name.header.starts_with(crate::names::header::PREFIX);
        let Some(query) = exchange.request.query().filter(|_| may) else { return Value::Nothing };
        let mut all = args(query.as_bytes()).filter(|arg| *arg.name == *name.text.as_bytes());
        match (all.next(), all.next()) {
            (None, _) => Value::Nothing,
            (Some(arg), None) => arg.value.map_or(Value::Nothing, Value::Key),
            (Some(_), Some(_)) => Value::Twice,
        }
    }

    /// Takes the key away, wherever it may be.
    fn hide(&self, exchange: &mut Exchange, name: &Name) {
        let request = &mut exchange.request;
        request.headers.remove(&name.header);
        if let Some(query) = request.query()
            && args(query.as_bytes()).any(|arg| *arg.name == *name.text.as_bytes())
        {
            let kept = without(query.as_bytes(), name.text.as_bytes());
            let kept = String::from_utf8(kept).unwrap_or_default();
            request.set_query((!kept.is_empty()).then_some(&kept));
        }
        let Seen::Whole(body) = &exchange.seen else { return };
        if let Some(kept) =
            Form::read(&exchange.request, body).filter(|_| self.key_in_body).and_then(|form| form.without(&name.text))
        {
            exchange.seen = Seen::Whole(kept.into());
        }
    }

    fn refused(&self, message: &'static str) -> Box<Reply> {
        Reply::message(NAME, 401, message).with(CHALLENGE, &self.challenge)
    }
}

impl Middleware for KeyAuth {
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
        let owner = match self.search(exchange) {
            Search::Body => return Verdict::Body(BODY_MAX),
            Search::Failed(message) => return self.auth.fail(exchange, || self.refused(message)),
            Search::Key(place, owner) => {
                if let Some(name) = self.names.get(place).filter(|_| self.hide_credentials) {
                    self.hide(exchange, name);
                }
                owner
            }
        };
        match owner {
            Some(owner) => self.auth.admit(exchange, owner.consumer, owner.credential),
            None => self.auth.fail(exchange, || self.refused(UNAUTHORIZED)),
        }
    }

    fn explain(&self, _: &Exchange) -> String {
        let places = [(self.key_in_header, "header"), (self.key_in_query, "query"), (self.key_in_body, "body")];
        let places: Vec<&str> = places.iter().filter(|(asked, _)| *asked).map(|(_, place)| *place).collect();
        let names: Vec<&str> = self.names.iter().map(|n| n.text.as_str()).collect();
        format!("wants a key under {} in {}", names.join(" or "), places.join(" or "))
    }
}

#[cfg(test)]
mod tests;
