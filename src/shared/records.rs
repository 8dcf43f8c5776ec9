//! Records in the shared state that end by themselves.
//!
//! ```text
//! keep ─▶ StateLog ─▶ all instances: known, find
//! at its end: ignored at once by everybody, removed by whoever made it, or by the others some time later
//! ```

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{StateError, StateLog};
use crate::dispatch::Incarnation;
use crate::telemetry::now_ms;

/// For how long another instance's write may take to arrive here.
const STATE_PATIENCE: Duration = Duration::from_secs(1);
/// How long after its end a record of a dead instance is removed by the others.
const OTHERS_PATIENCE_MS: i64 = 600_000;

/// How many records that have ended are removed at the same time.
const REMOVED_AT_ONCE: usize = 100;

/// A record with its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Lasting<T> {
    #[serde(flatten)]
    content: T,
    expires_ms: i64,
    /// The incarnation that made the record and removes it at its end.
    made_by: u64,
}

impl<T: DeserializeOwned> Lasting<T> {
    /// Reads a record; `None` if it has ended.
    fn living(value: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(value).ok()?;
        (record.expires_ms > now_ms()).then_some(record)
    }
}

/// The end of a record, without the rest.
#[derive(Deserialize)]
struct Ending {
    expires_ms: i64,
    made_by: u64,
}

/// Why a record could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The shared state does not take it.
    #[error(transparent)]
    State(#[from] StateError),
    /// It cannot be written as JSON.
    #[error("the record cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// The records of one kind. Cheap to clone.
#[derive(Debug)]
pub struct Records<T> {
    state: Arc<StateLog>,
    kind: &'static str,
    ttl: Duration,
    own: Incarnation,
    content: PhantomData<fn() -> T>,
}

impl<T> Clone for Records<T> {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            content: PhantomData,
            ..*self
        }
    }
}

impl<T: Serialize + DeserializeOwned> Records<T> {
    /// Records of `kind` that live for `ttl` after they were last kept; `own` made those that are kept here.
    #[must_use]
    pub const fn new(
        state: Arc<StateLog>,
        kind: &'static str,
        ttl: Duration,
        own: Incarnation,
    ) -> Self {
        Self {
            state,
            kind,
            ttl,
            own,
            content: PhantomData,
        }
    }

