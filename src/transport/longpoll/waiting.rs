//! Polls that wait for events.

use std::collections::HashMap;
use std::sync::Arc;

use http::Response;
use http::header::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::LongPolling;
use super::answers::{announcements, answer, with};
use super::cookies::Seen;
use super::ending::Ended;
use crate::access::Place;
use crate::dispatch::{Attach, Client, ConnectionId, Outlet, Polled, Start};
use crate::http::{Body, HttpError};
use crate::session::Guest;
use crate::subscription::Subscriptions;
use crate::transport::LONG_POLL;
use crate::transport::session_id::SessionId;
use crate::transport::streams::not_now;

/// The polls that wait, by session, each with the change of subscriptions that its client knows.
pub(super) type Waiting = Mutex<HashMap<SessionId, Vec<(ConnectionId, u64)>>>;

/// A poll that waits for events; this is all that is kept of its request.
pub(super) struct WaitingPoll {
    pub(super) polling: Arc<LongPolling>,
    pub(super) id: SessionId,
    pub(super) seen: Seen,
    /// Given back when the poll is answered, or its client gone.
    pub(super) _place: Place,
    pub(super) guest: Option<Arc<Guest>>,
    pub(super) token: Box<str>,
    /// What a map of headers gives; it is several times as large.
    pub(super) headers: Box<[(Option<HeaderName>, HeaderValue)]>,
}

impl WaitingPoll {
    pub(super) async fn response(self, wanted: Subscriptions) -> Response<Body> {
        let response = match self.wait(wanted).await {
            Ok(polled) => {
                let (events, last) = self.after_wait(polled).await;
                match self.polling.ended(self.guest.as_deref()) {
                    None => answer(&events, &self.token, &last),
                    Some(Ended::Killed) => Ok(Ended::Killed.answer(Vec::new(), &last)),
                    Some(Ended::Expired) => Ok(Ended::Expired.answer(events, &last)),
                }
            }
            Err(error) => Err(error),
        };
        with(
            response.unwrap_or_else(HttpError::into_response),
            self.headers,
        )
    }

    /// Adds what has changed of the session while its poll waited.
    async fn after_wait(&self, polled: Polled) -> (Vec<Vec<u8>>, String) {
        let mut events = polled.events;
        let mut revision = self.seen.revision;
        if let Some(session) = self.polling.sessions.find(self.id).await
            && session.revision > revision
        {
            revision = session.revision;
            events.extend(announcements(&self.seen, &session, ""));
        }
        (events, format!("{}.{revision}", polled.cursor))
    }

    /// Waits at a shard for the first events after what the client has seen.
    async fn wait(&self, subscriptions: Subscriptions) -> Result<Polled, HttpError> {
        let dispatcher = &self.polling.streams.dispatcher;
        let (answer, mut polled) = oneshot::channel();
        let attach = Attach {
            client: Client::NOBODY,
            outlet: Outlet::Poll(answer),
            format: LONG_POLL,
            subscriptions,
            start: Start::After(self.seen.cursor.clone()),
            held: None,
        };
        let streams = &self.polling.streams;
        let member = self.guest.as_ref().map(|guest| {
            let member = streams.registry.enter_poll(guest, self.id);
            (member, Arc::clone(guest))
        });
        // In a box, so that it takes no memory while the poll waits.
        let attached = Box::pin(streams.seat(attach, member)).await;
        let connection = attached.map_err(|_| not_now())?;
        let _registered = Registered::new(self, connection);
        // What changed before was told to nobody.
        if self.polling.sessions.revision(self.id) > Some(self.seen.revision) {
            dispatcher.end_poll(connection).await;
        }
        let result = match tokio::time::timeout(self.polling.timeout, &mut polled).await {
            Ok(result) => result,
            Err(_) => {
                dispatcher.end_poll(connection).await;
                polled.await
            }
        };
        result.map_err(|_| not_now())
    }
}

/// A poll in the list of those that wait; leaves it when dropped.
struct Registered<'a> {
    poll: &'a WaitingPoll,
    connection: ConnectionId,
}

impl<'a> Registered<'a> {
    fn new(poll: &'a WaitingPoll, connection: ConnectionId) -> Self {
        let mut waiting = poll.polling.waiting.lock();
        let of_session = waiting.entry(poll.id).or_default();
        of_session.push((connection, poll.seen.revision));
        Self { poll, connection }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut waiting = self.poll.polling.waiting.lock();
        if let Some(of_session) = waiting.get_mut(&self.poll.id) {
            of_session.retain(|(connection, _)| *connection != self.connection);
            if of_session.is_empty() {
                waiting.remove(&self.poll.id);
            }
        }
    }
}
