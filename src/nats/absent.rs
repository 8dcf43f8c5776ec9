//! Stands for the client in a build without it: there never is one.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;

use super::config::NatsConfig;
use super::error::{NatsConfigError, NatsError};
use super::message::{NatsMessage, OutgoingMessage};
use crate::telemetry::{NatsMetrics, Tasks};

/// A connection that is never made.
#[derive(Debug, Clone)]
pub enum NatsClient {}

/// Messages that never come.
#[derive(Debug)]
pub enum Subscription {}

/// A reply that is never waited for.
#[derive(Debug)]
pub enum AwaitedReply {}

#[expect(
    clippy::unused_async,
    reason = "the same functions as where there is a client"
)]
impl NatsClient {
    /// Returns `None`, and says so where servers are set.
    ///
    /// # Errors
    /// Never.
    pub async fn connect(
        config: &NatsConfig,
        _name: &str,
        _metrics: &NatsMetrics,
        _tasks: &Tasks,
    ) -> Result<Option<Self>, NatsConfigError> {
        if !config.nats_servers.is_empty() {
            tracing::warn!("NATS_SERVERS is set, and this build was made without nats");
        }
        Ok(None)
    }

    /// Never called.
    ///
    /// # Errors
    /// Never.
    pub async fn publish(
        &self,
        _message: OutgoingMessage<'_>,
        _limit: Duration,
    ) -> Result<(), NatsError> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// Never.
    pub async fn request(
        &self,
        _message: OutgoingMessage<'_>,
        _limit: Duration,
    ) -> Result<AwaitedReply, NatsError> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// Never.
    pub async fn subscribe(&self, _subject: &str, _group: &str) -> Result<Subscription, NatsError> {
        match *self {}
    }

    /// Never called.
    pub fn respond(&self, _reply: &str, _payload: Bytes) {
        match *self {}
    }

    /// Never called.
    pub async fn flush(&self, _limit: Duration) {
        match *self {}
    }
}

impl Subscription {
    /// Never called.
    #[expect(
        clippy::unused_async,
        reason = "the same function as where there is a client"
    )]
    pub async fn drain(&mut self) {
        match *self {}
    }
}

impl Stream for Subscription {
    type Item = NatsMessage;

    fn poll_next(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<NatsMessage>> {
        match *self {}
    }
}

impl AwaitedReply {
    /// Never called.
    ///
    /// # Errors
    /// Never.
    #[expect(
        clippy::unused_async,
        reason = "the same function as where there is a client"
    )]
    pub async fn within(self, _limit: Duration) -> Result<NatsMessage, NatsError> {
        match self {}
    }
}
