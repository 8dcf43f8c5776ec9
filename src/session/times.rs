//! When those are told and ended whose tokens expire.

use std::time::Duration;

use super::config::SessionConfig;
use crate::telemetry::{as_ms, spread};

const LONGEST_JITTER: Duration = Duration::from_secs(3_600);

/// When members are told and ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// How many milliseconds before the token's end a member is told.
    pub(super) notice_ms: i64,
    /// How many milliseconds after the token's end it may stay.
    pub(super) grace_ms: i64,
    /// Over how much more the ends are spread.
    pub(super) jitter: Duration,
}

impl Times {
    /// Reads the settings.
    pub(super) fn of(config: &SessionConfig) -> Self {
        Self {
            notice_ms: as_ms(config.session_expiry_notice),
            grace_ms: as_ms(config.session_expiry_grace),
            jitter: config.session_expiry_jitter.min(LONGEST_JITTER),
        }
    }

    /// Returns when a member, or a stay, ends, spread evenly by its number.
    pub(super) fn end_ms(&self, expires_ms: i64, number: u64) -> i64 {
        let jitter = self.jitter.mul_f64(spread(number));
        expires_ms
            .saturating_add(self.grace_ms)
            .saturating_add(as_ms(jitter))
    }
}
