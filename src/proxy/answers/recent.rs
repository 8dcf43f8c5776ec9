//! Which of the newest commands were answered, one bit for each.

/// How many commands are remembered: 8 KiB of them.
const REMEMBERED: u64 = 65_536;
const WORD_BITS: u64 = 64;

/// Whether each of the newest commands was answered.
#[derive(Debug)]
pub(super) struct Recent(Box<[u64]>);

impl Default for Recent {
    fn default() -> Self {
        let words = usize::try_from(REMEMBERED / WORD_BITS).unwrap_or_default();
        Self(vec![0; words].into())
    }
}

impl Recent {
    /// A command begins; the one that had its bit is forgotten.
    pub(super) fn begin(&mut self, number: u64) {
        if let Some((word, bit)) = self.bit(number) {
            *word &= !bit;
        }
    }

    /// A command was answered.
    pub(super) fn answer(&mut self, number: u64) {
        if let Some((word, bit)) = self.bit(number) {
            *word |= bit;
        }
    }

    /// Returns whether a command was answered, as far as that is remembered; `next` is the number of the next one.
    pub(super) fn was_answered(&mut self, number: u64, next: u64) -> bool {
        let is_remembered = next.saturating_sub(number) <= REMEMBERED;
        let bit = self.bit(number);
        is_remembered && bit.is_some_and(|(word, bit)| *word & bit != 0)
    }

    fn bit(&mut self, number: u64) -> Option<(&mut u64, u64)> {
        let place = number % REMEMBERED;
        let word = usize::try_from(place / WORD_BITS).ok()?;
        Some((self.0.get_mut(word)?, 1 << (place % WORD_BITS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_newest_commands_only() {
        let mut recent = Recent::default();
        for number in 0..3 {
            recent.begin(number);
        }
        recent.answer(1);
        let known = |recent: &mut Recent, next| [0, 1, 2].map(|n| recent.was_answered(n, next));
        assert_eq!(known(&mut recent, 3), [false, true, false]);
        assert_eq!(known(&mut recent, REMEMBERED + 1), [false, true, false]);
        assert_eq!(known(&mut recent, REMEMBERED + 2), [false; 3]);
        recent.begin(REMEMBERED + 1);
        assert!(!recent.was_answered(REMEMBERED + 1, REMEMBERED + 2));
    }
}
