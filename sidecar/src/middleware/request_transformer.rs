//! `request-transformer`: changes a request before it is sent on: path, method, headers, body, query, in this order.

use super::edit::{BODY_MAX, Edits, Kind, Rendered, STEPS, Text, json, lines, multipart, pairs, render};
use super::plugin::{Plugin, Setup};
use super::template::{Failed, Template};
use super::{After, Hooks, Middleware, Verdict};
use crate::exchange::{AnswerHead, Exchange, Fault, FaultKind, Reply, Seen, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use http::Method;
use std::borrow::Cow;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 801, build };

const NAME: &str = "request-transformer";

/// The methods that Kong can set. CONNECT is none of them: it would open a tunnel.
const METHODS: [&str; 15] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "COPY",
    "LOCK",
    "MKCOL",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "UNLOCK",
];

struct RequestTransformer {
    method: Option<Method>,
    uri: Option<Uri>,
    headers: Edits,
    query: Edits,
    body: Edits,
    /// Of headers and query.
    head_templates: Vec<Template>,
    body_templates: Vec<Template>,
}

/// The path that the service is asked for.
enum Uri {
    Fixed(Box<str>),
    Template(Template),
}

/// How a body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    Form,
    Multipart,
}

/// Why a request does not go on.
enum Stopped {
    /// A template has no value for it.
    Failed(Failed),
    /// Its path would be one that hops read differently.
    Path,
}

impl From<Failed> for Stopped {
    fn from(failed: Failed) -> Self {
        Stopped::Failed(failed)
    }
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let (mut headers, mut query, mut body) = (Edits::default(), Edits::default(), Edits::default());
    let (mut head_templates, mut body_templates) = (Vec::new(), Vec::new());
    let mut uri = None;
    let method = fields.text("http_method").and_then(|method| {
        if !METHODS.contains(&method.as_str()) {
            fields.wrong("http_method", format!("invalid value: {method}"), format!("write {}", METHODS.join(" or ")));
        }
        Method::from_bytes(method.as_bytes()).ok()
    });
    for step in STEPS {
        fields.record(step, |inner| {
            headers.read(inner, step, "headers", Kind::Header, &mut |_, value| text(value, &mut head_templates));
            query.read(inner, step, "querystring", Kind::Other, &mut |_, value| text(value, &mut head_templates));
            body.read(inner, step, "body", Kind::Other, &mut |_, value| text(value, &mut body_templates));
            if step == "replace" {
                uri = path(inner);
            }
        });
    }
    fields.finish()?;
    Ok(Arc::new(RequestTransformer { method, uri, headers, query, body, head_templates, body_templates }))
}

fn text(value: &str, templates: &mut Vec<Template>) -> Result<Text, String> {
    let Some(template) = Template::parse(value)? else { return Ok(Text::Fixed(value.into())) };
    templates.push(template);
    Ok(Text::Template(templates.len() - 1))
}

fn path(fields: &mut Fields<'_>) -> Option<Uri> {
    let value = fields.text("uri")?;
    let uri = match Template::parse(&value) {
        Ok(Some(template)) => Uri::Template(template),
        Ok(None) => Uri::Fixed(value.as_str().into()),
        Err(why) => {
            fields.wrong("uri", why, "no Lua runs here; docs/kong-transform.md has what may stand in $(…)");
            return None;
        }
    };
    let (begins, legal) = match &uri {
        Uri::Fixed(path) => (path.starts_with('/'), is_written(path)),
        // One that begins with an expression may still become a path.
        Uri::Template(t) => (t.beginning().is_empty() || t.beginning().starts_with('/'), t.texts().all(is_written)),
    };
    if !begins {
        fields.wrong("uri", "should start with: /", "write a path");
    } else if !legal {
        fields.wrong("uri", "is not a path", "escape what has no place in one; a query belongs to add.querystring");
    }
    Some(uri)
}

/// Whether a text may stand in a path as it is.
fn is_written(text: &str) -> bool {
    text.bytes().all(|b| b == b'%' || stays(b))
}

