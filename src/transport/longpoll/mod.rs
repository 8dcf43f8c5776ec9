//! Long polling, with RIG's cookies and bodies, and without a session that one instance holds.
//!
//! ```text
//! 1st GET ─▶ session record in the shared state ─▶ "ok" + cookies
//! next GET ─▶ record (what?) + cookie last_event_id (from where?) ─▶ a shard, for one answer
//! ```
//!
//! The record says which events a client wants, the cookie how far it is. So any instance can answer
//! any poll, and between polls nobody holds anything.

mod cookies;
mod sessions;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::cookies::{FIRST_EVENT, Seen, cookie, set_cookies};
pub use self::sessions::{STATE_KIND, gone};
use self::sessions::{Session, Sessions};
use super::LONG_POLL;
use super::records::{SessionId, session_id};
use super::streams::{Streams, not_now};
use crate::dispatch::{
    Attach, CloseReason, ConnectionId, ControlEvent, Incoming, Input, Outgoing, Outlet, Polled,
    Start, Token, TokenKey, Wire,
};
use crate::http::{Body, HttpError, Request};
use crate::shared::StateLog;
use crate::subscription::Subscriptions;
use crate::telemetry::{Transport, now_ms};

/// The limits of long polling.
#[derive(Debug, Clone, clap::Args)]
pub struct LongPollConfig {
    /// Time that a poll waits for an event before it is answered with none
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = crate::settings::duration, help_heading = "Long polling")]
    pub longpoll_timeout: Duration,
    /// Time that a session lives after its last poll
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = crate::settings::duration, help_heading = "Long polling")]
    pub longpoll_session_ttl: Duration,
    /// Long-poll sessions that there may be in the cluster
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 100_000,
        help_heading = "Long polling"
    )]
    pub max_longpoll_sessions: usize,
}

/// Events as the elements of a JSON list.
#[derive(Debug)]
pub(super) struct LongPoll;

impl Wire for LongPoll {
    fn transport(&self) -> Transport {
        Transport::LongPolling
    }

    fn encode(&self, event: Outgoing<'_>, frame: &mut Vec<u8>) {
        frame.extend_from_slice(event.json);
    }

    fn heartbeat(&self, _cursor: Option<&str>, _frame: &mut Vec<u8>) {}

    fn farewell(&self, _reason: CloseReason) -> Vec<u8> {
        Vec::new()
    }

    fn read(&self, input: &mut Input, _incoming: &mut Vec<Incoming>) {
        input.unread.clear();
    }
}

/// Answers polls.
#[derive(Debug, Clone)]
pub struct LongPolling {
    streams: Streams,
    sessions: Sessions,
    timeout: Duration,
    /// The polls that wait here, by session; told when the session's subscriptions change.
    waiting: Arc<Mutex<HashMap<SessionId, Vec<ConnectionId>>>>,
}

impl LongPolling {
    /// Starts with no poll waiting.
    #[must_use]
    pub fn new(streams: Streams, state: Arc<StateLog>, config: &LongPollConfig) -> Self {
        let timeout = config.longpoll_timeout;
        let own = streams.dispatcher.incarnation();
        let sessions = Sessions::new(state, config, own, streams.tasks.clone());
        Self {
            streams,
            sessions,
            timeout,
            waiting: Arc::default(),
        }
    }

