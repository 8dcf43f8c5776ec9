//! Finds out what kind of broker there is.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::{ConfigError, KafkaConfig, QuietContext};

/// The id of the cluster that an embedded broker is.
pub(super) const EMBEDDED_CLUSTER_ID: &str = "sluicegate";
/// How long Kafka has to say which cluster it is.
const LIMIT: Duration = Duration::from_secs(1);

impl KafkaConfig {
    /// Returns these settings with what there is to know of the brokers: whether they are another instance's embedded one,
    /// which some calls break and which has to be read in another way.
    ///
    /// Takes a second at most; what is not there by then counts as Apache Kafka.
    ///
    /// # Errors
    /// [`ConfigError`] when librdkafka refuses the settings.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn recognised(mut self) -> Result<Self, ConfigError> {
        if self.is_embedded {
            return Ok(self);
        }
        let client: BaseConsumer<QuietContext> = self
            .consumer("sluicegate-recognition", &[])
            .create_with_context(self.quiet())?;
        let asking = tokio::task::spawn_blocking(move || client.client().fetch_cluster_id(LIMIT));
        let id = asking.await.ok().flatten();
        if id.as_deref() == Some(EMBEDDED_CLUSTER_ID) {
            tracing::info!("kafka is the embedded broker of another instance");
            self.is_embedded = true;
        }
        Ok(self)
    }
}

#[cfg(all(test, feature = "embedded-broker"))]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::kafka::EmbeddedBroker;

    #[derive(clap::Parser)]
    struct Settings {
        #[command(flatten)]
        kafka: KafkaConfig,
    }

    async fn is_embedded(address: &str) -> bool {
        let config = Settings::parse_from(["test", "--kafka-brokers", address]).kafka;
        config.recognised().await.expect("settings").is_embedded
    }

    #[tokio::test]
    async fn the_embedded_broker_of_another_instance_is_known_for_what_it_is() {
        let folder = std::env::temp_dir().join(format!("sluicegate-{}", uuid::Uuid::new_v4()));
        let broker = EmbeddedBroker::start(&folder, ([127, 0, 0, 1], 0).into()).unwrap();
        assert!(is_embedded(&broker.address().to_string()).await);
        broker.stop();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(!is_embedded("127.0.0.1:1").await, "nobody is there");
    }
}
