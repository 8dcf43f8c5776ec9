//! Log lines: their level and form.

use std::io;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The least important lines that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevel(tracing::Level);

impl FromStr for LogLevel {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        // RIG knows `warning`, too.
        let text = if text.eq_ignore_ascii_case("warning") {
            "warn"
        } else {
            text
        };
        text.parse().map(Self).map_err(|_| LogError::Level)
    }
}

impl std::fmt::Display for LogLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.as_str().to_ascii_lowercase())
    }
}

/// The form of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text.to_ascii_lowercase().as_str() {
            "text" | "erlang" => Ok(Self::Text),
            "json" | "gcl" => Ok(Self::Json),
            _ => Err(LogError::Format),
        }
    }
}

/// Why a setting of the logs is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No such level.
    #[error("expected error, warn, info, debug or trace")]
    Level,
    /// No such format.
    #[error("expected text or json")]
    Format,
}

/// Starts to write log lines to standard error, once for the process.
///
/// Values that others make are written as strings in quotes, so that none can forge a line. A line
/// that cannot be written is dropped.
pub fn init_logs(level: LogLevel, format: LogFormat) {
    // Libraries say little of interest below a warning; the embedded broker says much.
    let filter = EnvFilter::new(format!(
        "warn,sluicegate={level},tansu_broker=off,tansu_storage=off"
    ));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_target(false);
    let started = match format {
        LogFormat::Text => registry.with(layer.with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "the logs were started before");
    }
}
