//! What clients say on their WebSockets: changes of what they get, and requests for the routes of the proxy.
//!
//! ```text
//! {"type":"rig.request","id":"7","data":{"method":"POST","path":"/tickets","body":{…}}}
//!   ─▶ Request ─▶ Proxy ─▶ answer ─▶ {"type":"rig.response","data":{"id":"7","status":202,"headers":{…},"body":…}}
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::requests::{self, RequestFrame};
use crate::dispatch::{ClientText, ConnectionId, ControlEvent, Dispatcher, Held};
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
    asking: Asking,
}

/// The connections on which there were requests, until they end.
type Asking = Arc<Mutex<HashMap<ConnectionId, Unanswered>>>;

/// The requests of a connection that have no answer yet.
#[derive(Debug, Default)]
struct Unanswered {
    count: usize,
    /// Nothing more is read from the connection until one of them is answered.
    is_full: bool,
    /// The connection has ended.
    has_ended: CancellationToken,
}

/// Gives up the requests of a connection when it ends.
#[derive(Debug)]
struct GivesUp {
    connection: ConnectionId,
    asking: Asking,
}

impl Held for GivesUp {}

impl Drop for GivesUp {
    fn drop(&mut self) {
        let unanswered = self.asking.lock().remove(&self.connection);
        if let Some(unanswered) = unanswered {
            unanswered.has_ended.cancel();
        }
    }
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
            asking: Arc::default(),
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
                return Box::pin(self.on_request(&text, &message)).await;
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
        let (has_ended, may_say_more) = self.begin(connection).await;
        if may_say_more {
            self.dispatcher.text_done(connection).await;
        }
        let answering = Box::pin(self.answer(text, message));
        let Some(answer) = has_ended.run_until_cancelled(answering).await else {
            return;
        };
        let answer = ControlEvent::response(answer);
        self.dispatcher.tell(connection, answer).await;
        if self.end(connection) {
            self.dispatcher.text_done(connection).await;
        }
    }

    async fn answer(&self, text: &ClientText, message: &ClientMessage<'_>) -> Value {
        let id = requests::id_of(message);
        let request =
            RequestFrame::parse(message).and_then(|frame| frame.into_request(text.client));
        match request {
            Ok(request) => {
                let known = self.caller(text.connection);
                let reply = self.proxy.handle(request, known).await;
                requests::answer(id, reply).await
            }
            Err(error) => requests::refusal(id, error).await,
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

    /// Counts one request more without an answer; returns what is cancelled when the connection ends, and whether
    /// there may be another one.
    async fn begin(&self, connection: ConnectionId) -> (CancellationToken, bool) {
        let (has_ended, may_say_more, is_first) = {
            let mut asking = self.asking.lock();
            let is_first = !asking.contains_key(&connection);
            let unanswered = asking.entry(connection).or_default();
            unanswered.count += 1;
            unanswered.is_full = unanswered.count >= MAX_UNANSWERED;
            let has_ended = unanswered.has_ended.clone();
            (has_ended, !unanswered.is_full, is_first)
        };
        if is_first {
            let asking = Arc::clone(&self.asking);
            let gives_up = GivesUp { connection, asking };
            self.dispatcher.hold(connection, Box::new(gives_up)).await;
        }
        (has_ended, may_say_more)
    }

    /// Counts one request less without an answer; returns whether there may be another one, for which there was no
    /// room before.
    fn end(&self, connection: ConnectionId) -> bool {
        let mut asking = self.asking.lock();
        let Some(unanswered) = asking.get_mut(&connection) else {
            return false;
        };
        unanswered.count -= 1;
        std::mem::take(&mut unanswered.is_full)
    }
}
