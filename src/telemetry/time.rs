//! Wall-clock time, for what is compared with timestamps of others; waiting uses `Instant`.

/// Returns the time as Unix milliseconds.
#[must_use]
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
