//! The client itself: connects in the background, publishes, requests, subscribes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use async_nats::{ConnectOptions, PublishError, PublishErrorKind, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _};

use super::config::NatsConfig;
use super::error::{NatsConfigError, NatsError};
use super::inbox::{AwaitedReply, Inbox};
use super::message::{NatsMessage, OutgoingMessage};
use super::permits::Permits;
use super::tls;
use super::watch::{Notices, watch};
use crate::telemetry::{NatsMetrics, Tasks};

/// How long one attempt to connect may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// How often a quiet server is asked whether it is there; after two questions without an answer it is not.
const PING_INTERVAL: Duration = Duration::from_secs(4);
/// How long a message may wait for its place on the connection.
const QUEUE_LIMIT: Duration = Duration::from_secs(5);
/// How many messages of a subscription wait for who reads.
const SUBSCRIPTION_CAPACITY: usize = 8192;

/// A connection to NATS, or the attempt to make one. Cheap to clone; all clones share it.
///
/// It ends when all clones are dropped.
#[derive(Clone)]
pub struct NatsClient {
    client: async_nats::Client,
    inbox: Arc<Inbox>,
    permits: Arc<Permits>,
}

impl fmt::Debug for NatsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsClient")
            .field("state", &self.client.connection_state())
            .finish_non_exhaustive()
    }
}

impl NatsClient {
    /// Starts to connect in the background, under a `name` that the servers show; `None` where no servers are set.
    ///
    /// # Errors
    /// [`NatsConfigError`] for settings that no server could take. That none can be reached is no error.
    ///
    /// # Cancel safety
    /// Dropping the future drops the client.
    pub async fn connect(
        config: &NatsConfig,
        name: &str,
        metrics: &NatsMetrics,
        tasks: &Tasks,
    ) -> Result<Option<Self>, NatsConfigError> {
        if config.nats_servers.is_empty() {
            return Ok(None);
        }
        let refused = |source| NatsConfigError::Client {
            source: Box::new(source),
        };
        let servers: Vec<ServerAddr> = (config.nats_servers.urls().iter())
            .map(|url| url.parse())
            .collect::<Result<_, _>>()
            .map_err(refused)?;
        let inbox = Arc::new(Inbox::new());
        let permits = Arc::new(Permits::default());
        let notices = Notices::new(metrics.clone(), Arc::clone(&inbox), Arc::clone(&permits));
        let options = options(config, name)?.event_callback(move |event| {
            notices.take(&event);
            std::future::ready(())
        });
        let client =
            (options.connect(servers).await).map_err(|source| NatsConfigError::Client {
                source: Box::new(source),
            })?;
        let replies = client.subscribe(inbox.subject()).await;
        let replies = replies.map_err(|source| NatsConfigError::Client {
            source: Box::new(source),
        })?;
        let stopping = tasks.stopping();
        tasks.spawn(
            "nats.inbox",
            Arc::clone(&inbox).read(replies, stopping.clone()),
        );
        tasks.spawn(
            "nats.watch",
            watch(client.clone(), metrics.clone(), stopping),
        );
        Ok(Some(Self {
            client,
            inbox,
            permits,
        }))
    }

    /// Publishes a message, and waits until the server has it.
    ///
    /// The server hands it to those who listen, and keeps nothing.
    ///
    /// # Errors
    /// [`NatsError`]; each variant says whether the message may have been taken.
    ///
    /// # Cancel safety
    /// Once polled, the message may be on its way: dropping the future gives up the confirmation only.
    pub async fn publish(
        &self,
        message: OutgoingMessage<'_>,
        limit: Duration,
    ) -> Result<(), NatsError> {
        let headers = headers(message.headers)?;
        let OutgoingMessage {
            subject, payload, ..
        } = message;
        let sending = (self.client).publish_with_headers(subject.to_owned(), headers, payload);
        self.confirmed(subject, sending, limit).await
    }

