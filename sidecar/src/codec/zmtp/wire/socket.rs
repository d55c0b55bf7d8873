//! Kinds of sockets, and which of them may talk to each other.

use std::fmt;

/// The kinds that carry commands. Peers of another kind are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketType {
    /// Asks, one command at a time.
    Req,
    /// Answers, one command at a time.
    Rep,
    /// Asks, many at a time. What we are for workers.
    Dealer,
    /// Answers, many at a time. What we are for callers.
    Router,
}

impl SocketType {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            SocketType::Req => "REQ",
            SocketType::Rep => "REP",
            SocketType::Dealer => "DEALER",
            SocketType::Router => "ROUTER",
        }
    }

    /// The one of this name.
    pub fn of(name: &[u8]) -> Option<SocketType> {
        [SocketType::Req, SocketType::Rep, SocketType::Dealer, SocketType::Router]
            .into_iter()
            .find(|kind| kind.name().as_bytes() == name)
    }

    /// Whether the two may be connected.
    pub fn talks_to(self, other: SocketType) -> bool {
        use SocketType::{Dealer, Rep, Req, Router};
        match self {
            Req => matches!(other, Rep | Router),
            Rep => matches!(other, Req | Dealer),
            Dealer => matches!(other, Rep | Dealer | Router),
            Router => matches!(other, Req | Dealer | Router),
        }
    }

    /// Whether peers use the identity of such a socket.
    pub(super) fn has_identity(self) -> bool {
        self != SocketType::Rep
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::SocketType::{self, Dealer, Rep, Req, Router};

    #[test]
    fn who_talks_to_whom_is_the_same_from_both_sides() {
        let all = [Req, Rep, Dealer, Router];
        for one in all {
            assert_eq!(SocketType::of(one.name().as_bytes()), Some(one));
            for other in all {
                assert_eq!(one.talks_to(other), other.talks_to(one), "{one} {other}");
            }
        }
        assert!(!Req.talks_to(Req) && !Rep.talks_to(Router) && !Rep.talks_to(Rep) && !Req.talks_to(Dealer));
        assert_eq!(SocketType::of(b"SUB"), None);
        assert_eq!(SocketType::of(b"req"), None);
    }
}
