//! Looks by HTTP/2: a ping, and gRPC's health service.

use super::{Outcome, connect};
use crate::checks::Trust;
use crate::model::Tls;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::Ping;
use h2::client::{Connection, SendRequest};
use http::{HeaderMap, HeaderName, Request, StatusCode};
use std::error::Error;
use tokio::io::{AsyncRead, AsyncWrite};

/// The longest answer of the health service that is read; it has a few bytes.
const ANSWER_MAX: usize = 4096;
/// The field of a service's name in the question, and of the status in the answer: number 1, a string and a number.
const NAME_FIELD: u8 = 0x0a;
const STATUS_FIELD: u8 = 0x08;
/// The status of a service that is well.
const SERVING: u8 = 1;
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

type Failed = Box<dyn Error + Send + Sync>;

pub(super) async fn ping(address: &str, tls: Option<&Tls>, trust: &Trust) -> Outcome {
    let answered = match tls {
        None => match connect::tcp(address).await {
            Ok(stream) => pinged(stream).await,
            Err(error) => Err(error.into()),
        },
        Some(tls) => match connect::tls(address, tls, trust, true).await {
            Ok(stream) => pinged(stream).await,
            Err(error) => Err(error.into()),
        },
    };
    match answered {
        Ok(()) => Outcome::passing(format!("{address} answers a ping")),
        Err(error) => Outcome::critical(format!("{address}: {error}")),
    }
}

async fn pinged(stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Failed> {
    let (_sender, mut connection) = h2::client::handshake(stream).await?;
    let mut pings = connection.ping_pong().ok_or("no ping")?;
    tokio::select! {
        pong = pings.ping(Ping::opaque()) => Ok(pong.map(drop)?),
        ended = connection => Err(ended.err().map_or_else(|| "it ended the connection".into(), Into::into)),
    }
}

pub(super) async fn health(address: &str, service: &str, tls: Option<&Tls>, trust: &Trust) -> Outcome {
    let asked = match tls {
        None => match connect::tcp(address).await {
            Ok(stream) => asked(stream, address, service, "http").await,
            Err(error) => Err(error.into()),
        },
        Some(tls) => match connect::tls(address, tls, trust, true).await {
            Ok(stream) => asked(stream, address, service, "https").await,
            Err(error) => Err(error.into()),
        },
    };
    match asked {
        Ok(SERVING) => Outcome::passing(format!("{address} {service} serves")),
        Ok(status) => Outcome::critical(format!("{address} {service} does not serve: status {status}")),
        Err(error) => Outcome::critical(format!("{address}: {error}")),
    }
}

async fn asked(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    address: &str,
    service: &str,
    scheme: &str,
) -> Result<u8, Failed> {
    let (sender, connection): (SendRequest<Bytes>, Connection<_, Bytes>) = h2::client::handshake(stream).await?;
    let answer = exchange(sender, address, service, scheme);
    tokio::pin!(connection, answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }
}

async fn exchange(sender: SendRequest<Bytes>, address: &str, service: &str, scheme: &str) -> Result<u8, Failed> {
    let request = Request::post(format!("{scheme}://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "Fourmi Health Check")
        .body(())?;
    let (answer, mut body) = sender.ready().await?.send_request(request, false)?;
    body.send_data(question(service)?, true)?;
    let answer = answer.await?;
    if answer.status() != StatusCode::OK {
        return Err(format!("HTTP status {}", answer.status()).into());
    }
    // Without a message the answer is the status alone.
    said(answer.headers())?;
    let mut body = answer.into_body();
    let mut read = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        if read.len() + data.len() > ANSWER_MAX {
            return Err("the answer is too long".into());
        }
        read.put(data);
    }
    if let Some(trailers) = body.trailers().await? {
        said(&trailers)?;
    }
    status(read.freeze())
}

/// The message that asks for a service: a flag and a length, then the name as field 1.
fn question(service: &str) -> Result<Bytes, Failed> {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(NAME_FIELD);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(u8::try_from(length & 0x7f)? | 0x80);
            length >>= 7;
        }
        message.put_u8(u8::try_from(length)?);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len())?);
    framed.put(message);
    Ok(framed.freeze())
}

/// The status in an answer; a message without the field has 0, unknown.
fn status(mut answer: Bytes) -> Result<u8, Failed> {
    if answer.len() < 5 || answer.get_u8() != 0 {
        return Err("no answer that can be read".into());
    }
    let length = usize::try_from(answer.get_u32())?;
    match answer.get(..length) {
        Some([STATUS_FIELD, status, ..]) => Ok(*status),
        Some([]) => Ok(0),
        _ => Err("no answer that can be read".into()),
    }
}

fn said(headers: &HeaderMap) -> Result<(), Failed> {
    match headers.get(GRPC_STATUS) {
        Some(status) if status != "0" => {
            let message = headers.get("grpc-message").and_then(|text| text.to_str().ok()).unwrap_or_default();
            Err(format!("gRPC status {} {message}", status.to_str().unwrap_or_default()).into())
        }
        _ => Ok(()),
    }
}