    /// Sends a request, and waits until the server has it; the reply is waited for with what this returns.
    ///
    /// # Errors
    /// [`NatsError`]; each variant says whether the request may have been taken. [`NatsError::NoResponders`] when
    /// nobody listens.
    ///
    /// # Cancel safety
    /// Once polled, the request may be on its way.
    pub async fn request(
        &self,
        message: OutgoingMessage<'_>,
        limit: Duration,
    ) -> Result<AwaitedReply, NatsError> {
        let headers = headers(message.headers)?;
        let OutgoingMessage {
            subject, payload, ..
        } = message;
        let mut reply = self.inbox.expect(subject);
        let place = reply.subject();
        let sending = (self.client).publish_with_reply_and_headers(
            subject.to_owned(),
            place,
            headers,
            payload,
        );
        self.confirmed(subject, sending, limit).await?;
        // That nobody listens, the server says before it confirms.
        reply.failure().map_or(Ok(reply), Err)
    }

    /// Sends a message to `subject`, and waits until the server has it.
    async fn confirmed(
        &self,
        subject: &str,
        sending: impl Future<Output = Result<(), PublishError>>,
        limit: Duration,
    ) -> Result<(), NatsError> {
        let connection = self.connection()?;
        // Nothing comes here but that we may not publish to the subject.
        let mut refusal = self.inbox.expect(subject);
        let confirmed = async {
            sending.await.map_err(|error| self.failed(&error))?;
            self.echo(subject, limit).await?;
            if !self.permits.has(subject, connection) {
                self.echo(subject, limit).await?;
            }
            refusal.failure().map_or(Ok(()), Err)
        };
        match tokio::time::timeout(limit, confirmed).await {
            // What was sent over a connection that broke is lost, though an echo came over the next one.
            Ok(Ok(())) if self.connection() == Ok(connection) => {
                self.permits.add(subject, connection);
                Ok(())
            }
            Ok(Ok(()) | Err(NatsError::NoReply)) | Err(_) => Err(NatsError::NotConfirmed),
            Ok(Err(error)) => Err(error),
        }
    }

    /// Sends an empty message to ourselves and waits until it comes back: then the server has what was sent before.
    async fn echo(&self, subject: &str, limit: Duration) -> Result<(), NatsError> {
        let echo = self.inbox.expect(subject);
        let sent = self.client.publish(echo.subject(), Bytes::new()).await;
        sent.map_err(|error| self.failed(&error))?;
        echo.within(limit).await.map(|_| ())
    }

    /// Listens to a subject, which may have wildcards, as one member of a queue group: each message reaches one of
    /// them. Goes on by itself after the connection broke.
    ///
    /// # Errors
    /// [`NatsError::Invalid`] for a subject or a group that NATS does not allow.
    ///
    /// # Cancel safety
    /// Dropping the future subscribes to nothing.
    pub async fn subscribe(&self, subject: &str, group: &str) -> Result<Subscription, NatsError> {
        let subscribing = self
            .client
            .queue_subscribe(subject.to_owned(), group.to_owned());
        match tokio::time::timeout(QUEUE_LIMIT, subscribing).await {
            Ok(Ok(messages)) => Ok(Subscription(messages)),
            Ok(Err(_)) => Err(NatsError::Invalid),
            Err(_) => Err(NatsError::Away),
        }
    }

    /// Replies to a message, if that needs no waiting. Whoever waits for a reply that cannot be sent finds out
    /// by their own deadline.
    pub fn respond(&self, reply: &str, payload: Bytes) {
        let sending = self.client.publish(reply.to_owned(), payload);
        let outcome = self.connection().ok().and_then(|_| sending.now_or_never());
        if !matches!(outcome, Some(Ok(()))) {
            tracing::debug!("a reply could not be sent over nats");
        }
    }

