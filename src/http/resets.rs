//! How often a client resets streams of HTTP/2: the "rapid reset" attack (CVE-2023-44487) has the
//! server do work for requests that nobody wants.

use std::time::Duration;

use tokio::time::Instant;

/// How many streams of a connection may end before their answers within [`WINDOW`]. A page that closes
/// all its streams at once stays far below.
const MAX_RESETS: u32 = 1_000;
const WINDOW: Duration = Duration::from_secs(10);

/// The resets of one connection, in windows of ten seconds.
#[derive(Debug, Default)]
pub(super) struct Resets {
    window: Option<(Instant, u32)>,
}

impl Resets {
    /// Notes one more.
    pub(super) fn record(&mut self, now: Instant) {
        match &mut self.window {
            Some((began, count)) if now.saturating_duration_since(*began) < WINDOW => *count += 1,
            window => *window = Some((now, 1)),
        }
    }

    /// Returns whether the connection has to end.
    pub(super) fn are_too_many(&self) -> bool {
        self.window.is_some_and(|(_, count)| count > MAX_RESETS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_how_many_come_in_ten_seconds() {
        let start = Instant::now();
        let mut resets = Resets::default();
        for window in 0..3 {
            for _ in 0..MAX_RESETS {
                resets.record(start + WINDOW * window);
            }
            assert!(!resets.are_too_many());
        }
        resets.record(start + WINDOW * 2 + Duration::from_secs(9));
        assert!(resets.are_too_many());
    }
}
