//! Where bytes are split.

/// Longer inputs show nothing that shorter ones do not, and their answers may not fit into a socket.
pub const WIRE_MAX: usize = 5 << 10;
/// Most pieces of a pseudo-random split.
const PIECES_MAX: usize = 12;

/// How the bytes of a connection arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// In one piece.
    Whole,
    /// One by one.
    Bytes,
    /// In a few pieces, drawn with this seed. With an odd one the first piece was read before the codec began, as it is
    /// when protocols are told apart.
    Seeded(u64),
}

impl Split {
    /// What the first byte of an input asks for.
    pub(super) fn of(byte: u8) -> Split {
        match byte {
            b'A' => Split::Whole,
            b'B' => Split::Bytes,
            b => Split::Seeded(u64::from(b)),
        }
    }

    /// Whether the first piece is handed over with the connection.
    pub(super) fn first_was_read(self) -> bool {
        matches!(self, Split::Seeded(n) if n % 2 == 1)
    }

    /// The pieces.
    pub(super) fn pieces(self, wire: &[u8]) -> Vec<&[u8]> {
        let ends = match self {
            Split::Whole => Vec::new(),
            Split::Bytes => (1..wire.len()).collect(),
            Split::Seeded(seed) => Self::ends(seed, wire),
        };
        let mut pieces = Vec::with_capacity(ends.len() + 1);
        let mut from = 0;
        for end in ends {
            pieces.push(&wire[from..end]);
            from = end;
        }
        pieces.push(&wire[from..]);
        pieces.retain(|p| !p.is_empty());
        pieces
    }

    /// Half of the ends are anywhere; the others are near a line's end, where readers go wrong.
    fn ends(seed: u64, wire: &[u8]) -> Vec<usize> {
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ wire.len() as u64;
        let mut next = move || {
            // xorshift64*
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            usize::try_from(dice >> 33).unwrap_or(0)
        };
        if wire.len() < 2 {
            return Vec::new();
        }
        let feeds: Vec<usize> = wire.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i).collect();
        let mut ends: Vec<usize> = (0..1 + next() % PIECES_MAX)
            .map(|_| match next() % 2 {
                0 if !feeds.is_empty() => (feeds[next() % feeds.len()] + next() % 4).saturating_sub(1),
                _ => 1 + next() % (wire.len() - 1),
            })
            .filter(|end| (1..wire.len()).contains(end))
            .collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    }
}
