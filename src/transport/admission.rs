//! How many connections may be opened a minute, over all transports.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const WINDOW: Duration = Duration::from_secs(60);

/// Counts opened connections in windows of a minute, as RIG's `MAX_CONNECTIONS_PER_MINUTE`.
#[derive(Debug)]
pub struct Admission {
    limit: u32,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    admitted: u32,
}

impl Admission {
    /// Admits `limit` connections a minute; 0 admits all.
    #[must_use]
    pub fn per_minute(limit: u32, now: Instant) -> Self {
        Self {
            limit,
            window: Mutex::new(Window {
                began: now,
                admitted: 0,
            }),
        }
    }

    /// Admits a connection, or returns how long to wait until there is room again.
    ///
    /// # Errors
    /// The time until the next window.
    pub fn admit(&self, now: Instant) -> Result<(), Duration> {
        let mut window = self.window.lock();
        if now.saturating_duration_since(window.began) >= WINDOW {
            *window = Window {
                began: now,
                admitted: 0,
            };
        }
        if self.limit > 0 && window.admitted >= self.limit {
            return Err(WINDOW.saturating_sub(now.saturating_duration_since(window.began)));
        }
        window.admitted = window.admitted.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_when_there_is_room_again() {
        let start = Instant::now();
        let admission = Admission::per_minute(2, start);
        assert_eq!(admission.admit(start), Ok(()));
        assert_eq!(admission.admit(start), Ok(()));
        let later = start + Duration::from_secs(20);
        assert_eq!(admission.admit(later), Err(Duration::from_secs(40)));
        assert_eq!(admission.admit(start + WINDOW), Ok(()));
    }

    #[test]
    fn zero_admits_all() {
        let start = Instant::now();
        let admission = Admission::per_minute(0, start);
        assert!((0..10_000).all(|_| admission.admit(start).is_ok()));
    }
}