fn stays(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

/// A value inside of a path: what has no place there is escaped, and escapes stay what they are.
fn write_path(value: &[u8], out: &mut Vec<u8>) {
    for (at, &byte) in value.iter().enumerate() {
        let rest = value.get(at + 1..).unwrap_or_default();
        if stays(byte) || (byte == b'%' && pairs::escape(rest).is_some()) {
            out.push(byte);
        } else {
            pairs::write_escape(byte, out);
        }
    }
}

/// Whether every hop reads the path in the same way: no segment is made of dots, however it is spelled.
fn is_plain(path: &str) -> bool {
    let decoded = pairs::unescaped(path.as_bytes());
    decoded.split(|b| matches!(b, b'/' | b'\\')).all(|segment| {
        let segment = segment.split(|b| *b == b';').next().unwrap_or_default();
        segment != b"." && segment != b".." && !segment.contains(&0)
    })
}

/// Kong looks for these words anywhere.
fn media(content_type: &str) -> Option<Media> {
    const MEDIA: [(&str, Media); 3] = [
        ("application/json", Media::Json),
        ("application/x-www-form-urlencoded", Media::Form),
        ("multipart/form-data", Media::Multipart),
    ];
    let holds =
        |word: &str| content_type.as_bytes().windows(word.len()).any(|w| w.eq_ignore_ascii_case(word.as_bytes()));
    MEDIA.iter().find(|(word, _)| holds(word)).map(|(_, media)| *media)
}

fn media_of(exchange: &Exchange) -> Option<Media> {
    exchange.request.headers.get("content-type").and_then(media)
}

impl RequestTransformer {
    /// Whether the body of a form goes into the query, since the new method's requests have none.
    fn moves_form(&self, exchange: &Exchange) -> bool {
        let bodiless = self.method.as_ref().is_some_and(|m| [Method::GET, Method::HEAD, Method::TRACE].contains(m));
        bodiless && media_of(exchange) == Some(Media::Form)
    }

    /// Whether the body is to be changed, as far as is known before the headers are.
    fn changes_body(&self, exchange: &Exchange) -> bool {
        !self.body.is_empty() && (media_of(exchange).is_some() || self.headers.names_it("content-type"))
    }

    fn transform(&self, exchange: &mut Exchange) -> Result<(), Stopped> {
        // Everything is asked of the request as it came, before the first change.
        let head = render(&self.head_templates, exchange)?;
        let body = if self.changes_body(exchange) { render(&self.body_templates, exchange)? } else { Rendered::new() };
        if let Some(path) = self.path(exchange)? {
            exchange.path_instead = Some(path.into_owned());
        }
        self.change_method(exchange);
        if !self.headers.is_empty() {
            let host = Some(&mut exchange.host_instead);
            self.headers.apply(&mut lines::Lines { headers: &mut exchange.request.headers, host }, &head)?;
        }
        self.change_body(exchange, &body)?;
        if !self.query.is_empty() {
            let query = exchange.request.query().unwrap_or_default().to_owned();
            let mut pairs = pairs::Pairs::new(query.as_bytes());
            if self.query.apply(&mut pairs, &head)? {
                set_query(exchange, &pairs.join());
            }
        }
        Ok(())
    }

    fn path(&self, exchange: &Exchange) -> Result<Option<Cow<'_, str>>, Stopped> {
        let template = match &self.uri {
            None => return Ok(None),
            Some(Uri::Fixed(path)) => return Ok(Some(Cow::Borrowed(path))),
            Some(Uri::Template(template)) => template,
        };
        let Some(path) = template.render_with(exchange, write_path)? else { return Ok(None) };
        let path = String::from_utf8(path).map_err(|_| Stopped::Path)?;
        if !path.starts_with('/') {
            return Err(Failed("the path does not begin with a slash").into());
        }
        if is_plain(&path) { Ok(Some(Cow::Owned(path))) } else { Err(Stopped::Path) }
    }

    fn change_method(&self, exchange: &mut Exchange) {
        let Some(method) = &self.method else { return };
        let form = match &exchange.seen {
            Seen::Whole(body) if self.moves_form(exchange) => body.clone(),
            _ => bytes::Bytes::new(),
        };
        exchange.request.method = method.clone();
        if !form.is_empty() {
            let query = exchange.request.query().unwrap_or_default().to_owned();
            let mut pairs = pairs::Pairs::new(query.as_bytes());
            pairs.extend(&form);
            set_query(exchange, &pairs.join());
        }
    }

    fn change_body(&self, exchange: &mut Exchange, rendered: &Rendered) -> Result<(), Stopped> {
        let Seen::Whole(body) = &exchange.seen else { return Ok(()) };
        let Some(content_type) = exchange.request.headers.get("content-type").filter(|_| !self.body.is_empty()) else {
            return Ok(());
        };
        let new = match media(content_type) {
            Some(Media::Json) => {
                let object = if body.is_empty() { Some(json::Object::empty()) } else { json::Object::read(body) };
                let Some(mut object) = object else { return Ok(()) };
                self.body.apply(&mut object, rendered)?.then(|| object.write())
            }
            Some(Media::Form) => {
                let mut form = pairs::Pairs::new(body);
                self.body.apply(&mut form, rendered)?.then(|| form.join())
            }
            Some(Media::Multipart) => {
                let boundary = multipart::boundary(content_type);
                let Some(mut form) = boundary.and_then(|b| multipart::Form::read(body, b)) else { return Ok(()) };
                self.body.apply(&mut form, rendered)?.then(|| form.write())
            }
            None => None,
        };
        if let Some(new) = new {
            exchange.seen = Seen::Whole(new.into());
        }
        Ok(())
    }
}

