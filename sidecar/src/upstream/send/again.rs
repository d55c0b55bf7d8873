//! What is sent again although it may have run: how often, and with which body.

use super::copy::Copy;
use crate::exchange::Body;
use crate::upstream::Cluster;

/// Whether a command that may have run is sent again.
pub(super) struct Again {
    /// It may run twice.
    pub(super) repeat: bool,
    /// Attempts that are left.
    pub(super) left: u32,
    /// Its body, to be sent again.
    pub(super) copy: Option<Copy>,
    /// Its body is none, or there is a copy.
    pub(super) whole: bool,
}

impl Again {
    /// There is no body.
    pub(super) fn is_bare(&self) -> bool {
        self.whole && self.copy.is_none()
    }

    pub(super) fn is_possible(&self) -> bool {
        self.repeat && self.whole && self.left > 0
    }

    /// Takes one attempt, or says why there is none.
    pub(super) fn may(&mut self, cluster: &Cluster) -> Result<(), &'static str> {
        if !self.repeat {
            return Err("not-idempotent");
        }
        if !self.whole {
            return Err("body");
        }
        if self.left == 0 {
            return Err("attempts");
        }
        if !cluster.budget.spend() {
            return Err("budget");
        }
        self.left -= 1;
        Ok(())
    }

    pub(super) fn restore(&self, body: &mut Body) {
        *body = self.copy.as_ref().map_or(Body::Empty, Copy::body);
    }
}
