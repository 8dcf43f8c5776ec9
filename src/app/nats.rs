//! NATS, where servers are set: the client that all share, and the source.

use std::time::Duration;

use super::AppError;
use crate::config::Config;
use crate::kafka::Producer;
use crate::nats::NatsClient;
use crate::source::{NatsSource, NatsSourceParts};
use crate::telemetry::{Metrics, Tasks};

/// How long Kafka has at the end to take what came over NATS.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// What there is of NATS; nothing without servers.
#[derive(Debug)]
pub(super) struct Nats {
    /// The client that all share.
    pub(super) client: Option<NatsClient>,
    source: Option<NatsSource>,
}

impl Nats {
    /// Starts to connect, and to read the source subjects. That NATS is away is no error.
    pub(super) async fn start(
        config: &Config,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, AppError> {
        let name = format!("sluicegate-{}", config.kafka.instance());
        let client = NatsClient::connect(&config.nats, &name, &metrics.nats, tasks).await?;
        let source = match &client {
            Some(client) => Some(Self::source(client.clone(), config, metrics, tasks).await?),
            None => None,
        };
        Ok(Self { client, source })
    }

    async fn source(
        client: NatsClient,
        config: &Config,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<NatsSource, AppError> {
        let default_topic = config.source.topics().first();
        let default_topic = default_topic.map(String::as_str).unwrap_or_default();
        let producer = Producer::patient(&config.kafka)?;
        let parts = NatsSourceParts {
            client,
            writer: (config.submission).writer(default_topic, producer, metrics.clone()),
            max_event_bytes: config.source.max_event_bytes,
            metrics: metrics.nats.clone(),
        };
        Ok(NatsSource::start(&config.nats_source, parts, tasks).await?)
    }

    /// Leaves the source subjects to the other instances, and waits until Kafka has what came.
    pub(super) async fn stop(&self) {
        if let Some(source) = &self.source {
            source.stop(STOP_LIMIT).await;
        }
    }
}
