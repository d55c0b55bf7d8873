//! Buffers of one worker thread: a connection has one only while bytes are on their way.

use bytes::BytesMut;
use std::cell::RefCell;

/// What a head with a small body needs.
pub(crate) const SMALL: usize = 4 << 10;
/// For bodies that are known to be larger, so that they take few system calls.
pub(crate) const LARGE: usize = 32 << 10;

/// Idle buffers that a thread keeps: 1 MiB of small ones, 256 KiB of large ones.
const SMALL_MAX: usize = 256;
const LARGE_MAX: usize = 8;
/// Buffers that are looked at for one whose bytes nobody holds any more.
const LOOKS: usize = 4;

#[derive(Default)]
struct Kept {
    small: Vec<BytesMut>,
    large: Vec<BytesMut>,
    out: Vec<Vec<u8>>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// An empty buffer with room for [`SMALL`] bytes, or [`LARGE`] ones.
pub(crate) fn take(large: bool) -> BytesMut {
    let size = if large { LARGE } else { SMALL };
    KEPT.with_borrow_mut(|kept| {
        let kept = if large { &mut kept.large } else { &mut kept.small };
        // The last one is still in the processor's cache; if its bytes are held, those before it may be free.
        for look in 1..=LOOKS.min(kept.len()) {
            let at = kept.len() - look;
            if kept[at].try_reclaim(size) {
                return kept.swap_remove(at);
            }
        }
        BytesMut::with_capacity(size)
    })
}

/// Lets the buffers go that this thread keeps: after a burst, most will not be needed soon.
pub fn shed() {
    KEPT.with_borrow_mut(|kept| *kept = Kept::default());
}

/// Gives a buffer back as the kind that it was taken as: its room says nothing while some of its bytes are held.
pub(crate) fn give(mut buffer: BytesMut, large: bool) {
    buffer.clear();
    let _ = KEPT.try_with(|kept| {
        let Ok(mut kept) = kept.try_borrow_mut() else { return };
        if large {
            if kept.large.len() < LARGE_MAX {
                kept.large.push(buffer);
            }
        } else if kept.small.len() < SMALL_MAX {
            kept.small.push(buffer);
        }
    });
}

/// An empty buffer for what is to be written.
pub(crate) fn take_out() -> Vec<u8> {
    KEPT.with_borrow_mut(|kept| kept.out.pop()).unwrap_or_else(|| Vec::with_capacity(SMALL / 2))
}

/// Gives it back.
pub(crate) fn give_out(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > LARGE {
        return;
    }
    buffer.clear();
    let _ = KEPT.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && kept.out.len() < SMALL_MAX
        {
            kept.out.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_whose_bytes_are_still_held_is_not_handed_out() {
        let mut first = take(false);
        first.extend_from_slice(b"held");
        let held = first.split_to(4).freeze();
        let (at, room) = (first.as_ptr(), first.capacity());
        give(first, false);
        let other = take(false);
        assert!(other.capacity() >= SMALL && other.as_ptr() != at && room < SMALL);
        drop(held);
        let again = take(false);
        assert!(again.is_empty() && again.capacity() >= SMALL);
        assert_eq!(again.as_ptr().wrapping_add(4), at);
        assert!(take(true).capacity() >= LARGE);
    }

    #[test]
    fn a_large_buffer_comes_back_as_a_large_one_however_much_of_it_is_held() {
        for held in [1, LARGE] {
            shed();
            let mut large = take(true);
            large.resize(LARGE, b'x');
            let at = large.as_ptr();
            let piece = large.split_to(held).freeze();
            give(large, true);
            let kept = KEPT.with_borrow(|kept| (kept.small.len(), kept.large.len()));
            assert_eq!(kept, (0, 1));
            drop(piece);
            let again = take(true);
            assert!(again.as_ptr() == at && again.capacity() >= LARGE);
        }
    }
}
