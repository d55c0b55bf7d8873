//! The key-value store, which is not there: every key is missing. Clients that look for one go on without.

use super::call::Call;
use super::failure::Failure;
use super::reply::Reply;
use http::StatusCode;

/// `GET kv/KEY`.
pub(super) fn get(call: &Call) -> Result<Reply, Failure> {
    call.here()?;
    let missing = Reply { status: StatusCode::NOT_FOUND, ..Reply::done() };
    Ok(missing.header("x-consul-index", "1").header("x-consul-knownleader", "true").header("x-consul-lastcontact", "0"))
}
