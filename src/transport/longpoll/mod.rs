//! Long polling, with RIG's cookies and bodies, and without a session that one instance holds.
//!
//! ```text
//! 1st GET ─▶ session record in the shared state ─▶ "ok" + cookies
//! next GET ─▶ record (what?) + cookie last_event_id (from where?) ─▶ a shard, for one answer
//! ```
//!
//! The record says which events a client wants, the cookie how far it is. So any instance can answer
//! any poll, and between polls nobody holds anything.

mod answers;
mod cookies;
mod ending;
mod sessions;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{HeaderMap, Response};

use self::answers::{announcements, answer, json, with};
use self::cookies::{FIRST_EVENT, Seen, set_cookies};
use self::ending::Ended;
pub(super) use self::sessions::foreign_token;
pub use self::sessions::{STATE_KIND, gone};
use self::sessions::{Session, Sessions};
use self::waiting::{Waiting, WaitingPoll};
use super::session_id::{SessionId, session_id};
use super::streams::Streams;
use crate::dispatch::{
    CloseReason, ConnectionId, Incoming, Input, Outgoing, Token, TokenKey, Wire,
};
use crate::http::{Body, HttpError, Reply, Request, cookie};
use crate::session::{Guest, UnreadableGuest};
use crate::shared::StateLog;
use crate::subscription::{SubscriptionLimits, Subscriptions};
use crate::telemetry::Transport;

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
#[derive(Debug)]
pub struct LongPolling {
    streams: Streams,
    sessions: Sessions,
    timeout: Duration,
    /// Told when the subscriptions of a session change.
    waiting: Waiting,
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
            waiting: Waiting::default(),
        }
    }

    /// Answers one poll: at once when there is something new, else when there is or after the timeout.
    ///
    /// # Errors
    /// 400 for bad parameters or cookies, 429 over a limit, 503 while the shared state is not there.
    ///
    /// # Cancel safety
    /// Dropping the future ends the poll; the client asks for the same events again.
    pub async fn poll(self: &Arc<Self>, request: &Request) -> Result<Reply, HttpError> {
        let key = self.token_key()?;
        let token = cookie(&request.headers, "connection_token").unwrap_or_default();
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let cors = &self.streams.cors;
        cors.apply_with_credentials(&request.headers, &mut headers);
        let session = match key.open(token) {
            Ok(Token::LongPoll(id)) => self.sessions.find(id).await.map(|session| (id, session)),
            _ => None,
        };
        match session {
            Some((id, session)) => self.next(id, &session, (token, headers), request).await,
            None => Ok(with(self.first(&key, request).await?, headers).into()),
        }
    }

    /// Replaces what a session wants, and its guest where a later token is handed in; in force on every
    /// instance, for the next poll at the latest.
    ///
    /// # Errors
    /// 403 when the token belongs to somebody else, or for what the claims do not allow; 410 when the
    /// session has ended, 503 when Kafka does not take the change.
    pub async fn replace(
        &self,
        id: SessionId,
        wanted: &Subscriptions,
        renewal: Option<&Guest>,
    ) -> Result<(), HttpError> {
        let session = self.sessions.find(id).await.ok_or_else(gone)?;
        let current = self.guest_of(&session).map_err(|_| gone())?;
        if self.ended(current.as_deref()).is_some() {
            return Err(gone());
        }
        if let (Some(current), Some(renewal)) = (&current, renewal)
            && !renewal.is_same_as(current)
        {
            return Err(foreign_token());
        }
        let guest = renewal.or(current.as_deref());
        let wanted = self.streams.access.narrow(guest, wanted)?;
        let renewal = renewal.map(|guest| guest.to_json(&self.streams.extractors));
        if self.sessions.change(id, &wanted, renewal).await? {
            Ok(())
        } else {
            Err(gone())
        }
    }

    /// Returns who a session belongs to.
    fn guest_of(&self, session: &Session) -> Result<Option<Arc<Guest>>, UnreadableGuest> {
        if session.guest.is_null() {
            return Ok(None);
        }
        let guest = Guest::parse(&session.guest, &self.streams.extractors)?;
        Ok(Some(Arc::new(guest)))
    }

    /// Returns why a session has ended before its time, if it has.
    fn ended(&self, guest: Option<&Guest>) -> Option<Ended> {
        let guest = guest?;
        if self.streams.access.refuses(&guest.sessions) {
            return Some(Ended::Killed);
        }
        let has_expired = self.streams.registry.has_expired(guest);
        has_expired.then_some(Ended::Expired)
    }

    /// Removes the sessions that have ended; to be called now and then.
    pub async fn remove_ended(&self) {
        self.sessions.remove_ended().await;
    }

    /// Has those polls of a session answered whose clients do not know what it wants now.
    pub async fn on_change(&self, key: &str) {
        let Some(id) = session_id(key) else { return };
        let waiting = self.waiting.lock().get(&id).cloned().unwrap_or_default();
        if waiting.is_empty() {
            return;
        }
        let revision = self.sessions.revision(id).unwrap_or(u64::MAX);
        for (connection, known) in waiting {
            if known < revision {
                self.streams.dispatcher.end_poll(connection).await;
            }
        }
    }

    /// Has all waiting polls answered, because it is not known which sessions have changed.
    pub async fn on_any_change(&self) {
        let waiting: Vec<(ConnectionId, u64)> =
            self.waiting.lock().values().flatten().copied().collect();
        for (connection, _) in waiting {
            self.streams.dispatcher.end_poll(connection).await;
        }
    }

    fn token_key(&self) -> Result<TokenKey, HttpError> {
        let key = self.streams.token_key.get().cloned();
        key.ok_or_else(HttpError::state_not_read)
    }

    async fn first(&self, key: &TokenKey, request: &Request) -> Result<Response<Body>, HttpError> {
        let query = request.query()?;
        let (subscriptions, guest) = self.streams.allowed(request, &query).await?;
        let beginning = self.streams.beginning(request, &query)?;
        let admitted = self
            .streams
            .places
            .admit(request.client_address(), Instant::now());
        admitted?;
        let start = self
            .streams
            .cursor_at(beginning, &subscriptions, self.timeout);
        let start = start.await?;
        // Of a poll that goes on no check is asked, so nobody needs tokens that were not verified.
        let guest = guest.filter(|guest| guest.is_verified());
        let guest = guest.map(|guest| guest.to_json(&self.streams.extractors));
        let id = self.sessions.start(&subscriptions, start, guest).await?;
        let mut response = json(Bytes::from_static(b"\"ok\""), "application/json");
        set_cookies(
            response.headers_mut(),
            &key.seal(Token::LongPoll(id)),
            FIRST_EVENT,
        )?;
        Ok(response)
    }

    /// Answers a client that is known, at once when it does not know what its session wants.
    async fn next(
        self: &Arc<Self>,
        id: SessionId,
        session: &Session,
        (token, headers): (&str, HeaderMap),
        request: &Request,
    ) -> Result<Reply, HttpError> {
        let query = request.query()?;
        let last = cookie(&request.headers, "last_event_id").map(|value| value.trim_matches('"'));
        let last = last
            .or_else(|| query.get("last_event_id"))
            .unwrap_or(FIRST_EVENT);
        let guest = self.guest_of(session).map_err(|_| gone())?;
        let seen =
            Seen::parse(last, session).inspect_err(|error| self.streams.count_malformed(error))?;
        if let Some(ended) = self.ended(guest.as_deref()) {
            self.sessions.end(id).await;
            return Ok(with(ended.answer(Vec::new(), last), headers).into());
        }
        if seen.revision < session.revision {
            let last = seen.at(session.revision);
            let answer = answer(&announcements(&seen, session, token), token, &last)?;
            return Ok(with(answer, headers).into());
        }
        let wanted = session.subscriptions.to_string();
        let streams = &self.streams;
        let unlimited = &SubscriptionLimits::UNLIMITED;
        let wanted = Subscriptions::parse(wanted.as_bytes(), &streams.extractors, unlimited)
            .map_err(|error| super::streams::bad_subscriptions(&error))?;
        // Once more: the settings may force more today than when the session began.
        let wanted = streams.access.narrow(guest.as_deref(), &wanted)?;
        let of_guest = guest.as_deref().map_or(&[][..], |guest| &guest.sessions);
        let place = streams
            .places
            .take_again(request.client_address(), of_guest)?;
        let waiting = WaitingPoll {
            polling: Arc::clone(self),
            id,
            seen,
            _place: place,
            guest,
            token: token.into(),
            headers: headers.into_iter().collect(),
        };
        Ok(Reply::Later(Box::pin(waiting.response(wanted))))
    }
}
