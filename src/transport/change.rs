//! One change of an open connection: made here, or written down for the instance that holds it.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::longpoll::foreign_token;
use super::streams::Streams;
use crate::dispatch::{ConnectionId, Gone};
use crate::http::HttpError;
use crate::session::Guest;
use crate::shared::CommandError;
use crate::subscription::{SubscriptionLimits, Subscriptions};
use crate::telemetry::Transport;

/// The name of the command that changes a connection.
pub const CHANGE_COMMAND: &str = "replace_subscriptions";
/// What the cluster's key seals: credentials on their way to another instance.
const PURPOSE: &str = "sluicegate credentials 1";

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
    /// It is not allowed, or the session record could not be changed.
    #[error(transparent)]
    Refused(HttpError),
    /// The shared state is not there yet.
    #[error("the shared state is being read")]
    NotReady,
}

impl ChangeError {
    /// Returns what to tell a client on its own connection; nobody is left to be told that it is gone.
    pub(super) fn unless_gone(self) -> Result<(), HttpError> {
        match self {
            Self::Refused(error) => Err(error),
            _ => {
                tracing::debug!("a connection ended before its change was made");
                Ok(())
            }
        }
    }
}

impl From<Gone> for ChangeError {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// What is to become of a connection.
#[derive(Debug, Clone)]
pub struct Change {
    /// What its client wants, before its owner's claims narrow it.
    pub wanted: Subscriptions,
    /// Its owner, as a later token says.
    pub renewal: Option<Arc<Guest>>,
    /// What the connection goes over, for those who list it.
    pub transport: Transport,
}

impl Change {
    /// Makes the change of a connection that this instance holds.
    ///
    /// # Errors
    /// [`ChangeError::Refused`] when the token belongs to somebody else, or for what the claims do not
    /// allow; [`ChangeError::Gone`].
    pub(super) async fn make(self, streams: &Streams, id: ConnectionId) -> Result<(), ChangeError> {
        let current = streams.registry.guest_of(id);
        let guest = self.renewal.as_ref().or(current.as_ref());
        let narrowed = streams.access.narrow(guest.map(Arc::as_ref), &self.wanted);
        let narrowed = narrowed.map_err(ChangeError::Refused)?;
        self.renew(streams, id).await?;
        Ok(streams.dispatcher.replace(id, narrowed).await?)
    }

    /// Lets the connection go on with the later token, if there is one.
    ///
    /// # Errors
    /// [`ChangeError::Refused`] when it belongs to somebody else.
    pub(super) async fn renew(
        &self,
        streams: &Streams,
        id: ConnectionId,
    ) -> Result<(), ChangeError> {
        let Some(renewal) = self.renewal.clone() else {
            return Ok(());
        };
        match streams.registry.guest_of(id) {
            Some(current) if !renewal.is_same_as(&current) => {
                return Err(ChangeError::Refused(foreign_token()));
            }
            Some(_) => {
                streams.registry.renew(id, &renewal).await;
            }
            None => {
                let member = streams.registry.enter(&renewal, self.transport);
                streams.dispatcher.hold(id, Box::new(member)).await;
            }
        }
        // The token was accepted before, perhaps by an instance that did not know yet.
        streams.end_if_refused(id, &renewal).await;
        Ok(())
    }

    /// Writes the change down for the instance that holds the connection.
    ///
    /// # Errors
    /// [`ChangeError::NotReady`] before the cluster's key is known.
    pub(super) fn to_command(
        &self,
        streams: &Streams,
        id: ConnectionId,
    ) -> Result<Value, ChangeError> {
        let key = streams.token_key.get().ok_or(ChangeError::NotReady)?;
        let credentials = self
            .renewal
            .as_ref()
            .and_then(|guest| guest.credentials.as_deref());
        let wanted: Value = serde_json::from_str(&self.wanted.to_json()).unwrap_or_default();
        Ok(json!({
            "command": CHANGE_COMMAND,
            "shard": id.shard,
            "slot": id.slot,
            "generation": id.generation,
            "subscriptions": wanted,
            "transport": self.transport.as_str(),
            "guest": self.renewal.as_ref().map(|guest| guest.to_json(&streams.extractors)),
            "credentials": credentials.map(|text| key.seal_text(PURPOSE, text)),
        }))
    }

    /// Reads what [`Change::to_command`] has written.
    fn parse(streams: &Streams, command: &Value) -> Option<(ConnectionId, Self)> {
        if command["command"] != CHANGE_COMMAND {
            return None;
        }
        let id = ConnectionId {
            shard: u16::try_from(command["shard"].as_u64()?).ok()?,
            slot: u32::try_from(command["slot"].as_u64()?).ok()?,
            generation: u32::try_from(command["generation"].as_u64()?).ok()?,
        };
        let wanted = command["subscriptions"].to_string();
        let wanted = Subscriptions::parse(
            wanted.as_bytes(),
            &streams.extractors,
            &SubscriptionLimits::UNLIMITED,
        );
        let renewal = match &command["guest"] {
            Value::Null => None,
            guest => {
                let mut guest = Guest::parse(guest, &streams.extractors).ok()?;
                if let Some(sealed) = command["credentials"].as_str() {
                    let opened = streams.token_key.get()?.open_text(PURPOSE, sealed).ok()?;
                    guest.credentials = Some(opened.into_boxed_str());
                }
                Some(Arc::new(guest))
            }
        };
        let transport = command["transport"].as_str();
        let named = |known: &Transport| transport == Some(known.as_str());
        let change = Self {
            wanted: wanted.ok()?,
            renewal,
            transport: Transport::ALL
                .into_iter()
                .find(named)
                .unwrap_or(Transport::Sse),
        };
        Some((id, change))
    }

    /// Makes a change that another instance asks for, and returns the answer for it.
    pub async fn on_command(streams: &Streams, command: &Value) -> Value {
        let Some((id, change)) = Self::parse(streams, command) else {
            tracing::warn!("another instance sent a change that cannot be read here");
            return json!({ "result": "unknown" });
        };
        match change.make(streams, id).await {
            Ok(()) => json!({ "result": "done" }),
            Err(ChangeError::Refused(error)) => json!({
                "result": "refused",
                "status": error.status().as_u16(),
                "detail": error.public(),
            }),
            Err(_) => json!({ "result": "gone" }),
        }
    }
}

/// Reads the answer of another instance.
pub(super) fn read_answer(answer: &Value) -> Result<(), ChangeError> {
    match answer["result"].as_str() {
        Some("done") => Ok(()),
        Some("refused") => {
            let status = answer["status"]
                .as_u64()
                .and_then(|status| u16::try_from(status).ok());
            let status = status.and_then(|status| StatusCode::from_u16(status).ok());
            let detail = answer["detail"]
                .as_str()
                .unwrap_or("The change was refused.");
            Err(ChangeError::Refused(HttpError::new(
                status.unwrap_or(StatusCode::FORBIDDEN),
                "change_refused",
                detail,
            )))
        }
        _ => Err(ChangeError::Gone),
    }
}
