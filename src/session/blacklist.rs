//! Sessions that an operator has ended: all instances refuse them until they are forgotten.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;

use super::registry::Registry;
use crate::dispatch::{CloseReason, Incarnation};
use crate::shared::{RecordError, Records, StateLog};
use crate::telemetry::{Tasks, as_ms, now_ms};

/// The kind of the entries in the shared state.
const STATE_KIND: &str = "blacklist";
/// The longest name of a session, in bytes; it is the key of a record.
pub const MAX_SESSION_BYTES: usize = 1024;

/// What is kept of a session: that it is listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Listed {}

/// The sessions that are refused, in the shared state: they survive a restart of everything. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Blacklist {
    records: Records<Listed>,
    state: Arc<StateLog>,
}

impl Blacklist {
    /// Looks at the shared state.
    #[must_use]
    pub fn new(state: Arc<StateLog>, own: Incarnation) -> Self {
        let ttl = Duration::ZERO;
        let records = Records::new(Arc::clone(&state), STATE_KIND, ttl, own);
        Self { records, state }
    }

    /// Refuses a session for `validity`; when this returns, Kafka has it and this instance does.
    ///
    /// Where it is refused for longer already, that stays.
    ///
    /// # Errors
    /// [`RecordError`], when Kafka does not take it.
    ///
    /// # Cancel safety
    /// Once polled, the entry is on its way.
    pub async fn add(&self, session: &str, validity: Duration) -> Result<(), RecordError> {
        let known_ms = self.refused_until(session).unwrap_or(0);
        let expires_ms = now_ms().saturating_add(as_ms(validity)).max(known_ms);
        self.records
            .keep_until(session, Listed {}, expires_ms)
            .await
    }

    /// Admits a session again; it is no error when it was not refused.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    ///
    /// # Cancel safety
    /// Once polled, the removal is on its way: dropping the future gives up the answer only.
    pub async fn remove(&self, session: &str) -> Result<(), RecordError> {
        self.records.remove(session).await
    }

    /// Returns until when a session is refused, in Unix milliseconds, if it is.
    #[must_use]
    pub fn refused_until(&self, session: &str) -> Option<i64> {
        self.records
            .known_until(session)
            .map(|(_, expires_ms)| expires_ms)
    }

    /// Returns whether one of these sessions is refused.
    #[must_use]
    pub fn refuses(&self, sessions: &[Arc<str>]) -> bool {
        sessions
            .iter()
            .any(|session| self.refused_until(session).is_some())
    }

    /// Returns the sessions that are refused, each until when in Unix milliseconds, in the order of
    /// their names.
    #[must_use]
    pub fn list(&self) -> Vec<(String, i64)> {
        let living = self.records.living();
        let mut list: Vec<(String, i64)> = living
            .into_iter()
            .map(|(session, _, expires_ms)| (session, expires_ms))
            .collect();
        list.sort_unstable();
        list
    }

    /// Ends the connections of sessions that are listed, here or elsewhere, until the process stops.
    pub async fn watch(self, registry: Registry, tasks: Tasks) {
        let stopping = tasks.stopping();
        let mut changes = self.state.changes(STATE_KIND);
        while let Some(change) = stopping.run_until_cancelled(changes.recv()).await {
            match change {
                Ok(change) => self.end_if_listed(&registry, &change.key).await,
                // It is not known which were listed.
                Err(RecvError::Lagged(_)) => {
                    for (session, _) in self.list() {
                        self.end_if_listed(&registry, &session).await;
                    }
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn end_if_listed(&self, registry: &Registry, session: &str) {
        if self.refused_until(session).is_some() {
            registry
                .end_session(session, CloseReason::SessionKilled)
                .await;
        }
    }

    /// Removes the entries that have ended; to be called now and then.
    pub async fn remove_ended(&self) {
        self.records.remove_ended().await;
    }
}
