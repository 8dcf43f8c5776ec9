//! What clients say on their WebSockets: changes of what they get, and requests for the routes of the proxy.
//!
//! ```text
//! {"type":"rig.request","id":"7","data":{"method":"POST","path":"/tickets","body":{…}}}
//!   ─▶ Request ─▶ Proxy ─▶ answer ─▶ {"type":"rig.response","data":{"id":"7","status":202,"headers":{…},"body":…}}
//! ```

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

use super::requests::{self, RequestFrame};
use crate::dispatch::{ClientText, ConnectionId, ControlEvent, Dispatcher};
use crate::proxy::{Caller, Proxy};
use crate::session::Registry;
use crate::transport::{Changes, ClientMessage};

/// How many requests of one connection may have no answer; then nothing more is read from it.
const MAX_UNANSWERED: usize = 8;

/// Does what clients say on their connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Texts {
    changes: Changes,
    proxy: Arc<Proxy>,
    dispatcher: Dispatcher,
    registry: Registry,
    /// How many requests of a connection have no answer yet.
    unanswered: Arc<Mutex<HashMap<ConnectionId, usize>>>,
}

impl Texts {
    /// Changes what clients get with `changes`, and has their requests answered by `proxy`.
    #[must_use]
    pub fn new(
        changes: Changes,
        proxy: Arc<Proxy>,
        dispatcher: Dispatcher,
        registry: Registry,
    ) -> Self {
        Self {
            changes,
            proxy,
            dispatcher,
            registry,
            unanswered: Arc::default(),
        }
    }

    /// Does what a client says on its connection, and tells it what came of it. The connection may say the next
    /// thing when that is done; while it has few requests without an answer, at once.
    ///
    /// # Cancel safety
    /// Not cancel safe: the connection would not be read any more.
    pub async fn on_text(&self, text: ClientText) {
        let connection = text.connection;
        let done = match ClientMessage::parse(&text.text) {
            Ok(message) if message.kind() == requests::KIND => {
                return self.on_request(&text, &message).await;
            }
            Ok(message) => self.changes.on_message(connection, &message).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = done {
            self.dispatcher.tell(connection, refusal).await;
        }
        self.dispatcher.text_done(connection).await;
    }

    async fn on_request(&self, text: &ClientText, message: &ClientMessage<'_>) {
        let connection = text.connection;
        let may_say_more = self.begin(connection);
        if may_say_more {
            self.dispatcher.text_done(connection).await;
        }
        let answer =
            match RequestFrame::parse(message).and_then(|frame| frame.into_request(text.client)) {
                Ok(request) => {
                    let reply = self.proxy.handle(request, self.caller(connection)).await;
                    requests::answer(message.id(), reply).await
                }
                Err(error) => requests::refusal(message.id(), error).await,
            };
        let answer = ControlEvent::response(answer);
        self.dispatcher.tell(connection, answer).await;
        self.end(connection);
        if !may_say_more {
            self.dispatcher.text_done(connection).await;
        }
    }

    /// Returns who a connection belongs to, as the tokens said with which it was opened.
    fn caller(&self, connection: ConnectionId) -> Option<Caller> {
        let guest = self.registry.guest_of(connection)?;
        guest.is_verified().then(|| Caller {
            sessions: guest.sessions.clone(),
            user: guest.user.clone(),
        })
    }

    /// Counts one request more without an answer; returns whether there may be another one.
    fn begin(&self, connection: ConnectionId) -> bool {
        let mut unanswered = self.unanswered.lock();
        let count = unanswered.entry(connection).or_default();
        *count += 1;
        *count < MAX_UNANSWERED
    }

    fn end(&self, connection: ConnectionId) {
        if let Entry::Occupied(mut entry) = self.unanswered.lock().entry(connection) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}
