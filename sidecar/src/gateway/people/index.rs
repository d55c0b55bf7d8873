//! Finds entries by a text: a fixed table of eight bytes a slot, by a hash whose key is random at every load, so that
//! neither the time of a search nor crafted texts tell or do anything.

use std::hash::{BuildHasher as _, RandomState};

/// The lower half of a slot: the entry's place plus one. The upper half is that of the hash.
const PLACE: u64 = u32::MAX as u64;

/// Places by texts.
pub(super) struct Index {
    keys: RandomState,
    /// 0: free. A power of two, at least an eighth of it free.
    slots: Box<[u64]>,
}

impl Index {
    /// Of places and their texts. Of two with the same text the first is found.
    pub(super) fn new<'a>(texts: impl Iterator<Item = (usize, &'a [u8])> + Clone) -> Index {
        let count = texts.clone().count();
        let room = if count == 0 { 0 } else { (count + count / 7 + 1).next_power_of_two() };
        let mut index = Index { keys: RandomState::new(), slots: vec![0; room].into() };
        for (place, text) in texts {
            let Ok(place) = u32::try_from(place) else { continue };
            let hash = index.keys.hash_one(text);
            let free = index.road(hash).find(|at| index.slots.get(*at) == Some(&0));
            if let Some(slot) = free.and_then(|at| index.slots.get_mut(at)) {
                *slot = hash & !PLACE | (u64::from(place) + 1);
            }
        }
        index
    }

    /// The slots in the order in which a hash tries them.
    fn road(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let room = self.slots.len();
        let from = hash as usize;
        (0..room).map(move |step| from.wrapping_add(step) & (room - 1))
    }

    /// The place of a text; `same` decides among the very few that may be it.
    pub(super) fn find(&self, text: &[u8], same: impl Fn(usize) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let hash = self.keys.hash_one(text);
        for at in self.road(hash) {
            let slot = *self.slots.get(at)?;
            if slot == 0 {
                return None;
            }
            let place = usize::try_from((slot & PLACE) - 1).ok()?;
            if slot & !PLACE == hash & !PLACE && same(place) {
                return Some(place);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_found_and_no_other() {
        for count in [0, 1, 2, 3, 4, 7, 1000] {
            let texts: Vec<String> = (0..count).map(|n| format!("text-{n}")).collect();
            let index = Index::new(texts.iter().map(|t| t.as_bytes()).enumerate());
            let find = |text: &str| index.find(text.as_bytes(), |at| texts[at] == text);
            for (at, text) in texts.iter().enumerate() {
                assert_eq!(find(text), Some(at), "{text} of {count}");
            }
            for other in ["", "text", "text-1000", "text-\u{0}"] {
                assert_eq!(find(other), None, "{other:?} of {count}");
            }
        }
        let twice = Index::new([(3, &b"a"[..]), (5, b"a"), (9, b"b")].into_iter());
        assert_eq!(twice.find(b"a", |_| true), Some(3));
        assert_eq!(twice.find(b"b", |at| at == 9), Some(9));
    }
}
