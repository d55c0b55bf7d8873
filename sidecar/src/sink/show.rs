//! What records show of a request beside the standard fields: nothing, unless the configuration asks.

use super::json::cut;
use super::redact::Redactor;
use crate::exchange::Head;
use std::sync::Arc;

/// Bytes of one value.
const VALUE_MAX: usize = 2048;

/// The section `record:`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Show {
    /// Names in lower case, and the field of each.
    headers: Vec<(String, Arc<str>)>,
    /// Method and path.
    path: Option<(Arc<str>, Arc<str>)>,
    query: Option<Arc<str>>,
    /// What is hidden of them.
    pub redactor: Redactor,
}

impl Show {
    /// These headers as `header_NAME`, `method` and `path`, `query`.
    pub fn new(headers: &[String], path: bool, query: bool, redactor: Redactor) -> Show {
        let headers = headers.iter().map(|name| {
            let name = name.to_ascii_lowercase();
            let field = format!("header_{name}").into();
            (name, field)
        });
        Show {
            headers: headers.collect(),
            path: path.then(|| ("method".into(), "path".into())),
            query: query.then(|| "query".into()),
            redactor,
        }
    }

    /// Whether there is nothing to do for a request.
    pub fn is_nothing(&self) -> bool {
        self.headers.is_empty() && self.path.is_none() && self.query.is_none()
    }

    /// Fields and values of a request. Of a header that comes several times the first line is shown.
    pub fn of(&self, head: &Head) -> Vec<(Arc<str>, String)> {
        let mut shown = Vec::new();
        let mut show = |field: &Arc<str>, value: &str| shown.push((field.clone(), cut(value, VALUE_MAX).0.to_owned()));
        if let Some((method, path)) = &self.path {
            show(method, head.method.as_str());
            show(path, &self.redactor.text(head.path()));
        }
        if let (Some(field), Some(query)) = (&self.query, head.query()) {
            show(field, &self.redactor.query(query));
        }
        for (name, field) in &self.headers {
            if let Some(value) = head.headers.get_bytes(name) {
                let value = String::from_utf8_lossy(value);
                show(field, &self.redactor.header(name, &value));
            }
        }
        shown
    }
}
