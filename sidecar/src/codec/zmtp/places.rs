//! Commands of a caller of ZeroMQ on their road.

use super::reply::Reading;
use super::wire::Message;
use super::wire::envelope::Envelope;
use crate::codec::server::{Asked, Incoming};
use crate::exchange::frames::Inlet;
use crate::exchange::{Answer, Body, Early, Head, Protocol};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Where a command lies on its road; the next one of its connection lies there again, so that none costs memory of its
/// own. The road's type is left behind here: what is built of it would be compiled for long.
pub(super) trait Place {
    /// Begins a command. Whatever was there is gone.
    fn begin(&mut self, asked: Box<Asked>);
    /// Goes on with it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer>;
}

/// A place on a road that `handle` begins.
pub(super) struct On<H, F> {
    pub(super) handle: Rc<H>,
    pub(super) road: Pin<Box<Option<F>>>,
}

impl<H, F> Place for On<H, F>
where
    H: Fn(Incoming) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    fn begin(&mut self, asked: Box<Asked>) {
        let incoming = Incoming {
            head: Ok(Head::default()),
            body: Body::Empty,
            protocol: Protocol::Zmq,
            upgrade: None,
            early: Early::default(),
            message: Some(asked),
        };
        self.road.set(Some((self.handle)(incoming)));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(road) = self.road.as_mut().as_pin_mut() else { return Poll::Pending };
        let answer = ready!(road.poll(cx));
        self.road.set(None);
        Poll::Ready(answer)
    }
}

/// A command, from its message to the frames of its answer.
pub(super) struct Running {
    /// Counts the commands of its connection.
    pub(super) number: u64,
    pub(super) envelope: Envelope,
    /// Bytes of what was asked.
    pub(super) size: usize,
    pub(super) inlet: Arc<Inlet>,
    pub(super) place: Option<Box<dyn Place>>,
    /// The answer, once its head is there.
    pub(super) reading: Option<Reading>,
}

/// One that is answered.
pub(super) struct Answered {
    pub(super) number: u64,
    pub(super) envelope: Envelope,
    pub(super) frames: Option<Message>,
    pub(super) size: usize,
    pub(super) place: Box<dyn Place>,
}

impl Future for Running {
    type Output = Answered;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        let this = &mut *self;
        let reading = match &mut this.reading {
            Some(reading) => reading,
            None => {
                let Some(place) = &mut this.place else { return Poll::Pending };
                this.reading.insert(Reading::new(ready!(place.poll(cx))))
            }
        };
        let frames = ready!(reading.poll(&this.inlet, cx));
        this.reading = None;
        let Some(place) = this.place.take() else { return Poll::Pending };
        let envelope = std::mem::take(&mut this.envelope);
        Poll::Ready(Answered { number: this.number, envelope, frames, size: this.size, place })
    }
}
