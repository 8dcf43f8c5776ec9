//! How Sluicegate talks to Kafka: connection settings, producer, topics, and the embedded broker.
//!
//! ```text
//! KafkaConfig ── client() ──▶ consumers of source, shared and replay
//!      │
//!      ├── Producer ──▶ Kafka's acknowledgement, or an error that says whether to try again
//!      ├── Outbox: what is written in the background
//!      ├── ensure_topics, create_missing
//!      ├── Threads: those that poll and ask, whose calls block
//!      └── EmbeddedBroker, when no brokers are configured; then a broker like any other
//! ```
//!
//! # Invariants
//! - Every client is made from [`KafkaConfig::client`], so that each setting holds everywhere.
//! - A secret is in no `Debug` output and in no log line.
//! - What librdkafka says is logged at most once in five seconds, over all clients of a process.
//!
//! # Backpressure
//! The producer's queue is bounded; when it is full, producing fails at once.

mod config;
mod config_error;
mod consumer;
#[cfg(feature = "embedded-broker")]
mod embedded;
mod headers;
mod identities;
mod log;
mod outbox;
mod producer;
mod properties;
mod rebootstrap;
mod recognition;
mod reports;
mod sasl;
mod step;
mod threads;
mod topics;
mod values;

pub use config::KafkaConfig;
pub use config_error::ConfigError;
pub use consumer::{Consumer, Returning};
#[cfg(feature = "embedded-broker")]
pub use embedded::{EmbeddedBroker, EmbeddedBrokerError};
pub use headers::readable_headers;
pub use identities::{Identities, partition_count};
pub use log::{ClientLog, QuietContext};
pub use outbox::Outbox;
pub use producer::{Delivered, OutgoingRecord, ProduceError, Producer};
pub use properties::Properties;
pub use rebootstrap::Rebootstrap;
pub use sasl::Sasl;
pub use step::Step;
pub use threads::{Stop, Threads};
pub use topics::{TopicError, TopicSpec, create_missing, ensure_topics};
pub use values::{BrokerList, TopicList, ValueError, parse_name, parse_timeout};
