//! Sizes that have to fit each other.

use super::ConfigError;
use super::bad_value;
use super::sources::Merged;
use crate::http::BodyMemory;

/// Sizes of which one has to have room for another, in bytes.
pub(super) struct Sizes {
    pub(super) replay_ring: usize,
    pub(super) outbox: usize,
    pub(super) bodies: usize,
    pub(super) command: usize,
    pub(super) submission: usize,
}

impl Sizes {
    /// Checks that each has the room that it needs.
    ///
    /// # Errors
    /// [`ConfigError`] names the one that is too small.
    pub(super) fn check(&self, merged: &Merged) -> Result<(), ConfigError> {
        let at_least = |id, bytes: usize, least, why: &str| {
            if bytes >= least {
                return Ok(());
            }
            let expected = format!("expected at least {why}, which is {least}");
            Err(bad_value::of(merged, id, &bytes.to_string(), expected))
        };
        at_least(
            "replay_ring_bytes",
            self.replay_ring,
            self.outbox,
            "OUTBOX_BYTES",
        )?;
        at_least(
            "http_max_bodies_bytes",
            self.bodies,
            BodyMemory::at_least_for(self.command.max(self.submission)),
            "four times the larger one of PROXY_MAX_COMMAND_BYTES and MAX_SUBMISSION_BYTES",
        )
    }
}
