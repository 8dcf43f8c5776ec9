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

use bytes::Bytes;

use super::acknowledgements::Acknowledgements;
use super::change::{self, Change, ChangeError};
use super::longpoll::LongPolling;
use super::message::{ClientMessage, EXPECTED, problem, problem_of};
use super::streams::Streams;
use crate::access::as_request;
use crate::dispatch::{ConnectionId, ControlEvent, Token};
use crate::http::{HttpError, Request};
use crate::session::Guest;
use crate::shared::{CommandError, CommandLog};
use crate::subscription::Subscriptions;
use crate::telemetry::Transport;

/// How long another instance may take to make a change.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(5);

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

    /// Finds out who asks for a change with this body, and what of it they may want.
    ///
    /// # Errors
    /// [`ChangeError::Refused`] with 401 or 403.
    pub async fn check(
        &self,
        request: &Request,
        wanted: Subscriptions,
        body: Bytes,
    ) -> Result<(Subscriptions, Option<Arc<Guest>>), ChangeError> {
        let access = &self.streams.access;
        let refused = ChangeError::Refused;
        let query = request.query().map_err(refused)?;
        let visitor = access.identify(request, &query).await.map_err(refused)?;
        let wanted = access.check_subscriptions(&visitor, wanted, body).await;
        let renewal = access.guest(&visitor).filter(|guest| guest.is_verified());
        Ok((wanted.map_err(refused)?, renewal))
    }

    /// Replaces what the connection of a token wants, as far as its owner's claims allow it, and its
    /// owner's token where a later one comes with the change; in force when this returns.
    ///
    /// # Errors
    /// [`ChangeError`]; [`ChangeError::Unreachable`] leaves open whether the change was made.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the change is made.
    pub async fn replace(&self, token: Token, change: Change) -> Result<(), ChangeError> {
        match token {
            Token::LongPoll(id) => self
                .long_polling
                .replace(id, &change.wanted, change.renewal.as_deref())
                .await
                .map_err(ChangeError::Refused),
            Token::Acknowledged(_) => Err(ChangeError::InvalidToken),
            Token::Connection(incarnation, id)
                if incarnation == self.streams.dispatcher.incarnation() =>
            {
                change.make(&self.streams, id).await
            }
            Token::Connection(incarnation, id) => {
                let body = change.to_command(&self.streams, id)?;
                let answer = self
                    .commands
                    .request(&incarnation.to_string(), body, REMOTE_TIMEOUT)
                    .await;
                match answer {
                    Ok(answer) => change::read_answer(&answer),
                    Err(CommandError::Gone) => Err(ChangeError::Gone),
                    Err(error) => Err(ChangeError::Unreachable(error)),
                }
            }
        }
    }

    /// Does what a client says on its own connection.
    ///
    /// # Errors
    /// What the client is to be told when that cannot be done.
    pub async fn on_message(
        &self,
        connection: ConnectionId,
        message: &ClientMessage<'_>,
    ) -> Result<(), ControlEvent> {
        let data = message.data().as_bytes();
        match message.kind() {
            "rig.subscriptions_set" => self
                .subscribe(connection, data)
                .await
                .map_err(|error| ControlEvent::subscriptions_refused(problem_of(&error))),
            "rig.token" => self
                .renew(connection, data)
                .await
                .map_err(|error| ControlEvent::token_refused(problem_of(&error))),
            "rig.ack" => self.acknowledge(data).map_err(|detail| {
                ControlEvent::acknowledgement_refused(problem("invalid_acknowledgement", &detail))
            }),
            _ => Err(ClientMessage::refused(EXPECTED)),
        }
    }

    /// Replaces what a client wants that says so on its connection.
    async fn subscribe(&self, connection: ConnectionId, list: &[u8]) -> Result<(), HttpError> {
        let Streams {
            extractors,
            limits,
            access,
            registry,
            ..
        } = &self.streams;
        let wanted = Subscriptions::parse(list, extractors, limits)
            .map_err(|error| HttpError::bad_request("invalid_subscriptions", error.to_string()))?;
        let guest = registry.guest_of(connection);
        let body = as_request(list);
        let wanted = access
            .check_subscriptions_of(guest.as_deref(), wanted, body)
            .await?;
        let change = Change {
            wanted,
            renewal: None,
            transport: Transport::Ws,
        };
        self.make_here(connection, change).await
    }

    /// Lets a client go on with a later token that it says on its connection. Where the claims force
    /// something else than before, only what they derive is left of the subscriptions.
    async fn renew(&self, connection: ConnectionId, data: &[u8]) -> Result<(), HttpError> {
        #[derive(serde::Deserialize)]
        struct Handed<'a> {
            #[serde(borrow)]
            token: Cow<'a, str>,
        }
        let handed: Handed<'_> = serde_json::from_slice(data).map_err(|_| {
            HttpError::bad_request("invalid_token_message", "expected {\"token\":\"…\"}")
        })?;
        let access = &self.streams.access;
        let visitor = access.verify(vec![handed.token.into_owned()]).await?;
        let guest = access.guest(&visitor).filter(|guest| guest.is_verified());
        let Some(guest) = guest else {
            return Err(HttpError::bad_request(
                "tokens_not_used",
                "Tokens are not verified here.",
            ));
        };
        let current = self.streams.registry.guest_of(connection);
        let is_unchanged =
            current.is_some_and(|current| access.leaves_subscriptions(&current, &guest));
        let change = Change {
            wanted: Subscriptions::none(),
            renewal: Some(guest),
            transport: Transport::Ws,
        };
        if is_unchanged {
            let renewed = change.renew(&self.streams, connection).await;
            return renewed.or_else(ChangeError::unless_gone);
        }
        self.make_here(connection, change).await
    }

    async fn make_here(&self, connection: ConnectionId, change: Change) -> Result<(), HttpError> {
        let made = change.make(&self.streams, connection).await;
        made.or_else(ChangeError::unless_gone)
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