    /// Waits until all that was given to the connection is written to it, at most `limit`.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn flush(&self, limit: Duration) {
        let flushed = tokio::time::timeout(limit, self.client.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::debug!("not all was written to nats");
        }
    }

    /// Returns which connection there is, counted from 1.
    fn connection(&self) -> Result<u64, NatsError> {
        match self.client.connection_state() {
            State::Connected => Ok(self.client.statistics().connects.load(Ordering::Relaxed)),
            State::Pending | State::Disconnected => Err(NatsError::Away),
        }
    }

    fn failed(&self, error: &PublishError) -> NatsError {
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => NatsError::TooLarge {
                limit_bytes: self.client.max_payload(),
            },
            PublishErrorKind::InvalidSubject => NatsError::Invalid,
            PublishErrorKind::Send => NatsError::Away,
        }
    }
}

/// Messages of one subject. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription(Subscriber);

impl Subscription {
    /// Asks the server for no more messages; those that came are still handed out, then the stream ends.
    ///
    /// What the server has sent and has not arrived may be lost.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the server is asked.
    pub async fn drain(&mut self) {
        if let Err(error) = self.0.drain().await {
            tracing::debug!(%error, "the subscription has ended already");
        }
    }
}

impl Stream for Subscription {
    type Item = NatsMessage;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<NatsMessage>> {
        self.0
            .poll_next_unpin(context)
            .map(|message| message.map(received))
    }
}

fn options(config: &NatsConfig, name: &str) -> Result<ConnectOptions, NatsConfigError> {
    let mut options = ConnectOptions::new()
        .name(name)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .connection_timeout(CONNECT_LIMIT)
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(pause)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .tls_client_config(tls::client_config(config)?);
    if !config.nats_user.is_empty() {
        let password = config.nats_password.reveal().to_owned();
        options = options.user_and_password(config.nats_user.clone(), password);
    }
    for (secret, log_in) in [
        (&config.nats_token, ConnectOptions::token as fn(_, _) -> _),
        (&config.nats_nkey, ConnectOptions::nkey),
    ] {
        if !secret.reveal().is_empty() {
            options = log_in(options, secret.reveal().trim().to_owned());
        }
    }
    let credentials = config.nats_credentials.reveal();
    if !credentials.is_empty() {
        options = options
            .credentials(credentials)
            .map_err(|source| NatsConfigError::Credentials { source })?;
    }
    Ok(options)
}

/// Returns how long to wait before an attempt to connect, the first of which is number 1.
fn pause(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    match doublings {
        0 => Duration::ZERO,
        _ => Duration::from_millis(50)
            .saturating_mul(2_u32.saturating_pow(doublings - 1))
            .min(MAX_PAUSE),
    }
}

fn headers(pairs: &[(&str, &str)]) -> Result<HeaderMap, NatsError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        if name.is_empty() {
            return Err(NatsError::Invalid);
        }
        let name: HeaderName = name.parse().map_err(|_| NatsError::Invalid)?;
        let value: HeaderValue = value.parse().map_err(|_| NatsError::Invalid)?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Makes our message of the library's.
pub(super) fn received(message: async_nats::Message) -> NatsMessage {
    let headers = message.headers.iter().flat_map(HeaderMap::iter);
    let headers = headers.flat_map(|(name, values)| {
        let pair = |value: &HeaderValue| (name.to_string().into(), value.as_str().into());
        values.iter().map(pair)
    });
    NatsMessage {
        headers: headers.collect(),
        subject: message.subject.as_str().into(),
        reply: message.reply.as_ref().map(|reply| reply.as_str().into()),
        payload: message.payload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_to_connect_become_rarer_and_never_rare() {
        let pauses_ms = [0, 1, 2, 3, 4, 7, 8, 1_000_000].map(|n| pause(n).as_millis());
        assert_eq!(pauses_ms, [0, 0, 50, 100, 200, 1600, 2000, 2000]);
    }

    #[test]
    fn headers_cannot_carry_a_line_break() {
        for pair in [("a", "b\r\nc: d"), ("a\nb", "c"), ("a:b", "c")] {
            assert!(headers(&[pair]).is_err(), "{pair:?}");
        }
        assert_eq!(headers(&[("a", "b"), ("a", "c")]).unwrap().len(), 1);
    }
}