    /// Answers one poll: at once when there is something new, else when there is or after the timeout.
    ///
    /// # Errors
    /// 400 for bad parameters or cookies, 429 over a limit, 503 while the shared state is not there.
    ///
    /// # Cancel safety
    /// Dropping the future ends the poll; the client asks for the same events again.
    pub async fn poll(&self, request: &Request) -> Result<Response<Body>, HttpError> {
        let key = self.token_key()?;
        let token = cookie(&request.headers, "connection_token").unwrap_or_default();
        let mut response = match key.open(token) {
            Ok(Token::LongPoll(id)) => match self.sessions.find(id).await {
                Some(session) => self.next(id, session, token, request).await?,
                None => self.first(&key, request).await?,
            },
            _ => self.first(&key, request).await?,
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        self.streams
            .cors
            .apply_with_credentials(&request.headers, headers);
        Ok(response)
    }

    /// Replaces what a session wants; in force on every instance, for the next poll at the latest.
    ///
    /// # Errors
    /// 410 when the session has ended, 503 when Kafka does not take the change.
    pub async fn replace(&self, id: SessionId, wanted: &Subscriptions) -> Result<(), HttpError> {
        self.sessions.change(id, wanted).await
    }

    /// Removes the sessions that have ended; to be called now and then.
    pub async fn remove_ended(&self) {
        self.sessions.remove_ended().await;
    }

    /// Has the polls of a session answered, because its subscriptions have changed.
    pub async fn on_change(&self, key: &str) {
        let Some(id) = session_id(key) else { return };
        let waiting = self.waiting.lock().get(&id).cloned().unwrap_or_default();
        for connection in waiting {
            self.streams.dispatcher.end_poll(connection).await;
        }
    }

    /// Has all waiting polls answered, because it is not known which sessions have changed.
    pub async fn on_any_change(&self) {
        let waiting: Vec<ConnectionId> = self.waiting.lock().values().flatten().copied().collect();
        for connection in waiting {
            self.streams.dispatcher.end_poll(connection).await;
        }
    }

    fn token_key(&self) -> Result<TokenKey, HttpError> {
        self.streams.token_key.get().cloned().ok_or_else(|| {
            HttpError::unavailable(
                "not_ready",
                "The shared state is being read.",
                Duration::from_secs(1),
            )
        })
    }

    async fn first(&self, key: &TokenKey, request: &Request) -> Result<Response<Body>, HttpError> {
        let query = request.query()?;
        let subscriptions = self.streams.subscriptions(&query)?;
        let beginning = self.streams.beginning(request, &query)?;
        self.streams.admit()?;
        let start = self
            .streams
            .cursor_at(beginning, &subscriptions, self.timeout);
        let start = start.await?;
        let id = self.sessions.start(&subscriptions, start).await?;
        let mut response = json(Bytes::from_static(b"\"ok\""), "application/json");
        set_cookies(
            response.headers_mut(),
            &key.seal(Token::LongPoll(id)),
            FIRST_EVENT,
        )?;
        Ok(response)
    }

    async fn next(
        &self,
        id: SessionId,
        session: Session,
        token: &str,
        request: &Request,
    ) -> Result<Response<Body>, HttpError> {
        let query = request.query()?;
        let last = cookie(&request.headers, "last_event_id").map(|value| value.trim_matches('"'));
        let last = last
            .or_else(|| query.get("last_event_id"))
            .unwrap_or(FIRST_EVENT);
        let seen =
            Seen::parse(last, &session).inspect_err(|error| self.streams.count_malformed(error))?;
        let (events, last) = if seen.revision < session.revision {
            (
                announcements(&seen, &session, token),
                seen.at(session.revision),
            )
        } else {
            let polled = self.wait(id, &session, &seen).await?;
            self.after_wait(id, polled, &seen).await
        };
        let mut body = format!("{{\"last_event_id\":\"{last}\",\"events\":[").into_bytes();
        body.extend_from_slice(&events.join(&b','));
        body.extend_from_slice(b"]}");
        let mut response = json(body.into(), "application/json; charset=utf-8");
        set_cookies(response.headers_mut(), token, &last)?;
        Ok(response)
    }

    /// Adds what has changed of the session while its poll waited.
    async fn after_wait(
        &self,
        id: SessionId,
        polled: Polled,
        seen: &Seen,
    ) -> (Vec<Vec<u8>>, String) {
        let mut events = polled.events;
        let mut revision = seen.revision;
        if let Some(session) = self.sessions.find(id).await
            && session.revision > revision
        {
            revision = session.revision;
            events.extend(announcements(seen, &session, ""));
        }
        (events, format!("{}.{revision}", polled.cursor))
    }

    /// Waits at a shard for the first events after what the client has seen.
    async fn wait(
        &self,
        id: SessionId,
        session: &Session,
        seen: &Seen,
    ) -> Result<Polled, HttpError> {
        let subscriptions = Subscriptions::parse(
            session.subscriptions.to_string().as_bytes(),
            &self.streams.extractors,
            &self.streams.limits,
        )
        .map_err(|error| super::streams::bad_subscriptions(&error))?;
        let (answer, polled) = oneshot::channel();
        let attach = Attach {
            outlet: Outlet::Poll(answer),
            format: LONG_POLL,
            subscriptions,
            start: Start::After(seen.cursor.clone()),
        };
        let connection = self
            .streams
            .dispatcher
            .attach_known(attach)
            .await
            .map_err(|_| not_now())?;
        let _registered = Registered::new(&self.waiting, id, connection);
        let mut polled = std::pin::pin!(polled);
        let in_time = tokio::time::timeout(self.timeout, polled.as_mut()).await;
        let result = match in_time {
            Ok(result) => result,
            Err(_) => {
                self.streams.dispatcher.end_poll(connection).await;
                polled.await
            }
        };
        result.map_err(|_| not_now())
    }
}

/// Returns the control events that tell a client what it does not know of its session.
fn announcements(seen: &Seen, session: &Session, token: &str) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    if seen.revision == 0 {
        events.push(ControlEvent::connection_created(token).to_json(now_ms()));
    }
    let subscriptions = session.subscriptions.to_string();
    events.push(ControlEvent::subscriptions_set(&subscriptions).to_json(now_ms()));
    events
}

/// A poll in the list of those that wait; leaves it when dropped.
struct Registered<'a> {
    waiting: &'a Mutex<HashMap<SessionId, Vec<ConnectionId>>>,
    id: SessionId,
    connection: ConnectionId,
}

impl<'a> Registered<'a> {
    fn new(
        waiting: &'a Mutex<HashMap<SessionId, Vec<ConnectionId>>>,
        id: SessionId,
        connection: ConnectionId,
    ) -> Self {
        waiting.lock().entry(id).or_default().push(connection);
        Self {
            waiting,
            id,
            connection,
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        if let Some(connections) = waiting.get_mut(&self.id) {
            connections.retain(|connection| *connection != self.connection);
            if connections.is_empty() {
                waiting.remove(&self.id);
            }
        }
    }
}

fn json(body: Bytes, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = StatusCode::OK;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
