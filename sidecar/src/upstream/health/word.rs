//! What decides whether an instance is usable, in 64 bits.

/// After this long without an ejection one of the earlier ones is forgotten.
const CALM: u64 = 60_000;

/// All that decides whether an instance is usable, so that it changes in one step: flags, how often it was ejected of
/// late, and a time in milliseconds (ejected: until when; else: since when no more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    /// Its check has not let it in yet.
    pub(super) const STARTING: u64 = 1;
    /// Active checks say that it is down.
    pub(super) const DOWN: u64 = 1 << 1;
    /// Ejected; half-open once the time is over.
    pub(super) const EJECTED: u64 = 1 << 2;
    /// Taken out by hand.
    pub(super) const FORCED_DOWN: u64 = 1 << 3;
    /// Put in by hand, whatever the rest says.
    pub(super) const FORCED_UP: u64 = 1 << 4;
    /// Active checks say that it is up.
    pub(super) const UP: u64 = 1 << 5;
    /// Half-open, and a command is proving it; the time is that of the proof.
    pub(super) const TRIAL: u64 = 1 << 6;

    pub(super) const SPECIAL: u64 = Word::STARTING | Word::DOWN | Word::EJECTED | Word::FORCED_DOWN;
    pub(super) const FORCED: u64 = Word::FORCED_DOWN | Word::FORCED_UP;
    const TIME_SHIFT: u32 = 16;

    pub(super) fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }
    pub(super) fn with(self, flags: u64) -> Word {
        Word(self.0 | flags)
    }
    pub(super) fn without(self, flags: u64) -> Word {
        Word(self.0 & !flags)
    }
    pub(super) fn time(self) -> u64 {
        self.0 >> Word::TIME_SHIFT
    }
    pub(super) fn at(self, time: u64) -> Word {
        let time = time.min(u64::MAX >> Word::TIME_SHIFT);
        Word((self.0 & ((1 << Word::TIME_SHIFT) - 1)) | (time << Word::TIME_SHIFT))
    }
    pub(super) fn ejections(self) -> u8 {
        (self.0 >> 8) as u8
    }
    pub(super) fn counted(self, ejections: u8) -> Word {
        Word((self.0 & !0xff00) | (u64::from(ejections) << 8))
    }
    pub(super) fn is_forced(self) -> bool {
        self.has(Word::FORCED)
    }
    /// Commands may go to it freely.
    pub(super) fn is_open(self) -> bool {
        !self.has(Word::SPECIAL) || self.has(Word::FORCED_UP)
    }
    /// Nothing but the ejection is in the way.
    pub(super) fn is_only_ejected(self) -> bool {
        self.0 & (Word::SPECIAL | Word::FORCED_UP) == Word::EJECTED
    }
    /// The ejection is over and it may prove itself, or does.
    pub(super) fn is_half_open(self, now: u64) -> bool {
        self.has(Word::EJECTED) && (self.has(Word::TRIAL) || self.time() <= now)
    }
    /// Ejections that still count.
    pub(super) fn recent(self, now: u64) -> u8 {
        let calm = if self.has(Word::EJECTED) { 0 } else { now.saturating_sub(self.time()) / CALM };
        self.ejections().saturating_sub(u8::try_from(calm).unwrap_or(u8::MAX))
    }
    /// Out of the ejection.
    pub(super) fn back(self, now: u64) -> Word {
        match self.has(Word::EJECTED) {
            true => self.without(Word::EJECTED | Word::TRIAL).at(now),
            false => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_word_do_not_touch() {
        let full = Word(0).with(Word::EJECTED).counted(255).at(u64::MAX);
        assert_eq!((full.time(), full.ejections()), (u64::MAX >> 16, 255));
        let part = full.counted(1).without(Word::EJECTED);
        assert_eq!((part.time(), part.ejections(), part.has(u64::MAX >> 56)), (u64::MAX >> 16, 1, false));
        let bare = full.at(0);
        assert_eq!((bare.time(), bare.ejections(), bare.has(Word::EJECTED)), (0, 255, true));
        assert!(Word(0).at(u64::MAX).counted(255).is_open());
    }
}
