//! WebSockets whose clients acknowledge what they got: at least once, also over a lost connection.
//!
//! ```text
//! open ─▶ session in the shared state: the cursor that counts as acknowledged
//! rig.ack ─▶ the same, at most once a second
//! open with session ─▶ resumes after the last acknowledged cursor, at any instance
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::WS_WITH_CURSORS;
use super::beginning::Beginning;
use super::session_id::{SessionId, key};
use super::streams::{Streams, WsOpening, not_now};
use crate::dispatch::{ControlEvent, Start, Token, TokenKey};
use crate::event::Cursor;
use crate::http::{HttpError, Query, Reply, Request};
use crate::shared::{Records, StateLog};

/// The kind of the session records in the shared state.
const STATE_KIND: &str = "acknowledged";
/// How often an acknowledgement of one session is written at most.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// How long it may take to find out where a session begins.
const BEGIN_LIMIT: Duration = Duration::from_secs(5);

/// The limits of acknowledged sessions.
#[derive(Debug, Clone, clap::Args)]
pub struct AcknowledgementConfig {
    /// Time that a WebSocket session with acknowledgements lives after the last one
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = crate::settings::duration, help_heading = "WebSocket")]
    pub ws_session_ttl: Duration,
    /// WebSocket sessions with acknowledgements that there may be in the cluster
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 100_000,
        help_heading = "WebSocket"
    )]
    pub max_ws_sessions: usize,
}

/// How far the client of a session has got.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Acknowledged {
    cursor: String,
}

/// Opens WebSockets with sessions, and keeps what their clients acknowledge. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Acknowledgements {
    streams: Streams,
    records: Records<Acknowledged>,
    limit: usize,
    /// Sessions of which an acknowledgement was written within [`WRITE_INTERVAL`], each with what is
    /// to be written next.
    recent: Arc<Mutex<HashMap<SessionId, Option<Cursor>>>>,
}

impl Acknowledgements {
    /// Starts with what the shared state has.
    #[must_use]
    pub fn new(streams: Streams, state: Arc<StateLog>, config: &AcknowledgementConfig) -> Self {
        let own = streams.dispatcher.incarnation();
        Self {
            records: Records::new(state, STATE_KIND, config.ws_session_ttl, own),
            limit: config.max_ws_sessions,
            recent: Arc::default(),
            streams,
        }
    }

    /// Returns whether a request asks for acknowledgements.
    #[must_use]
    pub fn are_asked_for(query: &Query) -> bool {
        query.get("acks") == Some("true") || query.get("session").is_some()
    }

    /// Opens a WebSocket with a session: a new one, or the one whose token the query has; then it
    /// begins after what was acknowledged last, whatever cursor the request has.
    ///
    /// # Errors
    /// As [`Streams::ws`]; 400 for a session token that is none, 410 for a session that has ended, 429
    /// when there are too many, 503 while the shared state or Kafka is not there.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a session that nobody uses; it ends by itself.
    pub async fn ws(&self, request: &Request) -> Result<Reply, HttpError> {
        let mut opening = self.streams.check_ws(request).await?;
        let tokens = self.streams.token_key.get().ok_or_else(not_now)?;
        let query = request.query()?;
        let (id, cursor) = match query.get("session") {
            Some(token) => self.resume(tokens, token).await?,
            None => self.begin(&opening).await?,
        };
        let greeting =
            ControlEvent::session_set(&tokens.seal(Token::Acknowledged(id)), &cursor.to_string());
        opening.format = WS_WITH_CURSORS;
        opening.beginning = Beginning::Known(Start::After(cursor));
        Ok(self.streams.open_ws(opening, Some(greeting)))
    }

    /// Keeps that a client has everything up to a cursor; kept within a second.
    ///
    /// # Errors
    /// What is wrong with the acknowledgement, in words.
    pub(super) fn acknowledge(&self, session: &str, cursor: &str) -> Result<(), String> {
        let key = self
            .streams
            .token_key
            .get()
            .ok_or("the session is not known yet")?;
        let Ok(Token::Acknowledged(id)) = key.open(session) else {
            return Err("session is not the token of a session".to_owned());
        };
        let cursor: Cursor = cursor.parse().map_err(|error| format!("cursor: {error}"))?;
        let is_written_lately = self.recent.lock().insert(id, Some(cursor)).is_some();
        if !is_written_lately {
            let this = self.clone();
            let tasks = &self.streams.tasks;
            tasks.spawn("ws.acknowledge", async move { this.write(id).await });
        }
        Ok(())
    }

    /// Removes the sessions that have ended; to be called now and then.
    pub async fn remove_ended(&self) {
        self.records.remove_ended().await;
    }

    async fn begin(&self, opening: &WsOpening) -> Result<(SessionId, Cursor), HttpError> {
        if self.records.count() >= self.limit {
            return Err(HttpError::too_many_requests(
                "too_many_sessions",
                "There are too many WebSocket sessions with acknowledgements.",
                Duration::from_secs(60),
            ));
        }
        let (beginning, wanted) = (opening.beginning.clone(), &opening.subscriptions);
        let cursor = self
            .streams
            .cursor_at(beginning, wanted, BEGIN_LIMIT)
            .await?;
        let id = *uuid::Uuid::new_v4().as_bytes();
        self.keep(id, &cursor).await?;
        Ok((id, cursor.parse().map_err(HttpError::internal)?))
    }

    async fn resume(
        &self,
        tokens: &TokenKey,
        token: &str,
    ) -> Result<(SessionId, Cursor), HttpError> {
        let Ok(Token::Acknowledged(id)) = tokens.open(token) else {
            return Err(HttpError::bad_request(
                "invalid_session",
                "session is not the token of a WebSocket session.",
            ));
        };
        // What was acknowledged here a moment ago is not written yet.
        let latest = self.recent.lock().get(&id).cloned().flatten();
        if let Some(cursor) = latest {
            return Ok((id, cursor));
        }
        let (kept, _) = self.records.find(&key(id)).await.ok_or_else(ended)?;
        Ok((id, kept.cursor.parse().map_err(HttpError::internal)?))
    }

    /// Writes what is acknowledged, again and again while there is more.
    async fn write(&self, id: SessionId) {
        loop {
            let next = self.recent.lock().get_mut(&id).and_then(Option::take);
            let Some(cursor) = next else {
                // Nothing came for a while; the lock is held over the look and the removal.
                let mut recent = self.recent.lock();
                if recent.get(&id).is_some_and(Option::is_none) {
                    recent.remove(&id);
                    return;
                }
                continue;
            };
            if let Err(error) = self.keep(id, &cursor.to_string()).await {
                tracing::debug!(
                    error = error.public(),
                    "an acknowledgement could not be kept"
                );
            }
            tokio::time::sleep(WRITE_INTERVAL).await;
        }
    }

    async fn keep(&self, id: SessionId, cursor: &str) -> Result<(), HttpError> {
        let cursor = cursor.to_owned();
        let kept = self.records.keep(&key(id), Acknowledged { cursor }).await;
        kept.map_err(HttpError::kafka_unavailable)
    }
}

fn ended() -> HttpError {
    HttpError::new(
        StatusCode::GONE,
        "session_ended",
        "The session has ended; open a WebSocket without it.",
    )
}
