//! Events of NATS subjects: one instance of the queue group gets each message and writes it to Kafka.
//!
//! ```text
//! subjects ─▶ decode ─▶ held, in order ─▶ EventWriter ─▶ Kafka ─▶ all instances
//!                │          │ full                        │
//!                └──────────┴── an error ── or accepted ──┴──▶ reply, where one is asked for
//! ```
//!
//! # Invariants
//! - Messages are written in the order in which this instance got them. Who publishes to several instances and needs
//!   an order waits for the reply to each message.
//! - What was taken is held until Kafka has it, however long Kafka is away.
//!
//! # Backpressure
//! Core NATS has none: what is over the bound of bytes that are held is dropped, counted, logged, and answered with an
//! error where a reply is asked for.

mod config;
mod intake;
mod subjects;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use config::NatsSourceConfig;
use intake::Intake;

use super::writer::EventWriter;
use crate::nats::{NatsClient, NatsError};
use crate::telemetry::{NatsMetrics, Tasks};

/// What the source needs of the rest.
#[derive(Debug)]
pub struct NatsSourceParts {
    /// Where the messages come from.
    pub client: NatsClient,
    /// Where the events go; its producer should be a patient one.
    pub writer: EventWriter,
    /// The largest event in bytes.
    pub max_event_bytes: usize,
    /// Where to count.
    pub metrics: NatsMetrics,
}

/// Reads the subjects, in a task of its own.
#[derive(Debug)]
pub struct NatsSource {
    stop: CancellationToken,
    ended: CancellationToken,
}

impl NatsSource {
    /// Joins the queue group of each subject, now or as soon as NATS can be reached.
    ///
    /// # Errors
    /// [`NatsError`] for a subject or a group that NATS does not allow.
    ///
    /// # Cancel safety
    /// Dropping the future subscribes to nothing.
    pub async fn start(
        config: &NatsSourceConfig,
        parts: NatsSourceParts,
        tasks: &Tasks,
    ) -> Result<Self, NatsError> {
        let mut subscriptions = Vec::new();
        for subject in config.nats_source_topics.names() {
            let group = &config.natstofilter_queue_group;
            subscriptions.push(parts.client.subscribe(subject, group).await?);
        }
        let source = Self {
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        let intake = Intake::new(parts, config.nats_source_buffer_bytes);
        let (stop, ended) = (source.stop.clone(), source.ended.clone().drop_guard());
        tasks.spawn("nats.source", async move {
            intake.run(subscriptions, stop).await;
            drop(ended);
        });
        Ok(source)
    }

    /// Leaves the queue groups, so that the other instances get the messages, and waits until Kafka has what was
    /// taken, at most `limit`. What it has not by then is lost, and logged.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the source told to stop.
    pub async fn stop(&self, limit: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(limit, self.ended.cancelled())
            .await
            .is_err()
        {
            tracing::warn!("not all messages from nats were written to kafka before the end");
        }
    }
}
