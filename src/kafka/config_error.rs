//! Why the configuration makes no Kafka client.

use rdkafka::error::KafkaError;
use thiserror::Error;

/// Why no Kafka client can be made from the configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file named by a setting cannot be read.
    #[error("{setting} names {path:?}, which cannot be read")]
    File {
        /// The variable.
        setting: &'static str,
        /// Its value.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// librdkafka does not know a property, or refuses its value, which may be secret.
    #[error("KAFKA_PROPERTIES: librdkafka does not take {property:?} with this value")]
    Property {
        /// The property.
        property: String,
    },
    /// librdkafka refuses a combination of properties.
    #[error("the kafka client cannot be configured: {0}")]
    Client(KafkaError),
    /// The operating system gives no thread for the reports of a producer.
    #[error("no thread for the reports of the kafka producer")]
    Thread(#[source] std::io::Error),
}

impl From<KafkaError> for ConfigError {
    fn from(error: KafkaError) -> Self {
        match error {
            KafkaError::ClientConfig(_, _, property, _) => Self::Property { property },
            other => Self::Client(other),
        }
    }
}
