//! Who carries out a command with an `Idempotency-Key`, agreed on by all instances in the shared state.
//!
//! ```text
//! claim: the first one written is in force ─▶ send ─▶ sent: what the client gets, for IDEMPOTENCY_TTL
//!                                              └─ failed: the claim is removed
//! a claim whose instance is gone before it was sent: the next attempt is claimed
//! ```
//!
//! # Invariants
//! - A claim is never changed, so that all instances agree on the first one; what was sent is a record of its own.
//! - What was sent is looked for again after a claim was won: everything written before the claim is known then.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::answer::WrittenAnswer;
use super::correlation::Correlation;
use super::key::IdempotencyKey;
use crate::dispatch::Incarnation;
use crate::http::HttpError;
use crate::shared::{Records, StateLog};
use crate::telemetry::now_ms;

/// Commands with a key that are known at the same time.
const MAX_COMMANDS: usize = 100_000;
/// How long a command that is being sent is waited for.
const PROGRESS_LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const PROGRESS_LOOK: Duration = Duration::from_millis(25);
/// How long the shared state may take to be read.
const STATE_LIMIT: Duration = Duration::from_secs(1);
/// After how long a claim of an instance that is gone counts no more.
const GRACE_MS: i64 = 15_000;
/// After how long one counts no more whose instance is there, but could not say how it went.
const LONG_GRACE_MS: i64 = 120_000;
/// How long a claim is kept: longer than it counts.
const CLAIM_TTL: Duration = Duration::from_secs(180);

/// An attempt to send a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    print: String,
    by: u64,
    number: u64,
    at_ms: i64,
}

/// A command that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentCommand {
    print: String,
    by: u64,
    number: u64,
    /// The answer, where it is known and small; else it is kept by the instance, under the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) done: Option<WrittenAnswer>,
}

impl SentCommand {
    /// Returns the command under which the answer is kept.
    pub(super) const fn correlation(&self) -> Correlation {
        Correlation {
            by: Incarnation(self.by),
            number: self.number,
        }
    }
}

/// What became of a claim.
#[derive(Debug)]
pub(super) enum Claimed {
    /// The command is to be sent now, by us.
    Won(Won),
    /// It was sent before.
    Sent(SentCommand),
}

/// The right to send a command.
#[derive(Debug)]
pub(super) struct Won {
    key: IdempotencyKey,
    claim: String,
}

/// The claims of all instances.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    state: Arc<StateLog>,
    claims: Records<Claim>,
    sent: Records<SentCommand>,
    own: Incarnation,
}

impl Claims {
    /// Commands are known for `ttl` after they were sent.
    pub(super) fn new(state: Arc<StateLog>, ttl: Duration, own: Incarnation) -> Self {
        Self {
            claims: Records::new(Arc::clone(&state), "command-claim", CLAIM_TTL, own),
            sent: Records::new(Arc::clone(&state), "command-sent", ttl, own),
            state,
            own,
        }
    }

    /// Claims a command under a `number` that no other claim of this instance has, or finds it sent. Waits for another
    /// instance or request that is sending it. `is_alive` says whether an instance is there.
    ///
    /// # Errors
    /// 422 when the command is another one than before under the same key, 409 when it is still being sent, 503 when
    /// the shared state cannot be read or written, or too many commands are known.
    pub(super) async fn claim(
        &self,
        key: &IdempotencyKey,
        number: u64,
        is_alive: impl Fn(Incarnation) -> bool,
    ) -> Result<Claimed, HttpError> {
        let loaded = tokio::time::timeout(STATE_LIMIT, self.state.loaded()).await;
        loaded.map_err(|_elapsed| HttpError::state_not_read())?;
        let deadline = Instant::now() + PROGRESS_LIMIT;
        let is_over = |claim: &Claim| {
            let grace_ms = if is_alive(Incarnation(claim.by)) {
                LONG_GRACE_MS
            } else {
                GRACE_MS
            };
            now_ms() - claim.at_ms > grace_ms
        };
        let mut attempt = 1;
        loop {
            if let Some(sent) = self.sent.known(&key.name) {
                check(&sent.print, key)?;
                return Ok(Claimed::Sent(sent));
            }
            let name = format!("{}.{attempt}", key.name);
            let claim = match self.claims.known(&name) {
                Some(claim) => claim,
                None => {
                    let agreed = self.propose(&name, key, number).await?;
                    // What was sent before the claim was written is known only now.
                    if self.is_own(&agreed, number) && self.sent.known(&key.name).is_none() {
                        let key = key.clone();
                        return Ok(Claimed::Won(Won { key, claim: name }));
                    }
                    agreed
                }
            };
            check(&claim.print, key)?;
            if is_over(&claim) {
                attempt += 1;
            } else if Instant::now() >= deadline {
                return Err(in_progress());
            } else {
                tokio::time::sleep(PROGRESS_LOOK).await;
            }
        }
    }

    /// The command was sent: the same key gets the same answer from now on. What was done is done, so that a failure
    /// is only logged: then the command may be sent again after a while, under the same event id.
    pub(super) async fn sent(&self, won: &Won, number: u64, done: Option<WrittenAnswer>) {
        let sent = SentCommand {
            print: won.key.fingerprint.clone(),
            by: self.own.0,
            number,
            done,
        };
        if let Err(error) = self.sent.keep(&won.key.name, sent).await {
            tracing::warn!(%error, "a command was sent, but that could not be kept; it may be sent twice");
        }
    }

    /// The command was not sent: whoever tries again may send it.
    pub(super) async fn release(&self, won: &Won) {
        if let Err(error) = self.claims.remove(&won.claim).await {
            tracing::warn!(%error, "a command was not sent, and can be tried again only after a while");
        }
    }

    /// Removes what has ended.
    pub(super) async fn remove_ended(&self) {
        self.claims.remove_ended().await;
        self.sent.remove_ended().await;
    }

    /// Returns the claim that is in force: this one, or one that was faster.
    async fn propose(
        &self,
        name: &str,
        key: &IdempotencyKey,
        number: u64,
    ) -> Result<Claim, HttpError> {
        if self.sent.count() >= MAX_COMMANDS {
            return Err(HttpError::unavailable(
                "too_many_keys",
                "Too many commands with an Idempotency-Key are known.",
                Duration::from_secs(60),
            ));
        }
        let claim = Claim {
            print: key.fingerprint.clone(),
            by: self.own.0,
            number,
            at_ms: now_ms(),
        };
        let agreed = self.claims.agree(name, claim).await;
        agreed.map_err(HttpError::kafka_unavailable)
    }

    fn is_own(&self, claim: &Claim, number: u64) -> bool {
        (claim.by, claim.number) == (self.own.0, number)
    }
}

fn check(print: &str, key: &IdempotencyKey) -> Result<(), HttpError> {
    if print == key.fingerprint {
        return Ok(());
    }
    Err(HttpError::new(
        http::StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency_key_reused",
        "This Idempotency-Key was used for another request.",
    ))
}

fn in_progress() -> HttpError {
    HttpError::new(
        http::StatusCode::CONFLICT,
        "command_in_progress",
        "A request with this Idempotency-Key is still in progress.",
    )
    .with_retry_after(Duration::from_secs(1))
}
