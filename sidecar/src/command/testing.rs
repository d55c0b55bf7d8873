//! An exchange for tests, as a codec would make it.

use crate::exchange::{Direction, Exchange, Head, Headers, Identity, Protocol};
use std::sync::Arc;

/// A trusted inbound exchange.
pub(crate) fn exchange(method: &str, path: &str, lines: &[(&'static str, &str)]) -> Exchange {
    let mut headers = Headers::default();
    for (name, value) in lines {
        assert!(headers.append(name, value));
    }
    let word: Arc<str> = "test".into();
    let identity =
        Arc::new(Identity { service: word.clone(), env: word.clone(), hostname: word.clone(), tags: Vec::new() });
    let mut request = Head::default();
    request.method = method.parse().unwrap();
    request.headers = headers;
    request.set_target(path, None);
    let begun = Exchange::begin(&identity, Direction::Inbound, Protocol::Http11, request, &"".into());
    Exchange { trusted: true, route: word, ..begun }
}
