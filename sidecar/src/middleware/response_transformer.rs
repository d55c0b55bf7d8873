//! `response-transformer`: changes the headers of an answer, and the members of a JSON object that is its body.

use super::edit::{BODY_MAX, Edits, Kind, Rendered, STEPS, Text, json, lines};
use super::plugin::{Plugin, Setup};
use super::{After, Hooks, Middleware, template};
use crate::exchange::{AnswerHead, Exchange};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use bytes::Bytes;
use http::Method;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 800, build };

const NAME: &str = "response-transformer";

const TYPES: [&str; 3] = ["boolean", "number", "string"];

struct ResponseTransformer {
    headers: Edits,
    json: Edits,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let (mut headers, mut json) = (Edits::default(), Edits::default());
    for step in STEPS {
        fields.record(step, |inner| {
            headers.read(inner, step, "headers", Kind::Header, &mut |_, value| Ok(Text::Fixed(value.into())));
            let types = if matches!(step, "remove" | "rename") { Vec::new() } else { types(inner) };
            let mut typed = |at: usize, value: &str| Ok(typed(types.get(at).map(String::as_str), value));
            let mut plain = |_: usize, value: &str| Ok(Text::Fixed(value.into()));
            let text: &mut dyn FnMut(usize, &str) -> _ = if step == "rename" { &mut plain } else { &mut typed };
            json.read(inner, step, "json", Kind::Other, text);
        });
    }
    fields.finish()?;
    Ok(Arc::new(ResponseTransformer { headers, json }))
}

fn types(fields: &mut Fields<'_>) -> Vec<String> {
    let types = fields.texts("json_types").unwrap_or_default();
    for (at, kind) in types.iter().enumerate().filter(|(_, kind)| !TYPES.contains(&kind.as_str())) {
        let fix = format!("write {}", TYPES.join(" or "));
        fields.wrong(&format!("json_types[{at}]"), format!("{kind}: expected one of: {}", TYPES.join(", ")), fix);
    }
    types
}

/// A value of a type; one that is no number where a number is wanted is none, as in Kong.
fn typed(kind: Option<&str>, value: &str) -> Text {
    match kind {
        Some("boolean") => Text::Json(if value == "true" { "true" } else { "false" }.into()),
        Some("number") => match serde_json::from_str::<serde_json::Number>(value) {
            // Its text stays: no digit is lost.
            Ok(_) => Text::Json(value.trim().into()),
            Err(_) => match template::number(value.as_bytes()).filter(|number| number.is_finite()) {
                Some(number) if number.fract() == 0.0 && number.abs() < 1e15 => Text::Json(format!("{number}").into()),
                Some(number) => Text::Json(serde_json::Value::from(number).to_string().into()),
                None => Text::Nothing,
            },
        },
        _ => Text::Json(json::quoted(value).into()),
    }
}

/// Whether one of the media types that an answer names is JSON.
fn is_json(content_type: &str) -> bool {
    let media = |text: &str| text.split(';').next().is_some_and(|m| m.trim().eq_ignore_ascii_case("application/json"));
    content_type.split(',').any(media)
}

impl Middleware for ResponseTransformer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { answer: true, ..Hooks::default() }
    }

    fn on_answer(&self, exchange: &mut Exchange, answer: &mut AnswerHead) -> After {
        // What comes out of the cache has been transformed before it went in.
        if exchange.cached.as_ref().is_some_and(|cached| cached.is_hit()) {
            return After::Next;
        }
        // Values of the configuration were looked at when it was loaded.
        let _ = self.headers.apply(&mut lines::Lines { headers: &mut answer.headers, host: None }, &Rendered::new());
        let bodiless = exchange.request.method == Method::HEAD || matches!(answer.status, 0..200 | 204 | 304);
        // A compressed one is no JSON to anybody.
        if self.json.is_empty() || bodiless || answer.headers.contains("content-encoding") {
            return After::Next;
        }
        match answer.headers.get("content-type") {
            Some(content_type) if is_json(content_type) => After::Body(BODY_MAX),
            _ => After::Next,
        }
    }

    fn on_answer_body(&self, _: &mut Exchange, _: &mut AnswerHead, body: Bytes) -> Bytes {
        let Some(mut object) = json::Object::read(&body) else { return body };
        match self.json.apply(&mut object, &Rendered::new()) {
            Ok(true) => object.write().into(),
            _ => body,
        }
    }

    fn explain(&self, _: &Exchange) -> String {
        match (self.headers.is_empty(), self.json.is_empty()) {
            (true, true) => String::new(),
            (false, true) => "may change headers of the answer".to_owned(),
            (true, false) => "may change members of a JSON answer".to_owned(),
            (false, false) => "may change headers of the answer and members of a JSON one".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
