//! One attempt at an instance of ZeroMQ: the body is read whole, a message out, a message in.

use super::attempt::{Failed, Going, connected, failed};
use super::{Failure, Patience, Sent};
use crate::exchange::deadline::{Elapsed, until};
use crate::exchange::{Body, BodyError, Fault, FaultKind, Head};
use crate::upstream::{Cluster, Endpoint, InFlight, zmq};
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
    let outlet = endpoint.outlet();
    let bytes = match until(going.limit, whole(body, outlet.max)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(fault)) => return Err(Failed::Fault(Box::new(fault))),
        Err(Elapsed) => return Err(Failed::Late { begun: false }),
    };
    let (frames, before) = zmq::message(&outlet, head, bytes);
    let standing = endpoint.messages(&outlet).filter(|_| going.kept);
    let conn = match standing {
        Some(conn) => conn,
        None => {
            let by = going.limit.min(Instant::now() + going.timeouts.connect);
            match connected(until(by, endpoint.fresh_messages(&outlet)).await, going) {
                Ok(conn) => conn,
                Err(error) => {
                    *body = Body::from(zmq::body(&frames, before));
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
        Ok(Ok(message)) => match zmq::answer(&outlet, &message) {
            Ok((received, answer)) => Ok(Sent::whole(received, answer, endpoint, in_flight)),
            Err(why) => {
                let why = format!("{}: {why}", endpoint.label);
                Err(Failed::Fault(Box::new(Fault::new(FaultKind::BadAnswer, why))))
            }
        },
        Ok(Err(e)) => {
            if e.unsent {
                *body = Body::from(zmq::body(&frames, before));
            }
            Err(failed(endpoint, *e, false))
        }
        Err(Elapsed) => Err(Failed::Late { begun: true }),
    }
}

/// Reads a body that is still on its way, before a place is taken: one that a REP has only once is not for somebody who is
/// still sending.
pub(super) async fn first(cluster: &Cluster, body: &mut Body, by: Instant) -> Result<(), Failure> {
    match until(by, whole(body, cluster.policy.zmq.max)).await {
        Ok(Ok(bytes)) => *body = Body::from(bytes),
        Ok(Err(fault)) => return Err(fault.into()),
        Err(Elapsed) => return Err(Failure::Late(Patience::Callers)),
    }
    Ok(())
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
        let frame = match frame {
            Ok(frame) => frame,
            Err(BodyError::TooLarge(most)) => {
                return Err(Fault::new(FaultKind::BodyTooLarge, format!("more than {most} bytes (limits.body)")));
            }
            Err(_) => return Err(Fault::new(FaultKind::ClientGone, "the request's body broke off")),
        };
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