    /// Returns how many records of the kind there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state.count(self.kind)
    }

    /// Keeps a record from now on; all instances know it when this returns here.
    ///
    /// # Errors
    /// [`RecordError`], when Kafka does not take it.
    ///
    /// # Cancel safety
    /// Once polled, the record is on its way: dropping the future gives up the answer only.
    pub async fn keep(&self, key: &str, content: T) -> Result<(), RecordError> {
        self.keep_until(key, content, self.expiry_ms()).await
    }

    /// As [`keep`](Self::keep), until `expires_ms` in Unix milliseconds.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    ///
    /// # Cancel safety
    /// As [`keep`](Self::keep).
    pub async fn keep_until(
        &self,
        key: &str,
        content: T,
        expires_ms: i64,
    ) -> Result<(), RecordError> {
        let value = self.lasting(content, expires_ms)?;
        Ok(self.state.put(self.kind, key, &value).await?)
    }

    /// Changes a record that lives, and keeps it from now on. `change` gets the record as it is known here, and returns
    /// what it is to become; and again, whenever that replaced what another instance had written of which this one did
    /// not know yet: then it gets that, and returns `None` if its own is to stand. Returns false for a record that has
    /// ended.
    ///
    /// Two who each want to have the last word would go on for ever: `change` has to say `None` for all but what is
    /// newer in an order that both know.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    ///
    /// # Cancel safety
    /// Dropping the future may leave the change made, and another instance's lost.
    pub async fn update(
        &self,
        key: &str,
        mut change: impl FnMut(T) -> Option<T>,
    ) -> Result<bool, RecordError> {
        let Some(mut found) = self.state.get(self.kind, key) else {
            return Ok(false);
        };
        let mut expected = found.clone();
        loop {
            let Some(record) = Lasting::living(&found) else {
                return Ok(false);
            };
            let Some(changed) = change(record.content) else {
                return Ok(true);
            };
            let value = self.lasting(changed, self.expiry_ms())?;
            match self.state.replace(self.kind, key, &value).await? {
                Some(replaced) if replaced == expected => return Ok(true),
                Some(unknown) => (found, expected) = (unknown, value.into()),
                // It was removed meanwhile, and so it is to be.
                None => {
                    self.remove(key).await?;
                    return Ok(false);
                }
            }
        }
    }

    /// Keeps a record where none was kept under this key, and returns the one that all instances agree
    /// on: this one, or the one that was faster.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the record is kept.
    pub async fn agree(&self, key: &str, content: T) -> Result<T, RecordError> {
        let proposal = self.lasting(content, self.expiry_ms())?;
        let agreed = self.state.agree(self.kind, key, &proposal).await?;
        Ok(serde_json::from_slice::<Lasting<T>>(&agreed)?.content)
    }

    /// Removes a record; it is no error when there is none.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    ///
    /// # Cancel safety
    /// Once polled, the removal is on its way: dropping the future gives up the answer only.
    pub async fn remove(&self, key: &str) -> Result<(), RecordError> {
        Ok(self.state.remove(self.kind, key).await?)
    }

    fn lasting(&self, content: T, expires_ms: i64) -> Result<Vec<u8>, RecordError> {
        Ok(serde_json::to_vec(&Lasting {
            content,
            expires_ms,
            made_by: self.own.0,
        })?)
    }

    /// Returns a record that lives and has arrived here.
    #[must_use]
    pub fn known(&self, key: &str) -> Option<T> {
        self.known_until(key).map(|(content, _)| content)
    }

    /// Returns a record that lives and has arrived here, and its end in Unix milliseconds.
    #[must_use]
    pub fn known_until(&self, key: &str) -> Option<(T, i64)> {
        let value = self.state.get(self.kind, key)?;
        Lasting::living(&value).map(|record| (record.content, record.expires_ms))
    }

    /// Returns the records that live and have arrived here, each with its key and its end in Unix
    /// milliseconds, in no order.
    #[must_use]
    pub fn living(&self) -> Vec<(String, T, i64)> {
        let mut living = Vec::new();
        self.state.for_each(self.kind, |key, value| {
            if let Some(record) = Lasting::living(value) {
                living.push((key.to_owned(), record.content, record.expires_ms));
            }
        });
        living
    }

    /// Returns a record that lives, and whether half of its life is over; waits a little for one
    /// that another instance has just made.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn find(&self, key: &str) -> Option<(T, bool)> {
        let found = tokio::time::timeout(STATE_PATIENCE, async {
            loop {
                if let Some(value) = self.state.get(self.kind, key) {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let record: Lasting<T> = Lasting::living(&found.await.ok()?)?;
        let half_ms = i64::try_from(self.ttl.as_millis() / 2).unwrap_or(0);
        let is_half_over = record.expires_ms <= self.expiry_ms() - half_ms;
        Some((record.content, is_half_over))
    }

    /// Removes the records that have ended; a dead instance's some time later than our own.
    pub async fn remove_ended(&self) {
        let now_ms = now_ms();
        let mut ended = Vec::new();
        self.state.for_each(self.kind, |key, value| {
            let Ok(record) = serde_json::from_slice::<Ending>(value) else {
                return;
            };
            let is_own = record.made_by == self.own.0;
            let patience_ms = if is_own { 0 } else { OTHERS_PATIENCE_MS };
            if record.expires_ms + patience_ms < now_ms {
                ended.push(key.to_owned());
            }
        });
        for keys in ended.chunks(REMOVED_AT_ONCE) {
            let removed = keys.iter().map(|key| self.state.remove(self.kind, key));
            if let Err(error) = try_join_all(removed).await {
                tracing::warn!(%error, kind = self.kind, "could not remove a record that has ended");
                return;
            }
        }
    }

    fn expiry_ms(&self) -> i64 {
        let ttl_ms = i64::try_from(self.ttl.as_millis());
        now_ms().saturating_add(ttl_ms.unwrap_or(i64::MAX))
    }
}
