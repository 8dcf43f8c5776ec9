//! A limit of requests that are sent twice, so that a backend in need does not get more of them, but fewer.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many may be sent again without any having gone well before.
const RESERVE: u32 = 10;
/// How many have to go well for one that may be sent again.
const PER_RETRY: u32 = 5;

/// Counts what may be sent again: one in five of all requests, and ten at once.
#[derive(Debug)]
pub(super) struct Budget(AtomicU32);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(RESERVE * PER_RETRY))
    }
}

impl Budget {
    /// Notes a request that went well.
    pub(super) fn deposit(&self) {
        let change = |saved: u32| (saved < RESERVE * PER_RETRY).then(|| saved + 1);
        // An error says that it is full.
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change)
            .ok();
    }

    /// Takes what one retry costs, if that is there.
    pub(super) fn withdraw(&self) -> bool {
        let change = |saved: u32| saved.checked_sub(PER_RETRY);
        let changed = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        changed.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_five_may_be_sent_again_and_ten_at_once() {
        let budget = Budget::default();
        assert_eq!((0..20).filter(|_| budget.withdraw()).count(), 10);
        for _ in 0..PER_RETRY {
            assert!(!budget.withdraw());
            budget.deposit();
        }
        assert!(budget.withdraw());
        for _ in 0..1_000 {
            budget.deposit();
        }
        assert_eq!((0..20).filter(|_| budget.withdraw()).count(), 10);
    }
}
