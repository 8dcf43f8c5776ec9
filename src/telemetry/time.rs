//! Wall-clock time, for what is compared with timestamps of others; waiting uses `Instant`.

use std::time::Duration;

/// Returns the time as Unix milliseconds.
#[must_use]
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Returns a duration in milliseconds, the longest there is for one that does not fit.
#[must_use]
pub fn as_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Returns a number from 0 to 1 for each number, evenly spread however many there are: the golden ratio takes turns.
#[must_use]
pub fn spread(number: u64) -> f64 {
    let turn = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    f64::from(u32::try_from(turn).unwrap_or(0)) / f64::from(1_u32 << 24)
}

/// Writes a time in Unix milliseconds as RFC 3339 has it; the last one for what has no year of four digits.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms);
    time.unwrap_or(jiff::Timestamp::MAX).to_string()
}
