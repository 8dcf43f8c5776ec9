//! Log lines at a limited rate.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets at most one log line per interval and key through, and counts the others.
///
/// ```
/// # use std::time::{Duration, Instant};
/// let limited = sluicegate::telemetry::Limited::new(Duration::from_secs(10));
/// if let Some(suppressed) = limited.admit("poison record", Instant::now()) {
///     tracing::warn!(suppressed, "skipped a record");
/// }
/// ```
#[derive(Debug)]
pub struct Limited {
    interval: Duration,
    keys: Mutex<HashMap<Box<str>, Admitted>>,
}

#[derive(Debug, Clone, Copy)]
struct Admitted {
    at: Instant,
    suppressed: u64,
}

/// The number of keys that are told apart; beyond it, all new keys count as one.
const MAX_KEYS: usize = 256;

impl Limited {
    /// Makes a limit of one line per `interval` and key.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            keys: Mutex::new(HashMap::new()),
        }
    }

    /// Returns how many lines with `key` were suppressed since the last one, or `None` if this one is, too.
    pub fn admit(&self, key: &str, now: Instant) -> Option<u64> {
        let mut keys = self.keys.lock();
        let is_over =
            |admitted: &Admitted| now.saturating_duration_since(admitted.at) >= self.interval;
        let mut key = key;
        if !keys.contains_key(key) && keys.len() >= MAX_KEYS {
            keys.retain(|_, admitted| !is_over(admitted) || admitted.suppressed > 0);
            if keys.len() >= MAX_KEYS {
                key = "";
            }
        }
        match keys.get_mut(key) {
            Some(admitted) if is_over(admitted) => {
                let suppressed = admitted.suppressed;
                *admitted = Admitted {
                    at: now,
                    suppressed: 0,
                };
                Some(suppressed)
            }
            Some(admitted) => {
                admitted.suppressed += 1;
                None
            }
            None => {
                keys.insert(
                    key.into(),
                    Admitted {
                        at: now,
                        suppressed: 0,
                    },
                );
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_and_key_says_how_many_there_were() {
        let limited = Limited::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let steps = [
            ("a", 0, Some(0)),
            ("a", 1, None),
            ("b", 2, Some(0)),
            ("a", 9, None),
            ("a", 10, Some(2)),
            ("a", 19, None),
            ("b", 30, Some(0)),
            ("a", 40, Some(1)),
        ];
        for (key, seconds, expected) in steps {
            assert_eq!(
                limited.admit(key, at(seconds)),
                expected,
                "{key} at {seconds}"
            );
        }
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let limited = Limited::new(Duration::from_secs(10));
        let now = Instant::now();
        for key in 0..10_000 {
            limited.admit(&key.to_string(), now);
        }
        assert!(limited.keys.lock().len() <= MAX_KEYS + 1);
        // Keys whose interval is over make room.
        assert_eq!(limited.admit("new", now + Duration::from_secs(10)), Some(0));
    }
}
