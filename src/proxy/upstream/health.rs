//! Whether an address is well, as far as requests to it show.

use std::time::Duration;

use tokio::time::Instant;

/// After how many failures in a row an address is left alone.
const FAILURES: u32 = 3;
/// For how long at first; each further time doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What requests to one address have met with.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Failures since the last success.
    failures: u32,
    /// Pauses since the last success.
    pauses: u32,
    /// Until when the address is left alone.
    paused_until: Option<Instant>,
    /// Somebody finds out whether it is well again.
    is_on_trial: bool,
}

/// Whether an address may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is well.
    Well,
    /// It may be tried once; see [`Health::begin_trial`].
    MayBeTried,
    /// It is left alone until then.
    Paused(Instant),
}

impl Health {
    /// Returns whether the address may be used.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        match self.paused_until {
            None => Standing::Well,
            Some(until) if until <= now => Standing::MayBeTried,
            Some(until) => Standing::Paused(until),
        }
    }

    /// Notes that one request or probe goes there to find out; the others wait `patience` for its outcome.
    pub(super) fn begin_trial(&mut self, now: Instant, patience: Duration) {
        self.is_on_trial = true;
        self.paused_until = Some(now + patience);
    }

    /// Notes an answer; returns whether the address was left alone until now.
    pub(super) fn succeeded(&mut self) -> bool {
        let was_paused = self.paused_until.is_some();
        *self = Self::default();
        was_paused
    }

    /// Notes a failure; returns whether the address is left alone from now on.
    ///
    /// Failures of requests that were under way when a pause began do not make it longer.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let was_paused = self.paused_until.is_some();
        let begins_pause = if was_paused {
            std::mem::take(&mut self.is_on_trial)
        } else {
            self.failures >= FAILURES
        };
        if begins_pause {
            let factor = 1 << self.pauses.min(5);
            self.paused_until = Some(now + (FIRST_PAUSE * factor).min(LONGEST_PAUSE));
            self.pauses = self.pauses.saturating_add(1);
        }
        begins_pause && !was_paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn three_failures_in_a_row_pause_an_address() {
        let now = Instant::now();
        let mut health = Health::default();
        assert!(!health.failed(now));
        assert!(!health.failed(now));
        assert!(!health.succeeded());
        assert!(!health.failed(now));
        assert!(!health.failed(now));
        assert_eq!(health.standing(now), Standing::Well);
        assert!(health.failed(now));
        assert_eq!(health.standing(now), Standing::Paused(now + FIRST_PAUSE));
        // What was under way already.
        assert!(!health.failed(now));
        assert_eq!(health.standing(now), Standing::Paused(now + FIRST_PAUSE));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_one_trial_succeeds() {
        let mut now = Instant::now();
        let mut health = Health::default();
        for _ in 0..FAILURES {
            health.failed(now);
        }
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let Standing::Paused(until) = health.standing(now) else {
                panic!("not paused");
            };
            assert_eq!(until - now, Duration::from_secs(seconds));
            now = until;
            assert_eq!(health.standing(now), Standing::MayBeTried);
            health.begin_trial(now, PATIENCE);
            assert_eq!(health.standing(now), Standing::Paused(now + PATIENCE));
            assert!(!health.failed(now), "it was paused before");
        }
        assert!(health.succeeded());
        assert_eq!(health.standing(now), Standing::Well);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_without_an_outcome_makes_way_for_another() {
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 0..FAILURES {
            health.failed(now);
        }
        health.begin_trial(now + FIRST_PAUSE, PATIENCE);
        let later = now + FIRST_PAUSE + PATIENCE;
        assert_eq!(health.standing(later), Standing::MayBeTried);
    }
}
