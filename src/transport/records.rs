//! Records in the shared state that end by themselves: what all instances know of a session.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::dispatch::Incarnation;
use crate::http::HttpError;
use crate::shared::{StateError, StateLog};
use crate::telemetry::now_ms;

/// For how long another instance's write may take to arrive here.
const STATE_PATIENCE: Duration = Duration::from_secs(1);
/// How long after its end a record of a dead instance is removed by the others.
const OTHERS_PATIENCE_MS: i64 = 600_000;

/// The number of a session, which its token seals.
pub(super) type SessionId = [u8; 16];

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

/// The records of one kind. Cheap to clone.
#[derive(Debug)]
pub(super) struct Records<T> {
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
    /// Records of `kind` that live for `ttl` after they were last kept.
    pub(super) const fn new(
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
    pub(super) fn count(&self) -> usize {
        self.state.count(self.kind)
    }

    /// Keeps a record from now on; all instances know it when this returns here.
    ///
    /// # Errors
    /// 503 when Kafka does not take it.
    pub(super) async fn keep(&self, id: SessionId, content: T) -> Result<(), HttpError> {
        let record = Lasting {
            content,
            expires_ms: self.expiry_ms(),
            made_by: self.own.0,
        };
        let value = serde_json::to_vec(&record).map_err(HttpError::internal)?;
        let put = self.state.put(self.kind, &key(id), &value).await;
        put.map_err(unavailable)
    }

    /// Returns a record that lives and has arrived here.
    pub(super) fn known(&self, id: SessionId) -> Option<T> {
        let value = self.state.get(self.kind, &key(id))?;
        Lasting::living(&value).map(|record| record.content)
    }

    /// Returns a record that lives, and whether half of its life is over; waits a little for one
    /// that another instance has just made.
    pub(super) async fn find(&self, id: SessionId) -> Option<(T, bool)> {
        let key = key(id);
        let found = tokio::time::timeout(STATE_PATIENCE, async {
            loop {
                if let Some(value) = self.state.get(self.kind, &key) {
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
    pub(super) async fn remove_ended(&self) {
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
        for key in ended {
            if let Err(error) = self.state.remove(self.kind, &key).await {
                tracing::warn!(%error, kind = self.kind, "could not remove a session that has ended");
                return;
            }
        }
    }

    fn expiry_ms(&self) -> i64 {
        let ttl_ms = i64::try_from(self.ttl.as_millis());
        now_ms().saturating_add(ttl_ms.unwrap_or(i64::MAX))
    }
}

fn unavailable(error: StateError) -> HttpError {
    HttpError::unavailable(
        "kafka_unavailable",
        "Kafka cannot be reached.",
        Duration::from_secs(5),
    )
    .with_cause(error)
}

fn key(id: SessionId) -> String {
    uuid::Uuid::from_bytes(id).simple().to_string()
}

/// Reads the key of a session in the shared state.
pub(super) fn session_id(key: &str) -> Option<SessionId> {
    uuid::Uuid::parse_str(key).ok().map(|id| *id.as_bytes())
}