/// Bytes that have no place in a request's first line are escaped: a form's body may hold any.
fn set_query(exchange: &mut Exchange, query: &[u8]) {
    let mut legal = Vec::with_capacity(query.len());
    for &byte in query {
        if byte.is_ascii_graphic() && byte != b'#' {
            legal.push(byte);
        } else {
            pairs::write_escape(byte, &mut legal);
        }
    }
    let query = String::from_utf8_lossy(&legal);
    let path = exchange.request.path().to_owned();
    exchange.request.set_target(&path, Some(&*query).filter(|query| !query.is_empty()));
}

impl Middleware for RequestTransformer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, answer: self.method == Some(Method::HEAD), ..Hooks::default() }
    }

    /// A HEAD's answer announces a body that does not come; the caller of a GET would wait for it.
    fn on_answer(&self, _: &mut Exchange, answer: &mut AnswerHead) -> After {
        if !answer.own {
            answer.headers.remove("content-length");
        }
        After::Next
    }

    fn wants_captures(&self) -> bool {
        let uri = matches!(&self.uri, Some(Uri::Template(uri)) if uri.wants_captures());
        uri || self.head_templates.iter().chain(&self.body_templates).any(Template::wants_captures)
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        if matches!(exchange.seen, Seen::Not) && (self.changes_body(exchange) || self.moves_form(exchange)) {
            return Verdict::Body(BODY_MAX);
        }
        match self.transform(exchange) {
            Ok(()) => Verdict::Next,
            Err(Stopped::Path) => {
                Verdict::Refuse(Fault::new(FaultKind::BadPath, "a value would make the path lead elsewhere"))
            }
            Err(Stopped::Failed(Failed(why))) => {
                let mut reply = Reply::message(NAME, 500, "An unexpected error occurred");
                reply.why = why.into();
                Verdict::Reply(reply)
            }
        }
    }

    fn explain(&self, _: &Exchange) -> String {
        let parts = [
            ("path", self.uri.is_some()),
            ("method", self.method.is_some()),
            ("headers", !self.headers.is_empty()),
            ("body", !self.body.is_empty()),
            ("query", !self.query.is_empty()),
        ];
        let changed: Vec<&str> = parts.iter().filter(|(_, changes)| *changes).map(|(part, _)| *part).collect();
        if changed.is_empty() { String::new() } else { format!("may change {}", changed.join(", ")) }
    }
}

#[cfg(test)]
mod tests;
