//! What a datagram holds: one message, perhaps packed, perhaps a piece of one (GELF over UDP).

use std::collections::VecDeque;
use std::io::Read;
use std::time::{Duration, Instant};

/// Messages whose pieces may be missing at once, and how long.
const MESSAGES_MAX: usize = 64;
const MISSING_FOR: Duration = Duration::from_secs(5);
/// Pieces of one message, as GELF has it.
const PIECES_MAX: u8 = 128;
/// Bytes of one message, packed or not.
const MESSAGE_MAX: usize = 1 << 20;
/// Bytes of a piece in front of its content.
const HEADER: usize = 12;
const MAGIC: [u8; 2] = [0x1e, 0x0f];

struct Message {
    id: [u8; 8],
    begun: Instant,
    pieces: Vec<Option<Box<[u8]>>>,
    bytes: usize,
}

/// Puts pieces together.
#[derive(Default)]
pub(super) struct Pieces(VecDeque<Message>);

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// A whole message.
    Whole(Vec<u8>),
    /// A piece; others are missing.
    Piece,
    /// Nothing that can be read.
    Malformed,
}

impl Pieces {
    /// Takes a datagram. Messages that were given up on the way are counted in `lost`.
    pub(super) fn take(&mut self, datagram: &[u8], now: Instant, lost: &mut u64) -> Taken {
        while self.0.front().is_some_and(|m| now.duration_since(m.begun) > MISSING_FOR) {
            self.0.pop_front();
            *lost += 1;
        }
        if !datagram.starts_with(&MAGIC) {
            return unpacked(datagram);
        }
        let (Some(id), Some(&[nth, of])) =
            (datagram.get(2..10).and_then(|b| <[u8; 8]>::try_from(b).ok()), datagram.get(10..12))
        else {
            return Taken::Malformed;
        };
        if of == 0 || of > PIECES_MAX || nth >= of {
            return Taken::Malformed;
        }
        let place = match self.0.iter().position(|m| m.id == id) {
            Some(place) => place,
            None => {
                if self.0.len() >= MESSAGES_MAX {
                    self.0.pop_front();
                    *lost += 1;
                }
                let pieces = vec![None; usize::from(of)];
                self.0.push_back(Message { id, begun: now, pieces, bytes: 0 });
                self.0.len() - 1
            }
        };
        let message = &mut self.0[place];
        let content = &datagram[HEADER..];
        if message.pieces.len() != usize::from(of) || message.bytes + content.len() > MESSAGE_MAX {
            self.0.remove(place);
            return Taken::Malformed;
        }
        let piece = &mut message.pieces[usize::from(nth)];
        if piece.is_none() {
            message.bytes += content.len();
            *piece = Some(content.into());
        }
        if message.pieces.iter().any(Option::is_none) {
            return Taken::Piece;
        }
        let whole: Vec<u8> =
            self.0.remove(place).into_iter().flat_map(|m| m.pieces).flatten().flat_map(Vec::from).collect();
        unpacked(&whole)
    }
}

/// Undoes gzip and zlib, told by their first bytes.
fn unpacked(bytes: &[u8]) -> Taken {
    let mut plain = Vec::new();
    let max = MESSAGE_MAX as u64 + 1;
    let read = match bytes {
        [0x1f, 0x8b, ..] => flate2::read::GzDecoder::new(bytes).take(max).read_to_end(&mut plain),
        // The four levels of compression; a text may well begin with an x.
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => {
            flate2::read::ZlibDecoder::new(bytes).take(max).read_to_end(&mut plain)
        }
        _ => return Taken::Whole(bytes.to_vec()),
    };
    match read {
        Ok(n) if n <= MESSAGE_MAX => Taken::Whole(plain),
        _ => Taken::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use std::io::Write;

    fn piece(id: u8, nth: u8, of: u8, content: &[u8]) -> Vec<u8> {
        [&MAGIC[..], &[id; 8], &[nth, of], content].concat()
    }

    #[test]
    fn pieces_become_messages_within_limits() {
        let (mut pieces, mut lost, now) = (Pieces::default(), 0, Instant::now());
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(b"{\"short_message\":\"hello\"}").unwrap();
        let packed = packed.finish().unwrap();
        let (a, b) = packed.split_at(9);
        assert_eq!(pieces.take(&piece(1, 1, 2, b), now, &mut lost), Taken::Piece);
        assert_eq!(pieces.take(&piece(2, 0, 2, b"never whole"), now, &mut lost), Taken::Piece);
        assert_eq!(pieces.take(&piece(1, 1, 2, b), now, &mut lost), Taken::Piece, "twice is once");
        let whole = pieces.take(&piece(1, 0, 2, a), now, &mut lost);
        assert_eq!(whole, Taken::Whole(b"{\"short_message\":\"hello\"}".to_vec()));
        for bad in [piece(3, 2, 2, b"x"), piece(3, 0, 0, b""), piece(3, 0, 200, b""), MAGIC.to_vec()] {
            assert_eq!(pieces.take(&bad, now, &mut lost), Taken::Malformed);
        }
        assert_eq!(pieces.take(&piece(2, 1, 3, b"other count"), now, &mut lost), Taken::Malformed);
        assert_eq!(lost, 0);
        for id in 0..100 {
            assert_eq!(pieces.take(&piece(id, 0, 2, b"x"), now, &mut lost), Taken::Piece);
        }
        assert_eq!((lost, pieces.0.len()), (100 - MESSAGES_MAX as u64, MESSAGES_MAX));
        pieces.take(b"later", now + MISSING_FOR * 2, &mut lost);
        assert_eq!((lost, pieces.0.len()), (100, 0));
        for nth in 0..20 {
            let taken = pieces.take(&piece(7, nth, 20, &[0; 60_000]), now, &mut lost);
            assert_eq!(taken == Taken::Malformed, usize::from(nth) == MESSAGE_MAX / 60_000, "{nth}");
            if taken == Taken::Malformed {
                break;
            }
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
        for _ in 0..64 {
            packed.write_all(&[b'x'; 1 << 20]).unwrap();
        }
        let packed = packed.finish().unwrap();
        assert!(packed.len() < 100_000);
        assert_eq!(unpacked(&packed), Taken::Malformed);
        assert_eq!(unpacked(b"x is text"), Taken::Whole(b"x is text".to_vec()));
        assert_eq!(unpacked(&[0x1f, 0x8b, 1, 2]), Taken::Malformed);
    }
}
