//! Our half of a connection to an instance.

use super::onward::{self, Given};
use super::ours::{far_end, lines, pair, run, whole};
use super::seen::{Body, End, Item, Message, Seen};
use super::split::Split;
use fourmi::codec::Socket;
use fourmi::codec::client::{Cause, Home, Http1, OwnBody, Received};
use fourmi::exchange::{Body as OurBody, ConnectionSide, Counted, Early, Head, Silent};
use http::Method;
use std::rc::Rc;

/// Lines of an answer's head that the codec takes.
pub(super) const LINES_MAX: usize = 128;

struct Nobody;

impl Home for Nobody {
    fn give_back(&self, _: Box<Http1>) {}
}

/// A connection to an instance.
pub(super) fn connection(near: Socket) -> Box<Http1> {
    Http1::new(near, Counted::new(Rc::new(Silent), ConnectionSide::Upstream))
}

/// The final answer on a connection to an instance.
pub(super) fn answer(wire: &[u8], split: Split, method: Method, onward: bool) -> Seen {
    let pieces = split.pieces(wire);
    let mut given = None;
    let seen = run(async {
        let (near, far) = pair();
        let exchange = async {
            let mut conn = connection(near);
            let mut head = Head::default();
            head.method = method.clone();
            head.authority.push('a');
            head.set_target("/", None);
            match conn.send(&head, &mut OurBody::Empty, &Early::default()).await {
                Ok(received) => {
                    let Received { status, headers } = received;
                    let (start, lines) = (Some(status.to_string()), lines(&headers));
                    let body = OwnBody::new(conn, Rc::new(Nobody));
                    let chunked = http_body::Body::size_hint(&body).exact().is_none();
                    let message = Message { start, lines, body: whole(body).await };
                    if let Body::Whole(bytes, trailers) = &message.body {
                        let (bytes, trailers) = (bytes.clone(), trailers.clone());
                        given = Some(Given { status, headers, bytes, trailers, chunked });
                    }
                    Ok(message)
                }
                Err(error) if matches!(error.cause, Cause::Nonsense(_)) => Err(End::Refused(0)),
                Err(_) => Err(End::Broken),
            }
        };
        tokio::join!(biased; exchange, far_end(far, &pieces)).0
    });
    let promise = seen.is_none().then(|| "the connection came to no end".to_owned());
    let promise = promise.or_else(|| if onward { onward::wrong_answer(given?, &method) } else { None });
    let items = match seen.unwrap_or(Err(End::Hung)) {
        Ok(message) => vec![Item::Message(message), Item::End(End::Well)],
        Err(end) => vec![Item::End(end)],
    };
    Seen { items, broken_promise: promise }
}
