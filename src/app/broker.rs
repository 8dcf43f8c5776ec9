//! The broker inside of the process.

#[cfg(feature = "embedded-broker")]
use std::net::SocketAddr;

use super::AppError;
use crate::config::Config;
use crate::kafka::KafkaConfig;

/// The broker inside of the process, where one is wanted.
#[derive(Debug)]
pub(super) struct Broker {
    #[cfg(feature = "embedded-broker")]
    embedded: Option<crate::kafka::EmbeddedBroker>,
}

impl Broker {
    /// Starts the embedded broker when no brokers are configured, and points the clients to it; else finds out whether
    /// they are that of another instance.
    #[cfg(feature = "embedded-broker")]
    pub(super) async fn start(config: &mut Config) -> Result<Self, AppError> {
        if !config.kafka.kafka_brokers.is_empty() {
            config.kafka = config.kafka.clone().recognised().await?;
            return Ok(Self { embedded: None });
        }
        let address = SocketAddr::from(([127, 0, 0, 1], config.process.embedded_kafka_port));
        let broker = crate::kafka::EmbeddedBroker::start(&config.process.data_dir, address)?;
        config.kafka = config.kafka.clone().with_embedded(broker.address());
        Ok(Self {
            embedded: Some(broker),
        })
    }

    /// Checks that there are brokers, since this build has none of its own, and finds out whether they are the embedded one
    /// of another instance.
    #[cfg(not(feature = "embedded-broker"))]
    pub(super) async fn start(config: &mut Config) -> Result<Self, AppError> {
        if config.kafka.kafka_brokers.is_empty() {
            return Err(AppError::NoBrokers);
        }
        config.kafka = config.kafka.clone().recognised().await?;
        Ok(Self {})
    }

    /// Says in words where Kafka is.
    pub(super) fn whereabouts(&self, kafka: &KafkaConfig) -> String {
        let brokers = kafka.kafka_brokers.joined();
        #[cfg(feature = "embedded-broker")]
        if self.embedded.is_some() {
            return format!("embedded, at {brokers}");
        }
        format!("at {brokers}")
    }

    /// Stops the embedded broker, if there is one; after everybody who talks to it.
    pub(super) fn stop(self) {
        #[cfg(feature = "embedded-broker")]
        if let Some(broker) = self.embedded {
            broker.stop();
        }
    }
}
