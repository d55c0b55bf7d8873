//! An exchange that is told to the sinks exactly once, whatever happens to it.

use super::answer::Ending;
use super::gated::{Routed, Taken};
use super::handling::Handling;
use super::lane::{Door, Lane};
use super::road::Road;
use crate::command;
use crate::exchange::{
    Body, Direction, Early, Exchange, Fault, FaultKind, Head, Headers, Outcome, Protocol, Source, Tell, Whole,
};
use crate::upstream::balance::NewCookie;
use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Instant;

/// Places that a thread keeps for the next exchange.
const KEPT_MAX: usize = 128;

thread_local! {
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    static KEPT: RefCell<Vec<Box<Place>>> = const { RefCell::new(Vec::new()) };
}

/// Where an exchange lies while it travels; used again for the next one.
pub(super) struct Place(pub(super) Option<Course>);

impl Place {
    /// Ends what lies there and keeps the place.
    pub(super) fn keep(mut self: Box<Self>) {
        self.0 = None;
        let _ = KEPT.try_with(|kept| {
            if let Ok(mut kept) = kept.try_borrow_mut()
                && kept.len() < KEPT_MAX
            {
                kept.push(self);
            }
        });
    }
}

/// The hands that hold an exchange on its road. Moving them moves no exchange.
pub(super) struct Told(Box<Place>);

/// An exchange with its way to the sinks. Dropping it before [`Course::finish`] tells it as cancelled: the caller left.
pub(super) struct Course {
    pub(super) ex: Exchange,
    pub(super) road: Rc<Road>,
    lane: Rc<Lane>,
    door: Rc<Door>,
    handling: Option<Handling>,
    /// Bytes of a request body of unknown length, counted as they pass.
    pub(super) body_in: Option<Rc<Cell<u64>>>,
    /// Bytes that a tunnel has carried to the caller.
    pub(super) tunnel_out: Option<Rc<Cell<u64>>>,
    /// The request's body, as long as it comes from its connection.
    pub(super) upload: Option<Rc<dyn Source>>,
    /// Takes informational answers before the final one.
    pub(super) early: Early,
    /// What lets the caller find the same instance again.
    pub(super) cookie: Option<NewCookie>,
    /// The route of the gateway that took it, and how many bytes of its path that matched.
    pub(super) routed: Option<Rc<Routed>>,
    pub(super) matched: Option<usize>,
    /// Writes the lines that the next hop is to see, when that is not done yet.
    pub(super) lines: Option<fn(&mut Exchange)>,
    pub(super) ending: Ending,
    finished: bool,
}

impl Told {
    /// Begins an exchange whose head has just been read.
    pub(super) fn new(
        lane: &Rc<Lane>,
        road: &Rc<Road>,
        door: &Rc<Door>,
        head: Head,
        protocol: Protocol,
        taken: Option<&mut Taken>,
    ) -> Self {
        door.life.begin();
        lane.tell.in_flight(door.direction, 1);
        let mut place = KEPT.with_borrow_mut(Vec::pop).unwrap_or_else(|| Box::new(Place(None)));
        let course = place.0.insert(Course {
            ex: Exchange::begin(&road.identity, door.direction, protocol, head, &road.none),
            road: road.clone(),
            lane: lane.clone(),
            door: door.clone(),
            handling: None,
            body_in: None,
            tunnel_out: None,
            upload: None,
            early: Early::default(),
            cookie: None,
            routed: None,
            matched: None,
            lines: None,
            ending: Ending::default(),
            finished: false,
        });
        if let Some(taken) = taken {
            course.ex.service = taken.way.service.clone();
            course.ex.route = taken.way.route.clone();
            if let Some(through) = &mut taken.through {
                course.ex.via = Some(through.routed.gate.via.clone());
                course.ex.captures = std::mem::take(&mut through.captures);
                course.routed = Some(through.routed.clone());
                course.matched = through.matched;
            }
        }
        let ex = &mut course.ex;
        ex.peer = door.peer;
        ex.local = door.local;
        ex.secure = door.secure;
        ex.client = door.peer.map(|p| p.ip());
        ex.trusted = door.trusted;
        ex.peer_identity.clone_from(&door.identity);
        ex.peer_names.clone_from(&door.names);
        if door.trusted
            && let Some(peer) = ex.client
        {
            ex.client = Some(crate::codec::forwarded::behind(&ex.request.headers, peer, &road.trusted));
        }
        ex.whole = Whole::begin(road.whole, &ex.request);
        if let Some(whole) = &mut ex.whole {
            (whole.secure, whole.port) = (door.secure, door.local.map_or(0, |l| l.port()));
            whole.session = door.session.map(|s| [s.version, s.cipher]);
        }
        Told(place)
    }

    /// The exchange as the body of its answer, with whose last byte it ends.
    pub(super) fn into_body(self) -> Body {
        Body::staged(self.0)
    }

