//! Who carries out a command with an `Idempotency-Key`, agreed on by all instances in the shared state.
//!
//! ```text
//! claim of attempt 1: the first one written is in force ─▶ send ─▶ sent: what the client gets, for IDEMPOTENCY_TTL
//!                                                           └─ failed: attempt 1 is over, attempt 2 can be claimed
//! a claim whose instance is gone before it was sent: after a while the next attempt can be claimed
//! ```
//!
//! # Invariants
//! - A claim is never changed, so that all instances agree on the first one; what was sent is a record of its own, and
//!   so is which attempts are over: a claim that is written once more, by who did not know of its end, counts no more.
//! - Which of its own claims count this instance knows by itself: those under which it is sending.
//! - What was sent, and which attempts are over, is looked for again after a claim was won: everything written before
//!   the claim is known then.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::WrittenAnswer;
use super::attempt::{Attempt, Claim, Over, Won};
use super::correlation::Correlation;
use super::in_work::InWork;
use super::key::IdempotencyKey;
use super::keys::Keys;
use super::places::Places;
use super::refusals::{in_progress, no_key, reused};
use crate::dispatch::Incarnation;
use crate::http::HttpError;
use crate::shared::{RecordError, Records, StateLog};
use crate::telemetry::now_ms;

/// How long a command that is being sent is waited for.
const PROGRESS_LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const PROGRESS_LOOK: Duration = Duration::from_millis(25);
/// How long the shared state may take to be read.
const STATE_LIMIT: Duration = Duration::from_secs(1);
/// After how long a claim of an instance that is gone counts no more.
const GRACE_MS: i64 = 15_000;
/// After how long one counts no more whose instance is there, but could not say how it went.
const LONG_GRACE: Duration = Duration::from_secs(120);
/// How long a claim is kept: longer than it counts.
pub(super) const CLAIM_TTL: Duration = Duration::from_secs(180);
/// For how long it is known which attempts are over: longer than their claims are kept.
const OVER_TTL: Duration = Duration::from_secs(360);
/// How often it is tried again to write how a command went.
const RETRY: Duration = Duration::from_secs(1);
/// How many commands that were not sent may wait to be released; of more the others learn by [`LONG_GRACE`].
const MAX_RELEASING: usize = 1_000;

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
    /// The shared state did not say whose it is, so that nothing may be sent. The attempt is to be released, as it may
    /// be ours.
    Unsure(Attempt, HttpError),
}

/// The attempts of all instances to send commands, by their claims.
#[derive(Debug, Clone)]
pub(super) struct Attempts {
    state: Arc<StateLog>,
    claims: Records<Claim>,
    sent: Records<SentCommand>,
    ttl: Duration,
    over: Records<Over>,
    keys: Keys,
    in_work: InWork,
    releasing: Arc<Semaphore>,
    own: Incarnation,
}

impl Attempts {
    /// Commands are known for `ttl` after they were sent: longer than their claims, which are known for three minutes.
    /// There are `places` for their keys.
    pub(super) fn new(
        state: Arc<StateLog>,
        ttl: Duration,
        places: Places,
        own: Incarnation,
    ) -> Self {
        Self {
            keys: Keys::new(places),
            ttl,
            claims: Records::new(Arc::clone(&state), "command-claim", CLAIM_TTL, own),
            sent: Records::new(Arc::clone(&state), "command-sent", ttl, own),
            over: Records::new(Arc::clone(&state), "command-over", OVER_TTL, own),
            in_work: InWork::default(),
            releasing: Arc::new(Semaphore::new(MAX_RELEASING)),
            state,
            own,
        }
    }

