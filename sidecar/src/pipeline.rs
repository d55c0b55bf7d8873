//! READ FIRST: the life of one exchange, top to bottom.
//!
//! [`travel`] is the road; its statements, and those of [`enter`] and [`deliver`], are the road's words. What each of
//! them needs is in the folder beside it. Rare parts of the road are boxed, so that the future of a common command stays
//! small: it is moved once a command.
//! [`lane`] is what one worker thread owns, [`told`] sees to it that every exchange is told exactly once.

mod answer;
mod batch;
mod directory;
mod dry;
mod forward;
mod gated;
pub mod gateway;
mod handling;
mod lane;
mod later;
mod message;
mod refuse;
mod road;
mod told;
mod tunnel;

pub use crate::command::trace::Sampling;
pub use crate::exchange::{Limits, Timeouts};
pub use directory::{Directory, Finder, Listed};
pub use dry::{Dry, Spoken, dry, dry_outbound};
pub use lane::{Door, Lane};
pub use later::pump;
pub use road::{Behind, Blueprint, Road, Served};

use crate::codec::hop;
use crate::codec::server::{Incoming, Upgrade};
use crate::command::{self, Batch, Step};
use crate::exchange::{Answer, Body};
use crate::middleware::Verdict;
use crate::middleware::line::Stop;
use crate::names;
use crate::route::Way;
use gated::{Routed, Taken, Through};
use std::pin::Pin;
use std::rc::Rc;
use told::Told;

/// Takes one command along the road and returns its answer, whose body tells the sinks when it has ended.
pub fn travel(lane: Rc<Lane>, door: Rc<Door>, incoming: Incoming) -> impl Future<Output = Answer> {
    go(lane, door, incoming, true)
}

/// `ours` is whether it may be a question to us.
async fn go(lane: Rc<Lane>, door: Rc<Door>, incoming: Incoming, ours: bool) -> Answer {
    // read head, route, identify from the head, access
    let Entered { mut told, way, mut body, upgrade, step, stop } = match enter(&lane, &door, incoming, ours) {
        Ok(entered) => entered,
        Err(Left::Answered(answer)) => return *answer,
        Err(Left::Ours(incoming)) => return asked(lane, door, *incoming).await,
    };
    // access goes on, when a middleware wants more than the head says
    if let Some((routed, stop)) = stop {
        (told, body) = match Box::pin(gated::access(told, routed, body, stop)).await {
            Ok(further) => further,
            Err(answer) => return answer,
        };
    }
    // collect the body and identify from it, only if the plan needs it
    if step == Step::NeedsBody {
        let bytes = match Box::pin(forward::read(body, &told)).await {
            Ok(forward::Collected::All(bytes)) => bytes,
            Ok(forward::Collected::More(whole)) => {
                command::settle(&mut told.ex, way.name());
                if later::is_wanted(&told, &way) {
                    return Box::pin(later::go(lane, told, way, whole, upgrade)).await;
                }
                return Box::pin(deliver(lane, told, way, whole, upgrade)).await;
            }
            Err(fault) => {
                command::settle(&mut told.ex, way.name());
                return refuse::refuse(told, fault, Body::Empty);
            }
        };
        let road = told.road.clone();
        // What middlewares have let in once is one command: its parts would pass uncounted.
        let is_one = told.routed.as_ref().is_some_and(|routed| !routed.gate.line.is_empty());
        match command::from_body(&road.rules, &mut told.ex, &bytes) {
            Batch::Many(elements) if !is_one => return Box::pin(batch::each(lane, told, way, elements)).await,
            _ => {}
        }
        body = Body::from(bytes);
    }
    command::settle(&mut told.ex, way.name());
    // store, if that is asked for
    if later::is_wanted(&told, &way) {
        return Box::pin(later::go(lane, told, way, body, upgrade)).await;
    }
    deliver(lane, told, way, body, upgrade).await
}

/// A command that is known, as far as its head says, and let in.
struct Entered {
    told: Told,
    way: Way,
    body: Body,
    upgrade: Option<Upgrade>,
    step: Step,
    /// The middleware of the gateway that wants more.
    stop: Option<(Rc<Routed>, Stop)>,
}

/// What does not go further.
enum Left {
    /// It was refused, or a middleware answered it.
    Answered(Box<Answer>),
    /// It is no command, but a question to us.
    Ours(Box<Incoming>),
}

impl From<Answer> for Left {
    fn from(answer: Answer) -> Left {
        Left::Answered(Box::new(answer))
    }
}