    /// The same with a body of our own.
    pub(super) fn with_body(mut self, body: Body) -> Body {
        self.ending = Ending::own(body);
        self.into_body()
    }

    /// It was not a command after all.
    pub(super) fn forget(mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.leave(Instant::now());
        }
    }
}

impl Course {
    /// Another exchange of the same connection and road: an element of a batch.
    pub(super) fn sibling(&self, head: Head) -> Told {
        let mut told = Told::new(&self.lane, &self.road, &self.door, head, self.ex.protocol, None);
        told.ex.service = self.ex.service.clone();
        told.ex.route = self.ex.route.clone();
        // It was let in with the whole.
        told.ex.via = self.ex.via.clone();
        told.ex.caller = self.ex.caller.clone();
        told.ex.consumer = self.ex.consumer.clone();
        told.ex.inlet.clone_from(&self.ex.inlet);
        told.routed = self.routed.clone();
        told.matched = self.matched;
        told
    }

    /// The answer's head is made, by us or out of an instance's.
    pub(super) fn answered(&mut self, headers: &Headers, own: bool) {
        if let Some(whole) = &mut self.ex.whole {
            whole.answered(headers, own);
        }
    }

    /// The same exchange once more, for an answer that may be needed while the first is still on its way.
    pub(super) fn same_again(&self) -> Told {
        let mut told = self.sibling(self.ex.request.clone());
        let (ex, of) = (&mut told.ex, &self.ex);
        ex.command = of.command.clone();
        ex.trace = crate::command::trace::beside(of.trace);
        ex.b3 = of.b3;
        ex.timings = of.timings;
        ex.shown.clone_from(&of.shown);
        ex.added = of.added.clone();
        told
    }

    /// What its thread owns.
    pub(super) fn lane(&self) -> Rc<Lane> {
        self.lane.clone()
    }

    /// It is in the worker's hands: what the worker sends meanwhile may be its doing.
    pub(super) fn handling(&mut self) {
        self.handling = self.lane.handle(&self.road, &self.ex);
        if self.ex.direction == Direction::Inbound {
            self.lane.tell.begun(&self.ex);
        }
    }

    /// The sinks' side of its thread.
    pub(super) fn tell(&self) -> Rc<dyn Tell> {
        self.lane.tell.clone()
    }

    /// Whether a gateway's file rules here, so that callers know its words.
    pub(super) fn is_gateways(&self) -> bool {
        self.road.has_gateway() && self.door.direction == Direction::Inbound
    }

    /// Counts its refusal.
    pub(super) fn rejected(&self, reason: &'static str) {
        self.lane.tell.rejected(reason);
    }

    /// Tells the sinks.
    pub(super) fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let now = Instant::now();
        self.ex.timings.end = Some(now);
        if let Some(counted) = &self.body_in {
            self.ex.bytes_in = counted.get();
        }
        if let Some(counted) = &self.tunnel_out {
            self.ex.bytes_out = counted.get();
        }
        self.upload = None;
        if self.ex.outcome.is_none() {
            self.ex.outcome = Some(match &self.ex.fault {
                Some(fault) => fault.kind.outcome(),
                None => Exchange::outcome_of_status(self.ex.status, self.ex.grpc_status),
            });
        }
        if let Some(routed) = &self.routed {
            routed.gate.line.on_done(&self.ex, &*self.lane.tell);
        }
        self.road.chain.on_done(&self.ex, &*self.lane.tell);
        self.leave(now);
    }

    fn leave(&mut self, now: Instant) {
        self.handling = None;
        self.lane.tell.in_flight(self.ex.direction, -1);
        self.door.life.finish(now);
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        if !self.finished {
            if self.ex.fault.is_none() {
                self.ex.fault = Some(Fault::new(FaultKind::ClientGone, "the caller left"));
            }
            if self.ex.status == 0 {
                self.ex.status = FaultKind::ClientGone.status();
            }
            self.ex.outcome = Some(Outcome::Cancelled);
            self.finish();
        }
        std::mem::take(&mut self.ex.request).recycle();
        if let Some(whole) = self.ex.whole.take() {
            whole.recycle();
        }
        command::keep(std::mem::take(&mut self.ex.command));
    }
}

impl Deref for Told {
    type Target = Course;
    fn deref(&self) -> &Course {
        match &self.0.0 {
            Some(course) => course,
            // `new` fills the place, and only `Place::keep`, which takes it, empties it.
            None => unreachable!("an exchange was left before its road ended"),
        }
    }
}

impl DerefMut for Told {
    fn deref_mut(&mut self) -> &mut Course {
        match &mut self.0.0 {
            Some(course) => course,
            None => unreachable!("an exchange was left before its road ended"),
        }
    }
}

impl Deref for Course {
    type Target = Exchange;
    fn deref(&self) -> &Exchange {
        &self.ex
    }
}

impl DerefMut for Course {
    fn deref_mut(&mut self) -> &mut Exchange {
        &mut self.ex
    }
}
