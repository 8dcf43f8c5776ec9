//! What all instances know of the clients that poll, kept in the shared state.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::LongPollConfig;
use crate::dispatch::Incarnation;
use crate::http::HttpError;
use crate::shared::StateLog;
use crate::subscription::Subscriptions;
use crate::telemetry::Tasks;
use crate::transport::records::{Records, SessionId};

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
        };
        self.records.keep(id, session).await?;
        Ok(id)
    }

    /// Returns a session that lives; waits a little for one that another instance has just made.
    ///
    /// Moves its end on, once half of its life is over; nobody waits for that.
    pub(super) async fn find(&self, id: SessionId) -> Option<Session> {
        let (session, is_half_over) = self.records.find(id).await?;
        if is_half_over {
            let (records, prolonged) = (self.records.clone(), session.clone());
            self.tasks.spawn("longpoll.prolong", async move {
                if let Err(error) = records.keep(id, prolonged).await {
                    tracing::debug!(
                        error = error.public(),
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
        self.records.known(id).map(|session| session.revision)
    }

    /// Replaces what a session wants.
    pub(super) async fn change(
        &self,
        id: SessionId,
        wanted: &Subscriptions,
    ) -> Result<(), HttpError> {
        let (mut session, _) = self.records.find(id).await.ok_or_else(gone)?;
        session.subscriptions = as_json(wanted);
        session.revision += 1;
        self.records.keep(id, session).await
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
