//! What all instances know of the clients that poll, kept in the shared state.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::LongPollConfig;
use crate::dispatch::Incarnation;
use crate::http::HttpError;
use crate::shared::{Records, StateLog};
use crate::subscription::Subscriptions;
use crate::telemetry::Tasks;
use crate::transport::session_id::{SessionId, key};

/// The kind of the session records in the shared state.
pub const STATE_KIND: &str = "longpoll";

/// What all instances know of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) subscriptions: serde_json::Value,
    /// Counts the changes of the subscriptions, from 1.
    pub(super) revision: u64,
    /// Where the session began.
    pub(super) start: String,
    /// Who it belongs to, as [`Guest::to_json`](crate::session::Guest::to_json) writes it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub(super) guest: serde_json::Value,
}

/// The sessions of the cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    records: Records<Session>,
    limit: usize,
    tasks: Tasks,
}

impl Sessions {
    pub(super) fn new(
        state: Arc<StateLog>,
        config: &LongPollConfig,
        own: Incarnation,
        tasks: Tasks,
    ) -> Self {
        Self {
            records: Records::new(state, STATE_KIND, config.longpoll_session_ttl, own),
            limit: config.max_longpoll_sessions,
            tasks,
        }
    }

    /// Starts a session at a cursor; all instances know it when this returns here.
    pub(super) async fn start(
        &self,
        subscriptions: &Subscriptions,
        start: String,
        guest: Option<serde_json::Value>,
    ) -> Result<SessionId, HttpError> {
        if self.records.count() >= self.limit {
            return Err(HttpError::too_many_requests(
                "too_many_sessions",
                "There are too many long-poll sessions.",
                Duration::from_secs(60),
            ));
        }
        let id = *uuid::Uuid::new_v4().as_bytes();
        let session = Session {
            subscriptions: as_json(subscriptions),
            revision: 1,
            start,
            guest: guest.unwrap_or_default(),
        };
        let kept = self.records.keep(&key(id), session).await;
        kept.map_err(HttpError::kafka_unavailable)?;
        Ok(id)
    }

    /// Returns a session that lives; waits a little for one that another instance has just made.
    ///
    /// Moves its end on, once half of its life is over; nobody waits for that.
    pub(super) async fn find(&self, id: SessionId) -> Option<Session> {
        let (session, is_half_over) = self.records.find(&key(id)).await?;
        if is_half_over {
            let records = self.records.clone();
            self.tasks.spawn("longpoll.prolong", async move {
                let mut written = None;
                let unchanged = |session: Session| {
                    let is_newer = written.is_none_or(|written| session.revision > written);
                    written = Some(session.revision);
                    is_newer.then_some(session)
                };
                if let Err(error) = records.update(&key(id), unchanged).await {
                    tracing::debug!(
                        %error,
                        "could not prolong a long-poll session"
                    );
                }
            });
        }
        Some(session)
    }

    /// Returns how often the subscriptions of a session were changed, as far as this instance knows; never
    /// waits.
    pub(super) fn revision(&self, id: SessionId) -> Option<u64> {
        self.records.known(&key(id)).map(|session| session.revision)
    }

    /// Replaces what a session wants, and who it belongs to where somebody is given. Returns false when it has ended.
    ///
    /// Its revision is higher than any before, also where another instance changed the session just now: else clients
    /// would not be told.
    pub(super) async fn change(
        &self,
        id: SessionId,
        wanted: &Subscriptions,
        guest: Option<serde_json::Value>,
    ) -> Result<bool, HttpError> {
        let wanted = as_json(wanted);
        let mut revision = 0;
        let change = |session: Session| {
            if session.revision < revision {
                return None;
            }
            revision = session.revision + 1;
            Some(Session {
                subscriptions: wanted.clone(),
                revision,
                start: session.start,
                guest: guest.clone().unwrap_or(session.guest),
            })
        };
        let changed = self.records.update(&key(id), change).await;
        changed.map_err(HttpError::kafka_unavailable)
    }

    /// Ends a session.
    pub(super) async fn end(&self, id: SessionId) {
        if let Err(error) = self.records.remove(&key(id)).await {
            tracing::debug!(%error, "a long-poll session could not be removed; it ends by itself");
        }
    }

    /// Removes the sessions that have ended; a dead instance's some time later than our own.
    pub(super) async fn remove_ended(&self) {
        self.records.remove_ended().await;
    }
}

fn as_json(subscriptions: &Subscriptions) -> serde_json::Value {
    serde_json::from_str(&subscriptions.to_json()).unwrap_or_default()
}

/// The answer to a request about a connection that has ended, as in RIG.
#[must_use]
pub fn gone() -> HttpError {
    HttpError::new(
        StatusCode::GONE,
        "connection_gone",
        "Connection no longer exists.",
    )
}

/// 403 for a token that is not that of the connection's owner.
pub(in crate::transport) fn foreign_token() -> HttpError {
    HttpError::new(
        StatusCode::FORBIDDEN,
        "foreign_connection",
        "The connection belongs to somebody else.",
    )
}