/// The beginning of the road: read head, route, identify from the head, access. It waits for nothing, so it is no part
/// of the future, which need not hold what came in pieces as well.
fn enter(lane: &Rc<Lane>, door: &Rc<Door>, incoming: Incoming, ours: bool) -> Result<Entered, Left> {
    if ours && incoming.head.as_ref().is_ok_and(|head| head.path().starts_with(names::OWN)) {
        return Err(Left::Ours(Box::new(incoming)));
    }
    let road = lane.road();
    let Incoming { head, body, protocol, upgrade, early, message } = incoming;

    // read head
    let (head, body) = match &message {
        None => (head, body),
        Some(asked) => message::head(&road, asked),
    };
    let (head, unreadable) = match head {
        Ok(head) => (head, None),
        Err((head, fault)) => (head, Some(fault)),
    };
    // route
    let mut taken = match unreadable {
        None => road.way(lane, door, &head, protocol),
        Some(fault) => Err(fault),
    };
    let mut told = Told::new(lane, &road, door, head, protocol, taken.as_mut().ok());
    told.early = early;

    // identify from the head
    let step = command::from_head(&road.rules, road.sampler, &mut told.ex);
    if let Some(asked) = message {
        message::taken(asked.inlet, &mut told.ex);
    }
    lane.inherit(&road, &mut told.ex);
    let Taken { way, through } = match taken {
        Ok(taken) => taken,
        Err(fault) => {
            command::settle(&mut told.ex, None);
            return Err(refuse::refuse(told, fault, body).into());
        }
    };

    // access
    if let Verdict::Refuse(fault) = road.chain.on_request(&mut told.ex, &*lane.tell) {
        command::settle(&mut told.ex, way.name());
        return Err(refuse::refuse(told, fault, body).into());
    }
    let Some(Through { routed, mismatch, .. }) = through else {
        return Ok(Entered { told, way, body, upgrade, step, stop: None });
    };
    if let Some(mismatch) = mismatch {
        let reply = gated::mismatched(mismatch, &routed.gate, &told.ex.request);
        command::settle(&mut told.ex, way.name());
        return Err(refuse::reply(told, *reply, body).into());
    }
    // Whom a middleware says the caller is, the caller cannot take away by naming it in `Connection`.
    hop::named_by_connection(&mut told.ex.request.headers);
    match routed.gate.line.on_request(0, &mut told.ex, &*lane.tell) {
        None => Ok(Entered { told, way, body, upgrade, step, stop: None }),
        Some(Stop { wants: Verdict::Reply(reply), .. }) => {
            command::settle(&mut told.ex, way.name());
            Err(refuse::reply(told, *reply, body).into())
        }
        Some(stop) => Ok(Entered { told, way, body, upgrade, step, stop: Some((routed, stop)) }),
    }
}

/// A question to us, or to the next hop, when we know nothing of it.
fn asked(lane: Rc<Lane>, door: Rc<Door>, incoming: Incoming) -> Pin<Box<dyn Future<Output = Answer>>> {
    Box::pin(async move {
        match later::own(lane.clone(), door.clone(), incoming).await {
            Ok(answer) => answer,
            Err(incoming) => go(lane, door, incoming, false).await,
        }
    })
}

/// The rest of the road, for a command that is known and let in: pick an instance, send, answer, tell.
async fn deliver(lane: Rc<Lane>, mut told: Told, way: Way, body: Body, upgrade: Option<Upgrade>) -> Answer {
    told.handling();
    if told.ex.request.method == http::Method::CONNECT {
        return Box::pin(tunnel::connect(told, way, upgrade, body)).await;
    }
    let routed = told.routed.clone();
    if let Some(reply) = routed.as_ref().and_then(|r| gated::nowhere(&r.gate)) {
        return refuse::reply(told, *reply, body);
    }
    let upgrade = upgrade.filter(|_| tunnel::asked(&told.ex.request));
    let mut body = forward::wire(&mut told, body, upgrade.is_some());
    // pick an instance, send
    match forward::send(&lane, &mut told, &way, &mut body).await {
        // answer; the sinks are told when its body has ended
        Ok(sent) if sent.status == 101 => tunnel::switch(told, sent, upgrade),
        Ok(sent) => match routed.filter(|r| r.gate.line.looks_at_answers()) {
            Some(routed) => Box::pin(gated::answer(told, routed, sent)).await,
            None => answer::answer(told, sent),
        },
        Err(fault) => refuse::refuse(told, fault, body),
    }
}

#[cfg(test)]
mod tests {
    /// The road's future is written once a command; what makes it large makes every command slower.
    #[test]
    fn the_common_road_is_small() {
        use super::{Door, Incoming, Lane};
        use std::rc::Rc;
        fn size<F: Future>(_: impl Fn(Rc<Lane>, Rc<Door>, Incoming) -> F) -> usize {
            std::mem::size_of::<F>()
        }
        let bytes = size(super::travel);
        // 2 KiB, and what a message of ZeroMQ brings along.
        assert!(bytes <= (2 << 10) + 64, "{bytes} bytes: box what is rare");
    }
}
