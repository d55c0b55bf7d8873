//! `request-validator`: holds the body and the parameters of a request against schemas, as Kong's other edition does.

use super::edit::{BODY_MAX, lines};
use super::plugin::{Plugin, Setup};
use super::schema::parameter::{Parameter, Place, STYLES, Shape};
use super::schema::{DRAFTS, compile, given, kong, wrong};
use super::{Hooks, Middleware, Verdict};
use crate::exchange::{Exchange, Fault, FaultKind, Reply, Seen, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use jsonschema::{Draft, Validator};
use serde_json::Value as Json;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 999, build };

const NAME: &str = "request-validator";

const BODY: &str = "request body doesn't conform to schema";
const PARAMETER: &str = "request param doesn't conform to schema";
const MEDIA: &str = "specified Content-Type is not allowed";

struct RequestValidator {
    parameters: Vec<Parameter>,
    body: Option<Body>,
    /// Media types that a body may have.
    allowed: Vec<Media>,
    /// Whether their parameters count.
    exact: bool,
    /// Whether the caller is told what is wrong.
    verbose: bool,
}

enum Body {
    Kong(kong::Record),
    Schema(Box<Validator>),
}

/// A media type in lower case, with its parameters in order.
#[derive(Debug, PartialEq, Eq)]
struct Media {
    kind: String,
    parameters: Vec<(String, String)>,
}

impl Media {
    fn read(text: &str) -> Option<Media> {
        let mut parts = text.split(';');
        let kind = parts.next()?.trim().to_ascii_lowercase();
        let (main, sub) = kind.split_once('/')?;
        if !lines::is_name(main) || !lines::is_name(sub) {
            return None;
        }
        let mut parameters: Vec<(String, String)> = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| {
                let name = name.trim().to_ascii_lowercase();
                let value = value.trim().trim_matches('"');
                let value = if name == "charset" { value.to_ascii_lowercase() } else { value.to_owned() };
                (name, value)
            })
            .collect();
        parameters.sort();
        Some(Media { kind, parameters })
    }

    fn is_json(&self) -> bool {
        self.kind == "application/json" || self.kind.ends_with("+json")
    }
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    const VERSIONS: [&str; 6] = ["kong", "draft4", "draft6", "draft7", "draft201909", "draft202012"];
    let mut fields = Fields::new(setup.config);
    let version = fields.one_of("version", &VERSIONS, "kong");
    let draft = DRAFTS.iter().find(|(word, _)| *word == version).map(|(_, draft)| *draft);
    let mut body = None;
    if let Some(value) = fields.raw("body_schema") {
        match read_body(value, draft) {
            Ok(read) => body = Some(read),
            Err(why) => fields.wrong("body_schema", why, "write a schema of the version that is said"),
        }
    }
    let mut parameters = Vec::new();
    if let Some(value) = fields.raw("parameter_schema") {
        match value.as_array() {
            None => fields.wrong("parameter_schema", "expected an array", "write a list"),
            Some(list) => {
                for (at, item) in list.iter().enumerate() {
                    match read_parameter(item, draft.unwrap_or(Draft::Draft4)) {
                        Ok(read) => parameters.push(read),
                        Err(wrong) => {
                            for w in wrong {
                                fields.wrong(&format!("parameter_schema[{at}].{}", w.field), w.message, w.fix);
                            }
                        }
                    }
                }
            }
        }
    }
    if !fields.has("body_schema") && !fields.has("parameter_schema") {
        fields.entity(
            "at least one of these fields must be non-empty: 'body_schema', 'parameter_schema'",
            "say what requests have to be",
        );
    }
    let mut allowed = Vec::new();
    let texts = fields.texts("allowed_content_types").unwrap_or_else(|| vec!["application/json".into()]);
    for (at, text) in texts.iter().enumerate() {
        match Media::read(text) {
            Some(media) => allowed.push(media),
            None => {
                let key = format!("allowed_content_types[{at}]");
                fields.wrong(&key, format!("invalid value: {text}"), "write a media type, such as application/json");
            }
        }
    }
    let verbose = fields.flag("verbose_response", false);
    let exact = fields.flag("content_type_parameter_validation", true);
    fields.finish()?;
    Ok(Arc::new(RequestValidator { parameters, body, allowed, exact, verbose }))
}

fn read_body(value: &Json, draft: Option<Draft>) -> Result<Body, String> {
    let schema = given(value)?;
    Ok(match draft {
        None => Body::Kong(kong::Record::new(&schema)?),
        Some(draft) => Body::Schema(Box::new(compile(&schema, draft)?)),
    })
}

