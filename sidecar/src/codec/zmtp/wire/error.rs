//! What went wrong, in one sentence for a log line.

use super::socket::SocketType;

/// Bytes of the peer's that an error repeats, at most.
const TOLD: usize = 64;

/// Why a connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something else is at the other end.
    #[error("the first byte is {0:#04x}, but a ZMTP greeting begins with 0xff")]
    NotZmtp(u8),
    /// A peer of before ZeroMQ 4.
    #[error("the peer speaks ZMTP {0}, at least 3.0 is needed")]
    OldVersion(&'static str),
    /// Both sides must have the same one.
    #[error("the peer's security mechanism is {theirs:?}, ours is {ours}")]
    Mechanism {
        /// Ours.
        ours: &'static str,
        /// The peer's, as it wrote it.
        theirs: String,
    },
    /// Two servers.
    #[error("the peer wants to be the server of {0}, and so do we")]
    BothServers(&'static str),
    /// Bits that have no meaning yet.
    #[error("a frame has flags {0:#04x}, but only the three lowest bits have a meaning")]
    Flags(u8),
    /// A command that says that another frame follows it.
    #[error("a command has the flag MORE ({0:#04x})")]
    CommandMore(u8),
    /// More than a message may have, by the size that the peer announced.
    #[error("a frame of {size} bytes would make a message of more than {max} bytes ({before} came before it)")]
    MessageTooLong {
        /// Of the frame.
        size: u64,
        /// Of the frames before it.
        before: usize,
        /// The limit.
        max: usize,
    },
    /// More than a message may have.
    #[error("a message has more than {0} frames")]
    TooManyFrames(usize),
    /// More than a command may have, by the size that the peer announced.
    #[error("a command of {size} bytes, at most {max} are allowed here")]
    CommandTooLong {
        /// Of the command.
        size: u64,
        /// The limit.
        max: usize,
    },
    /// A command whose parts are not where they should be.
    #[error("{0}")]
    Malformed(&'static str),
    /// A message before the handshake is over.
    #[error("a message came before the handshake was over")]
    EarlyMessage,
    /// A command at the wrong time.
    #[error("the command {got:?} came where {wanted} was expected")]
    Unexpected {
        /// Its name.
        got: String,
        /// Those that could have come.
        wanted: &'static str,
    },
    /// More metadata than anybody needs.
    #[error("more than {0} properties in the metadata")]
    TooManyProperties(usize),
    /// A peer that does not say what it is.
    #[error("the peer did not say its socket type")]
    NoSocketType,
    /// A peer that does not fit.
    #[error("the peer's socket is {theirs:?}, which cannot talk to our {ours}")]
    SocketType {
        /// Ours.
        ours: SocketType,
        /// The peer's, as it wrote it.
        theirs: String,
    },
    /// The peer will not have us.
    #[error("the peer refused the connection: {0:?}")]
    Peer(String),
    /// An encrypted part that its key does not open, or that came a second time.
    #[error("{0}")]
    Sealed(&'static str),
    /// So ends a peer whose mechanism is another.
    #[error("the peer closed within its greeting: its security mechanism may be another than ours")]
    OtherMechanism,
    /// The peer's end came too early.
    #[error("the peer closed {0}")]
    CutOff(&'static str),
    /// A setting that cannot be put on the wire.
    #[error("{0}")]
    Setting(&'static str),
    /// A call at the wrong time: a mistake of the caller's, the connection is as it was.
    #[error("{0}")]
    Call(&'static str),
    /// Nothing can be read or sent any more.
    #[error("the connection has ended")]
    Closed,
}

/// The peer's words as they may stand in a log: printable, and not too many.
pub(super) fn told(bytes: &[u8]) -> String {
    let (shown, dots) = match bytes.get(..TOLD) {
        Some(beginning) if bytes.len() > TOLD => (beginning, "…"),
        _ => (bytes, ""),
    };
    shown.iter().map(|b| if matches!(b, b' '..=b'~') { char::from(*b) } else { '.' }).chain(dots.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_words_are_cut_and_printable() {
        assert_eq!(told(b"PLAIN"), "PLAIN");
        assert_eq!(told(b"a\n\x1b[31m\xff"), "a..[31m.");
        assert_eq!(told(&[b'x'; 64]).len(), 64);
        assert_eq!(told(&[b'x'; 65]).chars().count(), 65);
        assert!(told(&[b'x'; 65]).ends_with('…'));
    }

    #[test]
    fn sentences_have_the_numbers() {
        let error = Error::MessageTooLong { size: 1 << 40, before: 12, max: 1 << 24 };
        assert_eq!(
            error.to_string(),
            "a frame of 1099511627776 bytes would make a message of more than 16777216 bytes (12 came before it)"
        );
        let error = Error::SocketType { ours: SocketType::Router, theirs: "SUB".into() };
        assert_eq!(error.to_string(), "the peer's socket is \"SUB\", which cannot talk to our ROUTER");
    }
}
