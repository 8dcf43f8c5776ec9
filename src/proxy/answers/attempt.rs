//! Attempts to send a command with an `Idempotency-Key`, one after the other.

use serde::{Deserialize, Serialize};

use super::in_work::Working;
use super::key::IdempotencyKey;

/// Who carries out an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) print: String,
    pub(super) by: u64,
    pub(super) number: u64,
    pub(super) at_ms: i64,
}

/// Of how many attempts it is known that nothing was sent, or that their claims count no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Over {
    pub(super) attempts: u32,
}

/// An attempt that this instance wants to carry out.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) key: IdempotencyKey,
    /// Counts from one.
    pub(super) number: u32,
    pub(super) claim: Claim,
}

impl Attempt {
    /// Returns the name of its claim.
    pub(super) fn name(&self) -> String {
        self.key.attempt(self.number)
    }
}

/// The right to send a command, and that this is being done.
#[derive(Debug)]
pub(super) struct Won {
    attempt: Attempt,
    working: Working,
}

impl Won {
    /// An attempt that is ours.
    pub(super) const fn new(attempt: Attempt, working: Working) -> Self {
        Self { attempt, working }
    }

    /// Returns the attempt.
    pub(super) const fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// The command was not sent: from now on it may be sent again here, and when this is released, everywhere.
    pub(super) fn give_up(self) -> Attempt {
        drop(self.working);
        self.attempt
    }
}
