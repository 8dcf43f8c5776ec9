//! How often a session may do something, such as submit an event: a bucket of tokens for each, or for its address
//! where it has no name.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::IntCounter;

use super::counted::{Key, Name};
use crate::http::HttpError;

/// How many events may be submitted, tickets had, and requests sent through the proxy.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Limits of clients")]
pub struct RatesConfig {
    /// Events that one session, or one client address without a session, may submit a minute at one instance, a sixth of them at once; 0 for any number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub max_events_per_minute_per_session: u32,
    /// Tickets that one session, or one client address without a session, may get a minute at one instance, a sixth of them at once; 0 for any number
    #[arg(long, value_name = "NUMBER", default_value_t = 600)]
    pub max_tickets_per_minute_per_session: u32,
    /// Requests that one session, or one client address without a session, may send a minute through the routes of the proxy at one instance, a sixth of them at once; 0 for any number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub max_requests_per_minute_per_session: u32,
}

const MINUTE: Duration = Duration::from_secs(60);
/// What part of a minute's number may come at once.
const PARTS_OF_A_MINUTE: u32 = 6;
/// How many buckets are kept before the first look at which are full again.
const USUAL_BUCKETS: usize = 1_024;

/// Who is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Submitter<'a> {
    /// A session, wherever it comes from.
    Session(&'a str),
    /// An address, for who has no session; one of IPv6 counts for its network of 64 bits.
    Address(IpAddr),
}

impl<'a> Submitter<'a> {
    /// Returns who is counted for somebody with these sessions at this address: the first session, else the address.
    fn of(sessions: &'a [Arc<str>], address: IpAddr) -> Self {
        let session = sessions.first().map(|session| Self::Session(session));
        session.unwrap_or(Self::Address(address))
    }
}

/// It was done too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too often; there is room in {} ms", retry_after.as_millis())]
struct TooOften {
    /// When there is room for as much.
    retry_after: Duration,
}

/// Limits what clients do, such as the events that they submit.
///
/// A bucket that is full again is as good as none and is swept away, so the memory is bounded by how many
/// submitters come within the time in which a bucket fills: ten seconds, or as long as a batch was over the limit.
#[derive(Debug)]
pub struct Rates {
    /// Time that one event takes; `None` without a limit.
    interval: Option<Duration>,
    /// How much time may be taken in advance.
    burst: Duration,
    keys: RandomState,
    buckets: Mutex<Buckets>,
    /// What was refused.
    refused: IntCounter,
    /// What the client is told, a code and a word for what it did.
    told: (&'static str, &'static str),
}

/// For each submitter, the time at which its bucket is full.
#[derive(Debug)]
struct Buckets {
    full_at: HashMap<Key, Instant>,
    /// Sweep when there are so many.
    sweep_at: usize,
}

impl RatesConfig {
    /// Limits the events that are submitted; `refused` counts those that are refused.
    #[must_use]
    pub fn of_events(&self, refused: IntCounter) -> Rates {
        let told = ("too_many_events", "events");
        Rates::new(self.max_events_per_minute_per_session, refused, told)
    }

    /// Limits the tickets that are had; `refused` counts those that are refused.
    #[must_use]
    pub fn of_tickets(&self, refused: IntCounter) -> Rates {
        let told = ("too_many_tickets", "tickets");
        Rates::new(self.max_tickets_per_minute_per_session, refused, told)
    }

    /// Limits the requests to the proxy; `refused` counts those that are refused.
    #[must_use]
    pub fn of_requests(&self, refused: IntCounter) -> Rates {
        let told = ("too_many_requests", "requests");
        Rates::new(self.max_requests_per_minute_per_session, refused, told)
    }
}

impl Rates {
    /// Allows so many a minute, 0 for any number, and starts with full buckets.
    fn new(per_minute: u32, refused: IntCounter, told: (&'static str, &'static str)) -> Self {
        let interval = MINUTE.checked_div(per_minute);
        let at_once = (per_minute / PARTS_OF_A_MINUTE).max(1);
        Self {
            interval,
            burst: interval.unwrap_or_default().saturating_mul(at_once),
            keys: RandomState::new(),
            buckets: Mutex::new(Buckets {
                full_at: HashMap::new(),
                sweep_at: USUAL_BUCKETS,
            }),
            refused,
            told,
        }
    }

    /// Takes room for `count` things that somebody with these sessions does together at this address.
    ///
    /// The first session counts, or the address without one. They are taken whole or not at all. More than may come at
    /// once need a full bucket, and then it takes as much longer until there is room again.
    ///
    /// # Errors
    /// 429 with the time until there is room; then nothing is counted.
    pub fn admit(
        &self,
        sessions: &[Arc<str>],
        address: IpAddr,
        count: usize,
    ) -> Result<(), HttpError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let taken = self.take(Submitter::of(sessions, address), count, Instant::now());
        taken.map_err(|TooOften { retry_after }| {
            let (code, what) = self.told;
            let public = format!("Reached maximum number of {what} per minute.");
            HttpError::too_many_requests(code, public, retry_after)
        })
    }

    fn take(&self, submitter: Submitter<'_>, count: u32, now: Instant) -> Result<(), TooOften> {
        let Some(interval) = self.interval else {
            return Ok(());
        };
        let cost = interval.saturating_mul(count);
        let key = self.keys.hash_one(match submitter {
            Submitter::Session(name) => Name::of_session(name),
            Submitter::Address(address) => Name::of_address(address),
        });
        let mut buckets = self.buckets.lock();
        let full_at = buckets.full_at.get(&key).copied().unwrap_or(now).max(now);
        let missing = full_at.duration_since(now) + cost.min(self.burst);
        if let Some(retry_after) = missing
            .checked_sub(self.burst)
            .filter(|wait| !wait.is_zero())
        {
            drop(buckets);
            self.refused.inc_by(u64::from(count));
            return Err(TooOften { retry_after });
        }
        buckets.full_at.insert(key, full_at + cost);
        buckets.sweep(now);
        Ok(())
    }
}

