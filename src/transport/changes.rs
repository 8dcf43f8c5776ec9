//! Changes of the subscriptions of an open connection, wherever it is held.
//!
//! ```text
//! PUT ──────────▶ Changes ─┬─ held here ─────▶ Dispatcher
//! text on a socket ──────▶ ├─ held elsewhere ▶ command topic ─▶ Changes there ─▶ Dispatcher
//!                          └─ long polling ──▶ session record in the shared state
//! ```

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::acknowledgements::Acknowledgements;
use super::longpoll::LongPolling;
use super::streams::Streams;
use crate::dispatch::{ClientText, ConnectionId, ControlEvent, Gone, Token};
use crate::http::HttpError;
use crate::shared::{CommandError, CommandLog};
use crate::subscription::Subscriptions;

/// How long another instance may take to make a change.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(5);

/// The name of the command that changes the subscriptions of a connection.
const REPLACE_COMMAND: &str = "replace_subscriptions";

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The token is not one of this cluster.
    #[error("invalid connection token")]
    InvalidToken,
    /// The connection has ended.
    #[error("the connection no longer exists")]
    Gone,
    /// The subscriptions are not what they have to be.
    #[error("{0}")]
    Subscriptions(#[from] crate::subscription::SubscriptionError),
    /// The instance that holds the connection did not answer, or Kafka cannot be reached.
    #[error("the instance that holds the connection cannot be reached")]
    Unreachable(#[source] CommandError),
    /// The session record could not be changed.
    #[error(transparent)]
    Session(HttpError),
    /// The shared state is not there yet.
    #[error("the shared state is being read")]
    NotReady,
}

impl From<Gone> for ChangeError {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// Makes changes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Changes {
    streams: Streams,
    long_polling: Arc<LongPolling>,
    commands: CommandLog,
    acknowledgements: Acknowledgements,
}

impl Changes {
    /// Uses the ways there are to the connections of the cluster.
    #[must_use]
    pub const fn new(
        streams: Streams,
        long_polling: Arc<LongPolling>,
        commands: CommandLog,
        acknowledgements: Acknowledgements,
    ) -> Self {
        Self {
            streams,
            long_polling,
            commands,
            acknowledgements,
        }
    }

    /// Opens a connection token.
    ///
    /// # Errors
    /// [`ChangeError::InvalidToken`], or [`ChangeError::NotReady`] before the key is known.
    pub fn open_token(&self, token: &str) -> Result<Token, ChangeError> {
        let key = self.streams.token_key.get().ok_or(ChangeError::NotReady)?;
        key.open(token).map_err(|_| ChangeError::InvalidToken)
    }

    /// Reads subscriptions from the body of a request, `{"subscriptions": […]}`.
    ///
    /// # Errors
    /// [`ChangeError::Subscriptions`] that says what is wrong and where.
    pub fn parse(&self, body: &[u8]) -> Result<Subscriptions, ChangeError> {
        let (extractors, limits) = (&self.streams.extractors, &self.streams.limits);
        Ok(Subscriptions::parse_request(body, extractors, limits)?)
    }

    /// Replaces what the connection of a token wants; in force when this returns.
    ///
    /// # Errors
    /// [`ChangeError`]; [`ChangeError::Unreachable`] leaves open whether the change was made.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the change is made.
    pub async fn replace(&self, token: Token, wanted: Subscriptions) -> Result<(), ChangeError> {
        match token {
            Token::LongPoll(id) => self
                .long_polling
                .replace(id, &wanted)
                .await
                .map_err(ChangeError::Session),
            Token::Acknowledged(_) => Err(ChangeError::InvalidToken),
            Token::Connection(incarnation, id)
                if incarnation == self.streams.dispatcher.incarnation() =>
            {
                Ok(self.streams.dispatcher.replace(id, wanted).await?)
            }
            Token::Connection(incarnation, id) => {
                let body = json!({
                    "command": REPLACE_COMMAND,
                    "shard": id.shard,
                    "slot": id.slot,
                    "generation": id.generation,
                    "subscriptions": serde_json::from_str::<Value>(&wanted.to_json()).unwrap_or_default(),
                });
                let answer = self
                    .commands
                    .request(&incarnation.to_string(), body, REMOTE_TIMEOUT)
                    .await;
                match answer {
                    Ok(answer) if answer.get("result").is_some_and(|result| result == "done") => {
                        Ok(())
                    }
                    Ok(_) | Err(CommandError::Gone) => Err(ChangeError::Gone),
                    Err(error) => Err(ChangeError::Unreachable(error)),
                }
            }
        }
    }

    /// Makes a change that another instance asks for, and returns the answer for it.
    pub async fn on_command(streams: Streams, command: Value) -> Value {
        let result = match Self::parse_command(&streams, &command) {
            Some((id, wanted)) => streams.dispatcher.replace(id, wanted).await,
            None => {
                tracing::warn!("another instance sent a command that is not known here");
                return json!({ "result": "unknown" });
            }
        };
        json!({ "result": if result.is_ok() { "done" } else { "gone" } })
    }

    fn parse_command(streams: &Streams, command: &Value) -> Option<(ConnectionId, Subscriptions)> {
        if command["command"] != REPLACE_COMMAND {
            return None;
        }
        let id = ConnectionId {
            shard: u16::try_from(command["shard"].as_u64()?).ok()?,
            slot: u32::try_from(command["slot"].as_u64()?).ok()?,
            generation: u32::try_from(command["generation"].as_u64()?).ok()?,
        };
        let wanted = command["subscriptions"].to_string();
        let wanted = Subscriptions::parse(wanted.as_bytes(), &streams.extractors, &streams.limits);
        Some((id, wanted.ok()?))
    }

    /// Does what a client says on its own connection, and tells it if that cannot be done.
    pub async fn on_text(&self, text: ClientText) {
        let dispatcher = &self.streams.dispatcher;
        if let Err(refusal) = self.act_on(&text).await {
            dispatcher.tell(text.connection, refusal).await;
        }
        dispatcher.text_done(text.connection).await;
    }

    async fn act_on(&self, text: &ClientText) -> Result<(), ControlEvent> {
        let refuse = |detail: String| {
            let problem =
                json!({ "code": "invalid_subscriptions", "status": 400, "detail": detail });
            ControlEvent::subscriptions_refused(problem)
        };
        let message = Message::parse(&text.text).map_err(refuse)?;
        let data = message.data.map_or("null", RawValue::get).as_bytes();
        match &*message.kind {
            "rig.subscriptions_set" => {
                let (extractors, limits) = (&self.streams.extractors, &self.streams.limits);
                let wanted = Subscriptions::parse(data, extractors, limits);
                let wanted = wanted.map_err(|error| refuse(error.to_string()))?;
                let replaced = self
                    .streams
                    .dispatcher
                    .replace(text.connection, wanted)
                    .await;
                if replaced.is_err() {
                    tracing::debug!("a connection ended before its subscriptions were changed");
                }
                Ok(())
            }
            "rig.ack" => self.acknowledge(data).map_err(|detail| {
                let problem =
                    json!({ "code": "invalid_acknowledgement", "status": 400, "detail": detail });
                ControlEvent::acknowledgement_refused(problem)
            }),
            _ => Err(refuse(EXPECTED.to_owned())),
        }
    }

    fn acknowledge(&self, data: &[u8]) -> Result<(), String> {
        #[derive(serde::Deserialize)]
        struct Acknowledgement<'a> {
            #[serde(borrow)]
            session: Cow<'a, str>,
            #[serde(borrow)]
            cursor: Cow<'a, str>,
        }
        let data: Acknowledgement<'_> = serde_json::from_slice(data)
            .map_err(|error| format!("expected {{\"session\":…,\"cursor\":…}}: {error}"))?;
        self.acknowledgements
            .acknowledge(&data.session, &data.cursor)
    }
}

const EXPECTED: &str = "expected {\"type\":\"rig.subscriptions_set\",\"data\":[…]} or {\"type\":\"rig.ack\",\"data\":{\"session\":…,\"cursor\":…}}";

/// What a client says on its connection.
#[derive(serde::Deserialize)]
struct Message<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        crate::event::check_text(text.as_bytes(), crate::event::NESTING_LIMIT)
            .map_err(|error| error.to_string())?;
        serde_json::from_str(text).map_err(|error| format!("{EXPECTED}: {error}"))
    }
}
