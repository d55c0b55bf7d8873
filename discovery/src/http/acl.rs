//! What is told of tokens. They are the configuration's: none is made or changed here.

use super::call::Call;
use super::failure::Failure;
use super::reply::Reply;
use http::StatusCode;
use serde_json::json;

/// What Consul calls whoever sends no token.
const ANONYMOUS: &str = "00000000-0000-0000-0000-000000000002";

fn is_on(call: &Call) -> Result<(), Failure> {
    match call.settings.access.is_off() {
        true => Err(Failure::new(StatusCode::UNAUTHORIZED, "ACL support disabled")),
        false => Ok(()),
    }
}

/// `GET acl/token/self`.
pub(super) fn myself(call: &Call) -> Result<Reply, Failure> {
    is_on(call)?;
    let (accessor, secret, description) = match call.rights.token() {
        Some(token) => (&*token.accessor, &*token.secret, "a token of the configuration"),
        None => (ANONYMOUS, "anonymous", "Anonymous Token"),
    };
    let rules = call.rights.rules().iter().map(|rule| {
        let suffix = if rule.prefix { "_prefix" } else { "" };
        json!({"Resource": format!("{}{suffix}", rule.resource.word()), "Name": rule.name, "Right": rule.right.word()})
    });
    Ok(Reply::json(json!({
        "CreateIndex": 1,
        "ModifyIndex": 1,
        "AccessorID": accessor,
        "SecretID": secret,
        "Description": description,
        "Policies": [],
        "Local": true,
        // Ours: what it allows, since there are no policies to look it up in.
        "Rules": rules.collect::<Vec<_>>(),
    })))
}

/// `PUT acl/bootstrap`: the first token is made by whoever writes the configuration.
pub(super) fn bootstrap(call: &Call) -> Result<Reply, Failure> {
    is_on(call)?;
    Err(Failure::forbidden(
        "Permission denied: ACL bootstrap no longer allowed: tokens are those of the configuration \
         (discovery.http.access)",
    ))
}
