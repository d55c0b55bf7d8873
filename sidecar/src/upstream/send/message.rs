//! One attempt at an instance of ZeroMQ: the body is read whole, a message out, a message in.

use super::Sent;
use super::attempt::{Failed, Going, connected, failed};
use crate::exchange::deadline::{Elapsed, until};
use crate::exchange::{Body, Fault, FaultKind, Head};
use crate::upstream::{Endpoint, InFlight, zmq};
use bytes::{Bytes, BytesMut};
use std::rc::Rc;
use std::time::Instant;

/// Sends once.
pub(super) async fn once(
    endpoint: &Rc<Endpoint>,
    in_flight: InFlight,
    head: &Head,
    body: &mut Body,
    going: &Going<'_>,
) -> Result<Sent, Failed> {
    let bytes = match until(going.limit, whole(body, going.zmq.max)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(fault)) => return Err(Failed::Fault(Box::new(fault))),
        Err(Elapsed) => return Err(Failed::Late { begun: false }),
    };
    let frames = zmq::message(going.zmq, head, bytes.clone());
    let standing = endpoint.messages().filter(|_| going.kept);
    let conn = match standing {
        Some(conn) => conn,
        None => {
            let by = going.limit.min(Instant::now() + going.timeouts.connect);
            match connected(until(by, endpoint.fresh_messages(going.zmq)).await, going) {
                Ok(conn) => conn,
                Err(error) => {
                    *body = Body::from(bytes);
                    return Err(error);
                }
            }
        }
    };
    endpoint.reached();
    let mut place = Some(in_flight);
    let sent = until(going.limit, conn.send(&frames, &mut place)).await;
    let Some(in_flight) = place else { return Err(Failed::Late { begun: true }) };
    match sent {
        Ok(Ok(message)) => {
            let (received, answer) = zmq::answer(going.zmq, &message);
            Ok(Sent::whole(received, answer, endpoint, in_flight))
        }
        Ok(Err(e)) => {
            if e.unsent {
                *body = Body::from(bytes);
            }
            Err(failed(endpoint, *e, false))
        }
        Err(Elapsed) => Err(Failed::Late { begun: true }),
    }
}

/// A body in one piece.
async fn whole(body: &mut Body, most: usize) -> Result<Bytes, Fault> {
    if let Body::Full(_) | Body::Empty = body {
        return match std::mem::replace(body, Body::Empty) {
            Body::Full(bytes) if bytes.len() > most => Err(too_large(most)),
            Body::Full(bytes) => Ok(bytes),
            _ => Ok(Bytes::new()),
        };
    }
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Fault::new(FaultKind::ClientGone, "the request's body broke off")) };
        if let Some(data) = frame.data_ref() {
            if all.len() + data.len() > most {
                return Err(too_large(most));
            }
            all.extend_from_slice(data);
        }
    }
    Ok(all.freeze())
}

fn too_large(most: usize) -> Fault {
    Fault::new(
        FaultKind::BodyTooLarge,
        format!("more than {most} bytes, as a message to it may have (zmq.max_message)"),
    )
}
