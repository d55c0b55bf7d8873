//! Commands that may be answered later than they are done, or done later than they are answered.

mod accept;
mod attempt;
mod own;
mod pump;
mod run;

pub(super) use own::own;
pub use pump::pump;

use super::deliver;
use super::forward::{self, Collected};
use super::gated::Held;
use super::lane::Lane;
use super::refuse;
use super::told::Told;
use crate::codec::server::Upgrade;
use crate::command::ask::{self, Asked};
use crate::exchange::{Answer, Body, Delivery, Direction, Fault, FaultKind, Mode, Protocol};
use crate::route::Way;
use crate::spool::State;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// It is sent, and its caller waits.
    Now,
    /// It is stored, and its caller is answered.
    Store,
    /// It is sent; its caller waits for so long, then it is stored.
    Wait(Duration),
}

/// How one command is delivered.
struct Plan {
    wish: Wish,
    /// What fails is stored.
    save: bool,
    /// It is known, by its id or for its key, before it is sent.
    first: bool,
    due: Option<SystemTime>,
    expires: Option<SystemTime>,
    /// Asked for by `Prefer`.
    preferred: bool,
    delivery: Arc<Delivery>,
}

/// The rest of the road of a command that asks for more than to be sent, or whose route does.
pub(super) async fn go(lane: Rc<Lane>, mut told: Told, way: Way, body: Body, upgrade: Option<Upgrade>) -> Answer {
    let delivery = told.ex.delivery.clone().or_else(|| way.delivery.clone());
    let delivery = delivery.unwrap_or_else(|| told.road.delivery_of(told.ex.direction).clone());
    let asked = match ask::asked(&told.ex) {
        Ok(asked) => asked,
        Err(why) => return refuse::refuse(told, Fault::new(FaultKind::BadRequest, why), body),
    };
    // What answers in pieces, or both ways, cannot be kept.
    let whole = matches!(told.ex.protocol, Protocol::Http10 | Protocol::Http11 | Protocol::Http2 | Protocol::Zmq)
        && upgrade.is_none()
        && told.ex.request.method != http::Method::CONNECT;
    let Some(spool) = told.road.spool.clone().filter(|_| whole) else {
        // What the worker sends may be stored by the next hop.
        if asked.insists() && told.ex.direction == Direction::Inbound {
            return nowhere(told, body);
        }
        return deliver(lane, told, way, body, upgrade).await;
    };
    let plan = match plan(&told, asked, delivery) {
        Ok(plan) => plan,
        Err(fault) => return refuse::refuse(told, fault, body),
    };
    if plan.wish == Wish::Now && !plan.save && !plan.first {
        return deliver(lane, told, way, body, upgrade).await;
    }
    // Nothing is stored without its body.
    let length = told.ex.request.headers.get("content-length").and_then(|v| v.parse::<usize>().ok());
    let most = spool.settings().max_body;
    let mut held = Held::default();
    let bytes = match forward::read_within(body, &told, most, &mut held).await {
        Ok(Collected::All(bytes)) => bytes,
        Ok(Collected::More(rest)) if plan.wish == Wish::Store => {
            let fault = Fault::new(FaultKind::BodyTooLarge, format!("more than {most} bytes (spool.max_body)"));
            return refuse::refuse(told, fault, rest);
        }
        // Too large to be kept, it is sent as any other.
        Ok(Collected::More(rest)) => return deliver(lane, told, way, rest, upgrade).await,
        Err(fault) => return refuse::refuse(told, fault, Body::Empty),
    };
    if length != Some(bytes.len()) && (length.is_some() || !bytes.is_empty()) {
        told.ex.request.headers.set("content-length", itoa::Buffer::new().format(bytes.len()));
    }
    ask::taken(&mut told.ex);
    match plan.wish {
        Wish::Store => accept::store(told, &spool, &plan, bytes).await,
        Wish::Now | Wish::Wait(_) => run::run(lane, told, way, spool, plan, (bytes, held)).await,
    }
}

/// Where nothing can be stored, a worker would do it at once and its caller believe that it was done later.
fn nowhere(told: Told, body: Body) -> Answer {
    let why = "it asks to be done later, and this Fourmi has no `spool:`";
    refuse::refuse(told, Fault::new(FaultKind::NoSpool, why), body)
}

/// What is made of what the route says and the caller asks for.
fn plan(told: &Told, asked: Asked, delivery: Arc<Delivery>) -> Result<Plan, Fault> {
    let ex = &told.ex;
    // What only reads is not worth keeping, unless somebody says so.
    let changes = !ex.request.method.is_safe();
    let denied = |what: &str, word: &str| {
        Err(Fault::new(FaultKind::Refused, format!("{what} is not allowed here (commands.allow: [{word}])")))
    };
    if (asked.at.is_some() || asked.expires.is_some()) && !delivery.allow_schedule {
        return denied("to say when", "schedule");
    }
    if asked.mode.is_some() && !delivery.allow_async {
        return denied("Fourmi-Mode", "async");
    }
    let now = ex.timings.wall;
    if let Some(at) = asked.at.filter(|at| at.duration_since(now).is_ok_and(|ahead| ahead > delivery.horizon)) {
        let ahead = at.duration_since(now).unwrap_or_default().as_secs();
        let detail = format!("{ahead} s ahead; {} s are allowed (commands.horizon)", delivery.horizon.as_secs());
        return Err(Fault::new(FaultKind::BadRequest, detail));
    }
    if asked.expires.is_some_and(|expires| expires <= now) {
        return Err(Fault::new(FaultKind::Deadline, "it has expired before it came (Fourmi-Expires)"));
    }
    let mode = match asked.mode {
        Some(mode) => mode,
        None if changes => delivery.mode,
        None => Mode::Sync,
    };
    let prefers = asked.prefers_async && delivery.allow_async && asked.mode.is_none();
    let wish = match (asked.at.is_some() || asked.expires.is_some(), prefers, asked.wait, mode) {
        (true, ..) => Wish::Store,
        (_, true, Some(wait), _) if !wait.is_zero() => Wish::Wait(wait),
        (_, true, ..) | (_, _, _, Mode::Async) => Wish::Store,
        (_, _, _, Mode::Auto) => Wish::Wait(delivery.wait),
        (_, _, _, Mode::Sync) => Wish::Now,
    };
    Ok(Plan {
        wish,
        save: delivery.save_on_fail && changes && !asked.or_fail,
        first: match wish {
            // The store knows whose turn it is.
            Wish::Wait(_) => ex.command.id_given || ex.command.key.is_some(),
            _ => ex.command.id_given && delivery.idempotency,
        },
        due: asked.at,
        expires: asked.expires,
        preferred: prefers,
        delivery,
    })
}

/// Milliseconds since 1970.
fn millis(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// The state of a command that is to be stored.
fn state_at(due: Option<SystemTime>, now: SystemTime) -> State {
    if due.is_some_and(|due| due > now) { State::Scheduled } else { State::Ready }
}

/// Whether a store is there for this exchange.
pub(super) fn is_wanted(told: &Told, way: &Way) -> bool {
    told.ex.asks || told.ex.delivery.is_some() || way.delivery.as_ref().is_some_and(|delivery| delivery.acts())
}
