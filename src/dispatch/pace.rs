//! When a shard writes: at once while it has time, joined while it is busy.
//!
//! A write costs the kernel much the same whatever it carries. A shard that has just spent some
//! milliseconds on writes has as many connections as that, and more events are likely to come for them.
//! So it lets half of that time pass before it writes again, and what comes meanwhile for the same socket
//! goes out in one write. An event that comes later than that is written at once.

use std::time::{Duration, Instant};

/// Rounds of writes that take less are not worth waiting for more; the poller counts in milliseconds.
const WORTH_IT: Duration = Duration::from_millis(1);
/// How long an event waits at most.
const MAX_PAUSE: Duration = Duration::from_millis(4);

/// The pause between two rounds of writes.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Until when nothing is written.
    until: Option<Instant>,
}

impl Pace {
    /// Returns whether it is too early to write.
    pub(super) fn holds(&self, now: Instant) -> bool {
        !self.left(now).is_zero()
    }

    /// Returns how long it is too early.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let until = self.until.unwrap_or(now);
        until.saturating_duration_since(now)
    }

    /// Notes a round of writes.
    pub(super) fn wrote(&mut self, from: Instant, until: Instant) {
        let took = until.saturating_duration_since(from);
        self.until = (took >= WORTH_IT).then(|| until + (took / 2).min(MAX_PAUSE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_much_is_followed_by_half_of_its_time() {
        let from = Instant::now();
        let mut pace = Pace::default();
        for (took_ms, pause_ms) in [(3, 1), (6, 3), (100, 4)] {
            let until = from + Duration::from_millis(took_ms);
            pace.wrote(from, until);
            assert!(pace.holds(until), "{took_ms}");
            assert!(
                pace.holds(until + Duration::from_millis(pause_ms)) == (took_ms == 3),
                "{took_ms}"
            );
            assert!(!pace.holds(until + MAX_PAUSE), "{took_ms}");
        }
    }

    #[test]
    fn what_costs_little_is_not_waited_for() {
        let from = Instant::now();
        let mut pace = Pace::default();
        pace.wrote(from, from + Duration::from_millis(8));
        pace.wrote(from, from + Duration::from_micros(900));
        assert!(!pace.holds(from + Duration::from_micros(900)));
    }
}
