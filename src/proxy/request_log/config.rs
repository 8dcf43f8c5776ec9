//! Where requests are logged.

use std::str::FromStr;

use crate::avro::AvroConfig;
use crate::kafka::parse_name;

/// How proxied requests are logged.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Request proxy: log")]
pub struct RequestLogConfig {
    /// Where proxied requests are logged: console, kafka, or both
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "LOGGER,…"
    )]
    pub request_log: Loggers,
    /// Topic for the request log
    #[arg(long, default_value = "rig-request-log", value_name = "TOPIC", value_parser = parse_name)]
    pub kafka_log_topic: String,
    /// Subject of the Avro schema for the request log; without one it is JSON
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "SUBJECT"
    )]
    pub kafka_log_schema: String,
}

impl RequestLogConfig {
    /// Checks what one setting says about another.
    ///
    /// # Errors
    /// [`RequestLogError::NoRegistry`].
    pub fn check(&self, avro: &AvroConfig) -> Result<(), RequestLogError> {
        let has_registry = !avro.kafka_schema_registry_host.as_slice().is_empty();
        if self.request_log.kafka && !self.kafka_log_schema.is_empty() && !has_registry {
            return Err(RequestLogError::NoRegistry);
        }
        Ok(())
    }
}

/// The loggers that are in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loggers {
    /// Log lines.
    pub console: bool,
    /// Records in a topic.
    pub kafka: bool,
}

/// Why requests cannot be logged so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestLogError {
    /// A logger that is not there.
    #[error("expected console, kafka, or both with a comma between them")]
    UnknownLogger,
    /// A schema, and nowhere to find it.
    #[error("KAFKA_LOG_SCHEMA needs KAFKA_SCHEMA_REGISTRY_HOST")]
    NoRegistry,
}

impl FromStr for Loggers {
    type Err = RequestLogError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut loggers = Self::default();
        for name in text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            match name.to_ascii_lowercase().as_str() {
                "console" => loggers.console = true,
                "kafka" => loggers.kafka = true,
                _ => return Err(RequestLogError::UnknownLogger),
            }
        }
        Ok(loggers)
    }
}
