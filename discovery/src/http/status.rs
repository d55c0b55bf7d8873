//! Who leads. There is one of us, so we do.

use super::call::Call;
use super::failure::Failure;
use super::reply::Reply;
use serde_json::{Value, json};

/// The port that is told where a client expects one for the traffic between servers. There is none.
const SERVER_PORT: u16 = 8300;

/// `GET status/leader`.
pub(super) fn leader(call: &Call) -> Result<Reply, Failure> {
    call.here()?;
    Ok(Reply::json(ourselves(call)))
}

/// `GET status/peers`.
pub(super) fn peers(call: &Call) -> Result<Reply, Failure> {
    call.here()?;
    Ok(Reply::json(json!([ourselves(call)])))
}

fn ourselves(call: &Call) -> Value {
    let snapshot = call.snapshot();
    let known = snapshot.node(&call.settings.node).and_then(|entry| entry.node.address.ip());
    let ip = known.unwrap_or(call.settings.address);
    Value::String(std::net::SocketAddr::new(ip, SERVER_PORT).to_string())
}
