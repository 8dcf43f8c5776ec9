//! The events of the load: 200 bytes of JSON, with their number and time at the very end, so that a
//! client that finds them has read the whole event.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The length of an event, in bytes of JSON.
pub(crate) const EVENT_BYTES: usize = 200;
/// The type of the events that everybody gets.
pub(crate) const FOR_ALL: &str = "bench.all";
/// The type of the events that one client gets.
pub(crate) const FOR_ONE: &str = "bench.one";
/// Declares the field that says which client an event of type [`FOR_ONE`] is for.
pub(crate) const EXTRACTORS: &str =
    r#"{"bench.one":{"to":{"stable_field_index":0,"event":{"json_pointer":"/data/to"}}}}"#;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A moment of this process, in nanoseconds since its first look at the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        Self(u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn after(self, duration: Duration) -> Self {
        Self(self.0 + u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Returns the time from `earlier` until here, nothing if it is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What a client learns of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The event's place in its load, from 0.
    pub(crate) number: u64,
    /// From when its latency counts.
    pub(crate) due: Moment,
}

impl Stamp {
    /// Returns the event for client `to`.
    pub(crate) fn event(self, event_type: &str, to: u64) -> String {
        self.event_of(event_type, to, EVENT_BYTES)
    }

    /// Returns the event for client `to`, of so many bytes of JSON, where all it has to say fits.
    pub(crate) fn event_of(self, event_type: &str, to: u64, bytes: usize) -> String {
        let Self {
            number,
            due: Moment(due),
        } = self;
        let id = format!("{due}-{number}");
        let head = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/bench","type":"{event_type}","data":{{"to":"{to}","pad":""#
        );
        let tail = format!(r#"","n":{number},"t":{due}}}}}"#);
        let pad = "x".repeat(bytes.saturating_sub(head.len() + tail.len()));
        head + &pad + &tail
    }

    /// Reads the end of an event; `None` for whatever else the server sends.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (rest, due) = number_at_end(bytes.strip_suffix(b"}}")?)?;
        let (_, number) = number_at_end(rest.strip_suffix(b",\"t\":")?)?;
        Some(Self {
            number,
            due: Moment(due),
        })
    }
}

fn number_at_end(bytes: &[u8]) -> Option<(&[u8], u64)> {
    let digits = bytes
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (rest, digits) = bytes.split_at_checked(bytes.len() - digits)?;
    Some((rest, std::str::from_utf8(digits).ok()?.parse().ok()?))
}

/// Returns the subscriptions of a client that wants the events for all.
pub(crate) fn wants_all() -> String {
    format!(r#"[{{"eventType":"{FOR_ALL}"}}]"#)
}

/// Returns the subscriptions of client `to`, which wants only its own events.
pub(crate) fn wants_own(to: usize) -> String {
    format!(r#"[{{"eventType":"{FOR_ONE}","oneOf":[{{"to":"{to}"}}]}}]"#)
}
