//! What librdkafka has to say, at a bounded rate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Lets one log line through per interval and counts what it held back.
#[derive(Debug)]
pub struct LogLimit {
    interval: Duration,
    state: Mutex<LimitState>,
}

#[derive(Debug, Default)]
struct LimitState {
    last: Option<Instant>,
    held_back: u64,
}

impl LogLimit {
    /// Makes a limit of one line per `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            state: Mutex::default(),
        }
    }

    /// Returns the number of lines held back since the last one, if a line may be logged at `now`.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        let is_due = state
            .last
            .is_none_or(|last| now.duration_since(last) >= self.interval);
        if is_due {
            state.last = Some(now);
            return Some(std::mem::take(&mut state.held_back));
        }
        state.held_back += 1;
        None
    }
}

/// The log of all Kafka clients of a process. Cheap to clone; all clones share one limit.
#[derive(Debug, Clone)]
pub struct ClientLog(Arc<LogLimit>);

impl Default for ClientLog {
    fn default() -> Self {
        Self(Arc::new(LogLimit::new(Duration::from_secs(5))))
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

    /// Logs a warning about Kafka, at a limited rate.
    pub fn warn(&self, text: std::fmt::Arguments<'_>) {
        if let Some(held_back) = self.0.admit(Instant::now()) {
            tracing::warn!(held_back, "kafka client: {text}");
        }
    }
}

/// The context of clients whose events matter only to the log.
#[derive(Debug, Clone, Default)]
pub struct QuietContext(pub ClientLog);

impl ClientContext for QuietContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ConsumerContext for QuietContext {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_admits_one_line_per_interval_and_counts_the_rest() {
        let limit = LogLimit::new(Duration::from_secs(1));
        let start = Instant::now();
        let at = |time_ms: u64| start + Duration::from_millis(time_ms);
        assert_eq!(limit.admit(at(0)), Some(0));
        assert_eq!(limit.admit(at(10)), None);
        assert_eq!(limit.admit(at(999)), None);
        assert_eq!(limit.admit(at(1000)), Some(2));
        assert_eq!(limit.admit(at(1001)), None);
        assert_eq!(limit.admit(at(5000)), Some(1));
    }
}
