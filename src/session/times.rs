//! When those are told and ended whose tokens expire.

use super::config::SessionConfig;
use crate::telemetry::as_ms;

/// When members are told and ended, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// How long before the token's end a member is told.
    pub(super) notice_ms: i64,
    /// How long after the token's end it may stay.
    pub(super) grace_ms: i64,
    /// Over how much more the ends are spread.
    pub(super) jitter_ms: i64,
}

impl Times {
    /// Reads the settings.
    pub(super) fn of(config: &SessionConfig) -> Self {
        Self {
            notice_ms: as_ms(config.session_expiry_notice),
            grace_ms: as_ms(config.session_expiry_grace),
            jitter_ms: as_ms(config.session_expiry_jitter).min(3_600_000),
        }
    }

    /// Returns when a member, or a stay, ends, spread evenly by its number.
    pub(super) fn end_ms(&self, expires_ms: i64, number: u64) -> i64 {
        let spread = i64::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).unwrap_or(0);
        let jitter_ms = spread * self.jitter_ms / (1 << 24);
        expires_ms
            .saturating_add(self.grace_ms)
            .saturating_add(jitter_ms)
    }
}
