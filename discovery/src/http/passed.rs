//! An API beside which another registry is followed: what is kept there only is asked for there.

use super::access;
use super::asked;
use super::call::Call;
use super::failure::Failure;
use super::reply::{Body, Reply};
use crate::join::{As, Behind, Unreached};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use std::time::Duration;

/// Which headers of an answer are passed on, besides those that begin so.
const TOLD: [HeaderName; 1] = [CONTENT_TYPE];
const OURS: [&str; 3] = ["x-consul-", "fourmi-", "x-content-type-"];

/// Asks the registry that is followed, by the right of whoever asks here.
pub(super) async fn pass(behind: &Behind, call: &Call, method: Method, path: &str) -> Result<Reply, Failure> {
    call.here()?;
    let wait = match call.query.get("index").is_some_and(|index| !matches!(index, "" | "0")) {
        // It adds a part by chance of its own.
        true => asked::wait(call.query.get("wait").filter(|wait| !wait.is_empty()))?.mul_f64(1.125),
        false => Duration::ZERO,
    };
    let is_read = method == Method::GET;
    let answer = behind.ask(method, path, call.body.clone(), (whose(call)?, wait)).await;
    let (head, body) = answer.map_err(|why| match why {
        Unreached::Busy => Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once, come again"),
        Unreached::Away(why) if is_read => Failure::unavailable(format!("the registry that is followed: {why}")),
        Unreached::Away(why) => {
            let text = format!("it is not known whether that was done; the registry that is followed: {why}");
            Failure::unavailable(text)
        }
    })?;
    let mut reply = Reply { status: head.status, headers: Vec::new(), body: Body::Passed(body) };
    for (name, value) in &head.headers {
        if TOLD.contains(name) || OURS.iter().any(|ours| name.as_str().starts_with(ours)) {
            reply.headers.push((name.clone(), value.clone()));
        }
    }
    Ok(reply)
}

/// By which right. Where nobody has said who may do what here, ours is everybody's who may ask us; where somebody has,
/// whoever asks needs a token that counts there too.
fn whose(call: &Call) -> Result<As, Failure> {
    match access::sent(&call.query, &call.headers) {
        Some(token) => {
            let value = HeaderValue::from_str(token);
            Ok(As::Whom(Some(value.map_err(|_| Failure::forbidden("ACL not found"))?)))
        }
        None if call.settings.access.is_off() => Ok(As::Us),
        None => Ok(As::Whom(None)),
    }
}

/// The path and the query as they came, but for the token: that goes in a header, which no log shows.
pub(super) fn path(uri: &http::Uri) -> String {
    let query = uri.query().unwrap_or_default();
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("token=") && !pair.is_empty()).collect();
    match kept.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), kept.join("&")),
    }
}

/// Whether a request is one of those: keys and values, and changes of what lives on other nodes.
pub(super) fn is_passed(route: &str, method: &Method) -> bool {
    route == "kv/" || *method == Method::PUT && route.starts_with("catalog/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_taken_out_of_the_path() {
        let of = |text: &str| path(&text.parse().unwrap());
        assert_eq!(of("/v1/kv/a%2Fb?token=secret&cas=5"), "/v1/kv/a%2Fb?cas=5");
        assert_eq!(of("/v1/kv/a?token=secret"), "/v1/kv/a");
        assert_eq!(of("/v1/kv/a?recurse"), "/v1/kv/a?recurse");
    }
}
