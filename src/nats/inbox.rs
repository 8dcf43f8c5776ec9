//! Our inbox: one subscription, with a place for each message that is waited for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{StatusCode, Subscriber};
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::received;
use super::error::NatsError;
use super::message::NatsMessage;

/// Who waits, by the random last part of their subject.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    prefix: Box<str>,
    places: Mutex<HashMap<Uuid, Place>>,
}

#[derive(Debug)]
struct Place {
    /// What was published, for a reply to this place.
    subject: Box<str>,
    waiter: oneshot::Sender<Result<NatsMessage, NatsError>>,
}

impl Inbox {
    /// Makes an inbox whose subjects nobody can guess.
    pub(super) fn new() -> Self {
        Self {
            prefix: format!("_INBOX.{}", Uuid::new_v4().simple()).into(),
            places: Mutex::default(),
        }
    }

    /// Returns what to subscribe to.
    pub(super) fn subject(&self) -> String {
        format!("{}.*", self.prefix)
    }

    /// Makes a place for the reply to something published to `subject`.
    pub(super) fn expect(self: &Arc<Self>, subject: &str) -> AwaitedReply {
        let (waiter, reply) = oneshot::channel();
        let id = Uuid::new_v4();
        let place = Place {
            subject: subject.into(),
            waiter,
        };
        self.places.lock().insert(id, place);
        AwaitedReply {
            id,
            reply,
            early: None,
            inbox: Arc::clone(self),
        }
    }

    /// Tells everybody who published to `subject` that they may not.
    pub(super) fn refuse(&self, subject: &str) {
        let mut places = self.places.lock();
        for (_, place) in places.extract_if(|_, place| &*place.subject == subject) {
            // Who does not wait any more needs no answer.
            drop(place.waiter.send(Err(NatsError::Refused)));
        }
    }

    /// Hands replies to those who wait for them, until there are no more or the process stops.
    pub(super) async fn read(
        self: Arc<Self>,
        mut messages: Subscriber,
        stopping: CancellationToken,
    ) {
        while let Some(Some(message)) = stopping.run_until_cancelled(messages.next()).await {
            let id = message.subject.rsplit('.').next();
            let Some(id) = id.and_then(|id| Uuid::try_parse(id).ok()) else {
                continue;
            };
            let place = self.places.lock().remove(&id);
            if let Some(place) = place {
                let reply = match message.status {
                    Some(StatusCode::NO_RESPONDERS) => Err(NatsError::NoResponders),
                    _ => Ok(received(message)),
                };
                // Who has just given up needs no answer.
                drop(place.waiter.send(reply));
            }
        }
    }
}

/// A reply that has not come. Dropping it gives up the place.
#[derive(Debug)]
pub struct AwaitedReply {
    id: Uuid,
    reply: oneshot::Receiver<Result<NatsMessage, NatsError>>,
    /// The reply, if it came before it was waited for.
    early: Option<NatsMessage>,
    inbox: Arc<Inbox>,
}

impl AwaitedReply {
    /// Returns the subject of the place.
    pub(super) fn subject(&self) -> String {
        format!("{}.{}", self.inbox.prefix, self.id.simple())
    }

    /// Returns why no reply will come, if that is known.
    pub(super) fn failure(&mut self) -> Option<NatsError> {
        match self.reply.try_recv() {
            Ok(Ok(reply)) => {
                self.early = Some(reply);
                None
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        }
    }

    /// Waits for the reply.
    ///
    /// # Errors
    /// [`NatsError::NoResponders`] as soon as the server says that nobody listens, [`NatsError::Refused`] as soon as it
    /// says that we may not publish there, [`NatsError::NoReply`] after `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the reply.
    pub async fn within(mut self, limit: Duration) -> Result<NatsMessage, NatsError> {
        if let Some(reply) = self.early.take() {
            return Ok(reply);
        }
        match tokio::time::timeout(limit, &mut self.reply).await {
            Ok(Ok(reply)) => reply,
            // The inbox is not read any more, or the time is over.
            Ok(Err(_)) | Err(_) => Err(NatsError::NoReply),
        }
    }
}

impl Drop for AwaitedReply {
    fn drop(&mut self) {
        self.inbox.places.lock().remove(&self.id);
    }
}
