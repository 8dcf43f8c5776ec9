//! What all instances know of the clients that poll, kept in the shared state.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::LongPollConfig;
use crate::dispatch::Incarnation;
use crate::http::HttpError;
use crate::shared::{StateError, StateLog};
use crate::subscription::Subscriptions;
use crate::telemetry::{Tasks, now_ms};

/// The kind of the session records in the shared state.
pub const STATE_KIND: &str = "longpoll";

/// For how long another instance's write may take to arrive here.
const STATE_PATIENCE: Duration = Duration::from_secs(1);
/// How long after its end a session of a dead instance is removed by the others.
const OTHERS_PATIENCE_MS: i64 = 600_000;

/// The number of a session, which its token seals.
pub(super) type SessionId = [u8; 16];

/// What all instances know of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) subscriptions: serde_json::Value,
    /// Counts the changes of the subscriptions, from 1.
    pub(super) revision: u64,
    /// Where the session began.
    pub(super) start: String,
    expires_ms: i64,
    /// The incarnation that made the session and removes it at its end.
    made_by: u64,
}

/// The sessions of the cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    state: Arc<StateLog>,
    config: LongPollConfig,
    own: Incarnation,
    tasks: Tasks,
}

impl Sessions {
    pub(super) const fn new(
        state: Arc<StateLog>,
        config: LongPollConfig,
        own: Incarnation,
        tasks: Tasks,
    ) -> Self {
        Self {
            state,
            config,
            own,
            tasks,
        }
    }

    /// Starts a session at a cursor; all instances know it when this returns here.
    pub(super) async fn start(
        &self,
        subscriptions: &Subscriptions,
        start: String,
    ) -> Result<SessionId, HttpError> {
        if self.state.count(STATE_KIND) >= self.config.max_longpoll_sessions {
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
            expires_ms: self.expiry(),
            made_by: self.own.0,
        };
        self.keep(id, &session).await?;
        Ok(id)
    }

    /// Returns a session that lives; waits a little for one that another instance has just made.
    pub(super) async fn find(&self, id: SessionId) -> Option<Session> {
        let key = state_key(id);
        let found = tokio::time::timeout(STATE_PATIENCE, async {
            loop {
                if let Some(value) = self.state.get(STATE_KIND, &key) {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let session: Session = serde_json::from_slice(&found.await.ok()?).ok()?;
        (session.expires_ms > now_ms()).then_some(session)
    }

    /// Replaces what a session wants.
    pub(super) async fn change(
        &self,
        id: SessionId,
        wanted: &Subscriptions,
    ) -> Result<(), HttpError> {
        let mut session = self.find(id).await.ok_or_else(gone)?;
        session.subscriptions = as_json(wanted);
        session.revision += 1;
        self.keep(id, &session).await
    }

    /// Moves the end of a session on, once half of its life is over; the poll does not wait for it.
    pub(super) fn prolong(&self, id: SessionId, session: &Session) {
        let expires_ms = self.expiry();
        let half_ms = i64::try_from(self.config.longpoll_session_ttl.as_millis() / 2).unwrap_or(0);
        if session.expires_ms > expires_ms - half_ms {
            return;
        }
        let prolonged = Session {
            expires_ms,
            ..session.clone()
        };
        let this = self.clone();
        self.tasks.spawn("longpoll.prolong", async move {
            if let Err(error) = this.keep(id, &prolonged).await {
                tracing::debug!(
                    error = error.public(),
                    "could not prolong a long-poll session"
                );
            }
        });
    }

    /// Removes the sessions that have ended; a dead instance's some time later than our own.
    pub(super) async fn remove_ended(&self) {
        let now_ms = now_ms();
        let mut ended = Vec::new();
        self.state.for_each(STATE_KIND, |key, value| {
            let Ok(session) = serde_json::from_slice::<Session>(value) else {
                return;
            };
            let patience_ms = if session.made_by == self.own.0 {
                0
            } else {
                OTHERS_PATIENCE_MS
            };
            if session.expires_ms + patience_ms < now_ms {
                ended.push(key.to_owned());
            }
        });
        for key in ended {
            if let Err(error) = self.state.remove(STATE_KIND, &key).await {
                tracing::warn!(%error, "could not remove a long-poll session that has ended");
                return;
            }
        }
    }

    async fn keep(&self, id: SessionId, session: &Session) -> Result<(), HttpError> {
        let value = serde_json::to_vec(session).map_err(HttpError::internal)?;
        self.state
            .put(STATE_KIND, &state_key(id), &value)
            .await
            .map_err(unavailable)
    }

    fn expiry(&self) -> i64 {
        let ttl_ms = i64::try_from(self.config.longpoll_session_ttl.as_millis());
        now_ms().saturating_add(ttl_ms.unwrap_or(i64::MAX))
    }
}

fn as_json(subscriptions: &Subscriptions) -> serde_json::Value {
    serde_json::from_str(&subscriptions.to_json()).unwrap_or_default()
}

fn state_key(id: SessionId) -> String {
    uuid::Uuid::from_bytes(id).simple().to_string()
}

/// Reads the key of a session in the shared state.
pub(super) fn session_id(key: &str) -> Option<SessionId> {
    uuid::Uuid::parse_str(key).ok().map(|id| *id.as_bytes())
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

fn unavailable(error: StateError) -> HttpError {
    HttpError::unavailable(
        "kafka_unavailable",
        "Kafka cannot be reached.",
        Duration::from_secs(5),
    )
    .with_cause(error)
}
