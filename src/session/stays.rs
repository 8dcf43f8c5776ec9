//! What lasts as long as a session and is no connection of ours: tunnels to backends, and answers that stream.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::config::SessionConfig;
use super::members::Number;
use super::times::Times;
use crate::telemetry::now_ms;

/// How long the clock is trusted: it may be set while we wait for a token to expire.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// What ends with a session of this instance, beside the connections in the [`Registry`](super::Registry): it is not
/// listed, and nobody is told of it. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Stays(Arc<Inner>);

struct Inner {
    times: Times,
    next: AtomicU64,
    /// By session; no session is without stays.
    by_session: Mutex<HashMap<Arc<str>, HashMap<Number, CancellationToken>>>,
}

/// The time for which something may go on that was begun with a token; dropped, it is forgotten.
pub struct Stay {
    stays: Stays,
    number: Number,
    sessions: Box<[Arc<str>]>,
    /// When the time is over at the latest, in Unix milliseconds.
    end_ms: i64,
    ended: CancellationToken,
}

impl Stays {
    /// Starts with nothing.
    #[must_use]
    pub fn new(config: &SessionConfig) -> Self {
        Self(Arc::new(Inner {
            times: Times::of(config),
            next: AtomicU64::new(0),
            by_session: Mutex::default(),
        }))
    }

    /// Begins a stay of somebody with these sessions, whose first token expires then, in Unix milliseconds.
    ///
    /// It may last as long as a connection of the same token: `SESSION_EXPIRY_GRACE` and `SESSION_EXPIRY_JITTER` count.
    /// Begin first and look at the blacklist then, as in [`Registry::enter`](super::Registry::enter).
    #[must_use]
    pub fn begin(&self, sessions: &[Arc<str>], expires_ms: i64) -> Stay {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let ended = CancellationToken::new();
        let mut by_session = self.0.by_session.lock();
        for session in sessions {
            let stays = by_session.entry(Arc::clone(session)).or_default();
            stays.insert(number, ended.clone());
        }
        drop(by_session);
        Stay {
            stays: self.clone(),
            number,
            sessions: sessions.into(),
            end_ms: self.0.times.end_ms(expires_ms, number),
            ended,
        }
    }

    /// Ends all stays of a session.
    pub(super) fn end_session(&self, session: &str) {
        let ended = self.0.by_session.lock().remove(session);
        for stay in ended.into_iter().flatten() {
            stay.1.cancel();
        }
    }
}

impl Stay {
    /// Returns whether its time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended.is_cancelled() || self.end_ms <= now_ms()
    }

    /// Waits until one of the sessions is ended, or the token has expired.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn over(&self) {
        loop {
            let left_ms = self.end_ms.saturating_sub(now_ms()).max(0).unsigned_abs();
            if left_ms == 0 {
                return;
            }
            let sleep = Duration::from_millis(left_ms).min(LONGEST_SLEEP);
            tokio::select! {
                () = self.ended.cancelled() => return,
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut by_session = self.stays.0.by_session.lock();
        for session in &self.sessions {
            if let Some(stays) = by_session.get_mut(session) {
                stays.remove(&self.number);
                if stays.is_empty() {
                    by_session.remove(session);
                }
            }
        }
    }
}

/// Says how many sessions there are, and not which: their names belong into no log.
impl fmt::Debug for Stays {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stays")
            .field("sessions", &self.0.by_session.lock().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Stay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stay")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        session: SessionConfig,
    }

    fn stays(arguments: &[&str]) -> Stays {
        let arguments = std::iter::once(&"sluicegate").chain(arguments);
        Stays::new(&Settings::parse_from(arguments).session)
    }

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[tokio::test]
    async fn a_stay_ends_with_any_of_its_sessions_and_no_other() {
        let stays = stays(&[]);
        let both = stays.begin(&names(&["a", "b"]), i64::MAX);
        let other = stays.begin(&names(&["a"]), i64::MAX);
        let nameless = stays.begin(&[], i64::MAX);
        stays.end_session("c");
        assert!(!both.is_over() && !other.is_over());
        stays.end_session("b");
        both.over().await;
        assert!(both.is_over() && !other.is_over() && !nameless.is_over());
        stays.end_session("a");
        other.over().await;
        assert!(!nameless.is_over());
    }

    #[tokio::test]
    async fn a_stay_ends_with_its_token_and_the_grace() {
        let none = ["--session-expiry-jitter=0"];
        let now = now_ms();
        let expired = stays(&none).begin(&names(&["a"]), now);
        expired.over().await;
        assert!(expired.is_over());
        let graceful = [none[0], "--session-expiry-grace=1h"];
        assert!(!stays(&graceful).begin(&names(&["a"]), now).is_over());
        let soon = stays(&none).begin(&[], now_ms() + 20);
        soon.over().await;
        assert!(now_ms() >= now + 20);
    }

    #[test]
    fn nothing_is_left_of_a_stay_that_was_dropped() {
        let stays = stays(&[]);
        let (one, two) = (names(&["a", "b"]), names(&["b", "b"]));
        let (one, two) = (stays.begin(&one, 0), stays.begin(&two, 0));
        stays.end_session("a");
        drop(one);
        assert_eq!(stays.0.by_session.lock().len(), 1);
        drop(two);
        assert!(stays.0.by_session.lock().is_empty());
    }
}
