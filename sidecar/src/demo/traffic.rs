//! Customers: an open loop, which places orders at its rate however long the answers take.

use super::caller::{CallError, Caller, Tally};
use super::system::{CUSTOMERS, SERVICES};
use super::tell;
use crate::names::header;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// Orders in flight at once; beyond it none is placed, and that is counted.
const IN_FLIGHT: u64 = 512;
/// For one order's answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at how many orders are due.
const TICK: Duration = Duration::from_millis(5);
const SHOPS: [&str; 4] = ["berlin", "lisbon", "oslo", "vienna"];

/// The customers of one run.
pub(super) struct Traffic {
    caller: Caller,
    /// What became of the orders.
    pub(super) tally: Tally,
    /// Orders that were due while too many were in flight.
    pub(super) skipped: Cell<u64>,
    in_flight: Cell<u64>,
    complained: Cell<bool>,
}

impl Traffic {
    /// Customers of the first service's Fourmi.
    pub(super) fn new(port: u16) -> Rc<Self> {
        Rc::new(Traffic {
            caller: Caller::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE),
            tally: Tally::default(),
            skipped: Cell::new(0),
            in_flight: Cell::new(0),
            complained: Cell::new(false),
        })
    }

    /// Places orders until it is dropped.
    pub(super) async fn drive(self: Rc<Self>, rate: u32) {
        let start = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut placed = 0u64;
        loop {
            ticks.tick().await;
            let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            while placed < due {
                placed += 1;
                if self.in_flight.get() >= IN_FLIGHT {
                    self.skipped.set(self.skipped.get() + 1);
                    continue;
                }
                self.in_flight.set(self.in_flight.get() + 1);
                tokio::task::spawn_local(Rc::clone(&self).place(placed));
            }
        }
    }

    async fn place(self: Rc<Self>, number: u64) {
        let placed = match order(number) {
            Ok(request) => self.caller.call(request, &self.tally).await,
            Err(error) => Err(CallError::Unsent(error.to_string())),
        };
        if let Err(error) = placed
            && !self.complained.replace(true)
        {
            tell(format_args!("order {number}: {error}"));
        }
        self.in_flight.set(self.in_flight.get() - 1);
    }

    /// Waits for the answers that are still to come, and closes the connections.
    pub(super) async fn settle(&self) {
        let end = Instant::now() + PATIENCE + Duration::from_secs(1);
        while self.in_flight.get() > 0 && Instant::now() < end {
            tokio::time::sleep(TICK).await;
        }
        self.caller.close();
    }
}

fn order(number: u64) -> Result<Request<Full<Bytes>>, http::Error> {
    let shop = fastrand::choice(SHOPS).unwrap_or(SHOPS[0]);
    let command = SERVICES[0].command;
    let body = format!(r#"{{"order":{number},"shop":"{shop}","items":[{{"article":"ant farm","count":1}}]}}"#);
    let mut request = Request::post(format!("/{command}"))
        .header("host", SERVICES[0].name)
        .header("content-type", "application/json")
        .header(header::COMMAND, command)
        .header(header::TAGS, format!("shop={shop}"));
    if let Some(key) = key(number) {
        request = request.header("apikey", key);
    }
    request.body(Full::from(body))
}

/// The key of whoever places an order. Customers take turns as often as their share says.
fn key(number: u64) -> Option<&'static str> {
    // 37 has no part in common with 100, so each hundred orders are spread, and each customer has its share.
    let mut at = number.wrapping_mul(37) % 100;
    for customer in CUSTOMERS {
        match at.checked_sub(customer.share) {
            Some(rest) => at = rest,
            None => return customer.key,
        }
    }
    None
}