impl Buckets {
    /// Drops the buckets that are full, each time that there are twice as many as were left.
    fn sweep(&mut self, now: Instant) {
        if self.full_at.len() < self.sweep_at {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        self.sweep_at = self.full_at.len().saturating_mul(2).max(USUAL_BUCKETS);
        self.full_at.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    const ALICE: Submitter<'static> = Submitter::Session("alice");

    fn rates(per_minute: u32) -> (Rates, Metrics, Instant) {
        let metrics = Metrics::new();
        let refused = metrics.limited_events.clone();
        let rates = Rates::new(per_minute, refused, ("too_many_events", "events"));
        (rates, metrics, Instant::now())
    }

    fn wait_ms(rates: &Rates, submitter: Submitter<'_>, events: u32, now: Instant) -> u128 {
        let taken = rates.take(submitter, events, now);
        taken.map_or_else(|error| error.retry_after.as_millis(), |()| 0)
    }

    #[test]
    fn a_sixth_of_a_minute_comes_at_once_and_then_one_by_one() {
        let (rates, metrics, start) = rates(60);
        for _ in 0..10 {
            assert_eq!(wait_ms(&rates, ALICE, 1, start), 0);
        }
        assert_eq!(wait_ms(&rates, ALICE, 1, start), 1_000);
        assert_eq!(metrics.limited_events.get(), 1);
        let soon = start + Duration::from_millis(999);
        assert_eq!(wait_ms(&rates, ALICE, 1, soon), 1);
        let then = start + Duration::from_secs(1);
        assert_eq!(wait_ms(&rates, ALICE, 1, then), 0);
        assert_eq!(wait_ms(&rates, ALICE, 1, then), 1_000);
        let later = start + Duration::from_secs(60);
        assert_eq!(wait_ms(&rates, ALICE, 10, later), 0);
        assert_eq!(wait_ms(&rates, ALICE, 1, later), 1_000);
    }

    #[test]
    fn over_a_long_time_no_more_than_the_limit_gets_through() {
        for per_minute in [1, 5, 7, 60, 1_000] {
            let (rates, _, start) = rates(per_minute);
            let tries = (0..600_000_u64).step_by(10).map(Duration::from_millis);
            let admitted = tries.filter(|after| rates.take(ALICE, 1, start + *after).is_ok());
            let (admitted, at_most) = (admitted.count(), per_minute * 10 + (per_minute / 6).max(1));
            let at_least = per_minute as usize * 10 * 9 / 10;
            assert!(
                (at_least..=at_most as usize).contains(&admitted),
                "{per_minute}: {admitted}"
            );
        }
    }

    #[test]
    fn a_batch_is_taken_whole_or_not_at_all() {
        let (rates, _, start) = rates(60);
        assert_eq!(wait_ms(&rates, ALICE, 8, start), 0);
        assert_eq!(wait_ms(&rates, ALICE, 3, start), 1_000);
        assert_eq!(wait_ms(&rates, ALICE, 2, start), 0);
        // Larger than what may come at once: from a full bucket, and the time is paid for afterwards.
        assert_eq!(wait_ms(&rates, ALICE, 100, start), 10_000);
        let later = start + Duration::from_secs(10);
        assert_eq!(wait_ms(&rates, ALICE, 100, later), 0);
        assert_eq!(wait_ms(&rates, ALICE, 1, later), 91_000);
    }

    #[test]
    fn submitters_do_not_pay_for_each_other() {
        let (rates, _, start) = rates(1);
        let address = |text: &str| Submitter::Address(text.parse().unwrap());
        for submitter in [
            ALICE,
            Submitter::Session("bob"),
            Submitter::Session("192.0.2.1"),
            address("192.0.2.1"),
            address("192.0.2.2"),
            address("2001:db8::1"),
            address("2001:db8:0:1::1"),
        ] {
            assert_eq!(wait_ms(&rates, submitter, 1, start), 0, "{submitter:?}");
            assert_eq!(
                wait_ms(&rates, submitter, 1, start),
                60_000,
                "{submitter:?}"
            );
        }
        assert_eq!(wait_ms(&rates, address("2001:db8::2"), 1, start), 60_000);
        assert_eq!(
            wait_ms(&rates, address("::ffff:192.0.2.2"), 1, start),
            60_000
        );
    }

    #[test]
    fn those_who_have_not_come_for_a_while_are_forgotten() {
        let (rates, _, start) = rates(60);
        for number in 0..100_000_u32 {
            let now = start + Duration::from_millis(u64::from(number));
            let address = std::net::Ipv4Addr::from_bits(number).into();
            rates.take(Submitter::Address(address), 1, now).unwrap();
        }
        let kept = rates.buckets.lock().full_at.len();
        assert!(kept <= 2 * USUAL_BUCKETS, "{kept}");
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let (rates, _, start) = rates(0);
        assert!((0..10_000).all(|_| rates.take(ALICE, 1_000, start).is_ok()));
        assert_eq!(rates.buckets.lock().full_at.len(), 0);
    }
}
