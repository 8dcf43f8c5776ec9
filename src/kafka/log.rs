//! What librdkafka has to say, at a bounded rate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{KafkaConfig, Rebootstrap, Returning};
use crate::telemetry::Limited;

/// The log of all Kafka clients of a process. Cheap to clone; all clones share one limit.
#[derive(Debug, Clone)]
pub struct ClientLog(Arc<Limited>);

impl Default for ClientLog {
    fn default() -> Self {
        Self(Arc::new(Limited::new(Duration::from_secs(5))))
    }
}

impl ClientLog {
    /// Logs a line of librdkafka: warnings and worse at a limited rate, the rest for debugging.
    pub fn line(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug | RDKafkaLogLevel::Notice => {
                tracing::debug!(facility, "kafka client: {text}");
            }
            _ => self.warn(format_args!("{text}")),
        }
    }

    /// Logs a global error of a client, at a limited rate.
    pub fn error(&self, error: &KafkaError, reason: &str) {
        // That a partition was read to its end is news for whoever asked for it, not an error.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        self.warn(format_args!("{error}: {reason}"));
    }

    /// Logs an error that a consumer got while doing `what`, at a limited rate.
    ///
    /// Not that all brokers are away: the client tells that itself, in [`ClientLog::error`].
    pub fn warn_of(&self, error: &KafkaError, what: std::fmt::Arguments<'_>) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.warn(format_args!("{what}: {error}"));
        }
    }

    /// Logs a warning about Kafka, at a limited rate.
    pub fn warn(&self, text: std::fmt::Arguments<'_>) {
        if let Some(held_back) = self.0.admit("kafka", Instant::now()) {
            tracing::warn!(held_back, "kafka client: {text}");
        }
    }
}

/// The context of clients whose events matter only to the log, and to who brings them back to their brokers.
#[derive(Debug)]
pub struct QuietContext {
    log: ClientLog,
    rebootstrap: Rebootstrap,
}

impl QuietContext {
    /// Makes the context of one client with these settings.
    #[must_use]
    pub fn new(config: &KafkaConfig) -> Self {
        Self {
            log: config.log.clone(),
            rebootstrap: Rebootstrap::new(config),
        }
    }
}

impl ClientContext for QuietContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.log.line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.rebootstrap.note(&error);
        self.log.error(&error, reason);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ConsumerContext for QuietContext {}

impl Returning for QuietContext {
    fn rebootstrap(&self) -> &Rebootstrap {
        &self.rebootstrap
    }
}