fn read_parameter(item: &Json, draft: Draft) -> Result<Parameter, Vec<Wrong>> {
    const PLACES: [(&str, Place); 3] = [("query", Place::Query), ("header", Place::Header), ("path", Place::Path)];
    let mut fields = Fields::new(item);
    let name = fields.required("name");
    let word = fields.required("in");
    let place = PLACES.iter().find(|(known, _)| *known == word).map(|(_, place)| *place);
    if place.is_none() && !word.is_empty() {
        fields.wrong("in", "expected one of: query, header, path", "write query or header or path");
    }
    if !fields.has("required") {
        fields.wrong("required", "required field missing", "write true or false");
    }
    let required = fields.flag("required", false);
    let explode = fields.flag("explode", false);
    let place = place.unwrap_or(Place::Query);
    let style = fields.text("style");
    let known = style.as_ref().and_then(|style| STYLES.iter().find(|(word, ..)| word == style));
    match (&style, known) {
        (Some(style), Some((_, _, places))) if !places.contains(&place) => {
            fields.wrong("style", format!("{style} is not for {word}"), "write one that OpenAPI has there");
        }
        (Some(_), None) => {
            let all: Vec<&str> = STYLES.iter().map(|(word, ..)| *word).collect();
            fields.wrong(
                "style",
                format!("expected one of: {}", all.join(", ")),
                format!("write {}", all.join(" or ")),
            );
        }
        _ => {}
    }
    let given_together = [fields.has("style"), fields.has("explode"), fields.has("schema")];
    if given_together.contains(&true) && given_together.contains(&false) {
        fields.entity("style, explode and schema belong together", "write all of them, or none");
    }
    let mut shape = None;
    if let Some(value) = fields.raw("schema") {
        let compiled = given(value).and_then(|schema| Ok((compile(&schema, draft)?, schema.into_owned())));
        match (compiled, known) {
            (Ok((validator, schema)), Some((_, style, _))) => {
                shape = Some(Shape { style: *style, explode, schema, validator });
            }
            (Ok(_), None) => {}
            (Err(why), _) => fields.wrong("schema", why, "write a JSON Schema"),
        }
    }
    fields.finish()?;
    let name = if place == Place::Header { name.to_ascii_lowercase() } else { name };
    Ok(Parameter { name, place, required, shape })
}

impl RequestValidator {
    fn refuse(&self, usual: &'static str, said: impl FnOnce() -> String) -> Verdict {
        let mut reply = if self.verbose { Reply::compact(NAME, 400, said()) } else { Reply::compact(NAME, 400, usual) };
        // What was wrong may tell what was sent.
        reply.why = usual.into();
        Verdict::Reply(reply)
    }

    /// The media type of a request, if it is one that may be.
    fn media(&self, exchange: &Exchange) -> Option<Media> {
        let media = Media::read(exchange.request.headers.get("content-type")?)?;
        let allowed = |a: &Media| a.kind == media.kind && (!self.exact || a.parameters == media.parameters);
        self.allowed.iter().any(allowed).then_some(media)
    }
}

impl Middleware for RequestValidator {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn wants_captures(&self) -> bool {
        self.parameters.iter().any(|p| p.place == Place::Path)
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        if let Some(said) = self.parameters.iter().find_map(|p| p.wrong(exchange)) {
            return self.refuse(PARAMETER, || said);
        }
        let Some(schema) = &self.body else { return Verdict::Next };
        let Some(media) = self.media(exchange) else { return self.refuse(MEDIA, || MEDIA.into()) };
        if !media.is_json() {
            return Verdict::Next;
        }
        let body = match &exchange.seen {
            Seen::Not => return Verdict::Body(BODY_MAX),
            // What was not seen was not found to be right.
            Seen::TooLong => {
                return Verdict::Refuse(Fault::new(FaultKind::BodyTooLarge, "longer than what can be validated"));
            }
            Seen::Whole(body) => body,
        };
        let Ok(value) = serde_json::from_slice::<Json>(body) else {
            return self.refuse(BODY, || "request body is not valid JSON".into());
        };
        let said = match schema {
            Body::Kong(record) => record.wrong(&value),
            Body::Schema(validator) if validator.is_valid(&value) => None,
            Body::Schema(validator) => Some(wrong(validator, &value).unwrap_or_else(|| BODY.into())),
        };
        match said {
            Some(said) => self.refuse(BODY, || said),
            None => Verdict::Next,
        }
    }

    fn explain(&self, _: &Exchange) -> String {
        let names: Vec<&str> = self.parameters.iter().map(|p| p.name.as_str()).collect();
        match (names.is_empty(), &self.body) {
            (true, _) => "holds the body against a schema".to_owned(),
            (false, None) => format!("looks at {}", names.join(", ")),
            (false, Some(_)) => format!("looks at {}, and holds the body against a schema", names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests;