    /// Claims a command under a `number` that no other claim of this instance has, or finds it sent. Waits for another
    /// instance or request that is sending it, as long as that `is_wanted`. `is_alive` says whether an instance is
    /// there.
    ///
    /// # Errors
    /// 422 when the command is another one than before under the same key, 409 when it is still being sent, 503 when
    /// the shared state cannot be read, or too many commands are
    /// known, 429 when too many of this caller are: then nothing was claimed.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a claim that counts at other instances for two minutes, though nothing is sent.
    pub(super) async fn claim(
        &self,
        key: &IdempotencyKey,
        number: u64,
        is_alive: impl Fn(Incarnation) -> bool,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Claimed, HttpError> {
        let loaded = tokio::time::timeout(STATE_LIMIT, self.state.loaded()).await;
        loaded.map_err(|_elapsed| HttpError::state_not_read())?;
        let deadline = Instant::now() + PROGRESS_LIMIT;
        let mut attempt = 1;
        loop {
            if let Some(sent) = self.sent.known(&key.name) {
                check(&sent.print, key)?;
                return Ok(Claimed::Sent(sent));
            }
            attempt = attempt.max(self.over(key) + 1);
            let name = key.attempt(attempt);
            let Some(claim) = self.claims.known(&name) else {
                if let Some(claimed) = self.propose(key, attempt, number).await? {
                    return Ok(claimed);
                }
                if self.claims.known(&name).is_none() {
                    // One that has ended, and was not removed yet.
                    attempt += 1;
                }
                continue;
            };
            if self.counts_no_more(&claim, &is_alive) {
                attempt += 1;
                continue;
            }
            check(&claim.print, key)?;
            if Instant::now() >= deadline || !is_wanted() {
                return Err(in_progress());
            }
            tokio::time::sleep(PROGRESS_LOOK).await;
        }
    }

    /// The command was sent: the same key gets the same answer from now on. Tries until that is written, for some
    /// minutes, or until this instance is `stopping`; then the command may be sent again, under the same event id.
    pub(super) async fn sent(
        &self,
        won: Won,
        number: u64,
        done: Option<WrittenAnswer>,
        stopping: &CancellationToken,
    ) {
        let attempt = won.attempt();
        let keep = || {
            let sent = SentCommand {
                print: attempt.claim.print.clone(),
                by: self.own.0,
                number,
                done: done.clone(),
            };
            self.sent.keep(&attempt.key.name, sent)
        };
        if let Err(error) = until_written(keep, stopping).await {
            tracing::warn!(%error, "a command was sent, but that could not be kept; it may be sent twice");
        }
        self.keys.hold(won.give_up().place, self.ttl);
    }

    /// The command was not sent: whoever tries again may send it. Here that holds at once, at the other instances when
    /// it is written, which is tried for some minutes, or until this instance is `stopping`.
    pub(super) async fn release(&self, attempt: Attempt, stopping: &CancellationToken) {
        let Ok(_place) = self.releasing.try_acquire() else {
            return;
        };
        let released = until_written(|| self.end(&attempt), stopping).await;
        if let Err(error) = released {
            tracing::warn!(%error, "a command was not sent, and can be tried again at other instances only after a while");
        }
        self.keys.hold(attempt.place, OVER_TTL);
    }

    /// Removes what has ended.
    pub(super) async fn remove_ended(&self) {
        self.claims.remove_ended().await;
        self.sent.remove_ended().await;
        self.over.remove_ended().await;
        self.keys.remove_ended(std::time::Instant::now());
    }

    /// Tries to have an attempt. Returns `None` when another one has it, or it is known by now that there is none to
    /// have.
    async fn propose(
        &self,
        key: &IdempotencyKey,
        number: u32,
        claim_number: u64,
    ) -> Result<Option<Claimed>, HttpError> {
        let known = self.sent.count() + self.over.count();
        let place = self.keys.take(&key.party, known).map_err(no_key)?;
        let attempt = Attempt {
            key: key.clone(),
            number,
            claim: Claim {
                print: key.fingerprint.clone(),
                by: self.own.0,
                number: claim_number,
                at_ms: now_ms(),
            },
            place,
        };
        // From before it is written, so that it counts here from then on.
        let working = self.in_work.begin(claim_number);
        Ok(match self.try_to_have(&attempt).await {
            Ok(true) => Some(Claimed::Won(Won::new(attempt, working))),
            Ok(false) => None,
            Err(error) => Some(Claimed::Unsure(
                attempt,
                HttpError::kafka_unavailable(error),
            )),
        })
    }

    async fn try_to_have(&self, attempt: &Attempt) -> Result<bool, RecordError> {
        let (name, key) = (attempt.name(), &attempt.key);
        let agreed = self.claims.agree(&name, attempt.claim.clone()).await?;
        let before = attempt.number - 1;
        if agreed != attempt.claim
            || self.sent.known(&key.name).is_some()
            || self.over(key) > before
        {
            return Ok(false);
        }
        // As long as this one counts, nobody may begin with an attempt whose claim is not kept any more.
        let is_told = |(over, until_ms): (Over, i64)| {
            let left_ms = until_ms.saturating_sub(now_ms());
            over.attempts >= before && u128::from(left_ms.unsigned_abs()) > CLAIM_TTL.as_millis()
        };
        if before > 0 && !self.over.known_until(&key.name).is_some_and(is_told) {
            self.over.keep(&key.name, Over { attempts: before }).await?;
        }
        Ok(true)
    }

    /// Tells that an attempt is over, if it was ours.
    async fn end(&self, attempt: &Attempt) -> Result<(), RecordError> {
        let (name, key) = (attempt.name(), &attempt.key);
        if self.over(key) >= attempt.number {
            return Ok(());
        }
        if self.claims.agree(&name, attempt.claim.clone()).await? == attempt.claim {
            let attempts = attempt.number;
            self.over.keep(&key.name, Over { attempts }).await?;
            self.claims.remove(&name).await?;
        }
        Ok(())
    }

    /// Returns how many attempts are over, as all instances know.
    fn over(&self, key: &IdempotencyKey) -> u32 {
        self.over.known(&key.name).map_or(0, |over| over.attempts)
    }

    fn counts_no_more(&self, claim: &Claim, is_alive: impl Fn(Incarnation) -> bool) -> bool {
        let by = Incarnation(claim.by);
        if by == self.own {
            return !self.in_work.contains(claim.number);
        }
        let long_grace_ms = i64::try_from(LONG_GRACE.as_millis()).unwrap_or(i64::MAX);
        let grace_ms = if is_alive(by) {
            long_grace_ms
        } else {
            GRACE_MS
        };
        now_ms() - claim.at_ms > grace_ms
    }
}

/// Writes until that succeeds, is of no use any more, or `stopping` is cancelled; once at least.
async fn until_written<Fut>(
    mut write: impl FnMut() -> Fut,
    stopping: &CancellationToken,
) -> Result<(), RecordError>
where
    Fut: Future<Output = Result<(), RecordError>>,
{
    let deadline = Instant::now() + LONG_GRACE;
    loop {
        let written = write().await;
        if written.is_ok() || Instant::now() >= deadline {
            return written;
        }
        let pause = stopping.run_until_cancelled(tokio::time::sleep(RETRY));
        if pause.await.is_none() {
            return written;
        }
    }
}

fn check(print: &str, key: &IdempotencyKey) -> Result<(), HttpError> {
    if print == key.fingerprint {
        Ok(())
    } else {
        Err(reused())
    }
}
