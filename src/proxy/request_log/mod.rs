//! The log of proxied requests: a line on the console, a record in Kafka, or both.
//!
//! ```text
//! Entry ─▶ RequestLog ─┬─ console: a log line
//!                      └─ Kafka: bounded queue ─▶ Writer ─▶ topic
//! ```
//!
//! # Invariants
//! - No request waits for its entry, or fails with it.
//! - No entry has a query, a header or a body; the console does not even have the path.
//!
//! # Backpressure
//! 10,000 entries wait for Kafka. What comes then is dropped and counted.

mod config;
mod writer;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

pub use config::{RequestLogConfig, RequestLogError};

use self::writer::Writer;
use super::route::{Route, Target};
use crate::avro::Registry;
use crate::kafka::{KafkaConfig, Outbox, Producer};
use crate::telemetry::{ProxyMetrics, Tasks, as_ms, now_ms};

/// How many entries wait for Kafka.
const QUEUE: usize = 10_000;

/// A request that has ended.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its route.
    pub(super) route: Arc<Route>,
    /// Its method.
    pub(super) method: Method,
    /// Its path as it came, without the query.
    pub(super) path: Box<str>,
    /// The address of its client.
    pub(super) client: IpAddr,
    /// The session of its token.
    pub(super) session: Option<Arc<str>>,
    /// The status of the answer, if there was one.
    pub(super) status: Option<u16>,
    /// How it ended, as metrics name it.
    pub(super) result: &'static str,
    /// How long it took.
    pub(super) took: Duration,
}

/// What the log in Kafka stands on.
#[derive(Debug)]
pub struct RequestLogParts {
    /// How Kafka is reached.
    pub kafka: KafkaConfig,
    /// Writes the records.
    pub producer: Producer,
    /// Has the schema, if there is a registry.
    pub registry: Option<Registry>,
    /// Counts what is dropped.
    pub metrics: ProxyMetrics,
}

/// Takes entries. Cheap to clone; by default it logs nothing.
#[derive(Debug, Clone, Default)]
pub struct RequestLog {
    has_console: bool,
    kafka: Option<ToWriter>,
}

#[derive(Debug, Clone)]
struct ToWriter {
    queue: mpsc::Sender<Noted>,
    metrics: ProxyMetrics,
}

/// An entry, and when it came.
#[derive(Debug)]
struct Noted {
    entry: Entry,
    at_ms: i64,
}

impl RequestLog {
    /// Starts the loggers that are configured. The one for Kafka creates its topic where that is missing.
    #[must_use]
    pub fn start(config: &RequestLogConfig, parts: RequestLogParts, tasks: &Tasks) -> Self {
        let kafka = config.request_log.kafka.then(|| {
            let (sender, queue) = mpsc::channel(QUEUE);
            let metrics = parts.metrics.clone();
            let end = tasks.stopping();
            let writer = Writer::new(config, parts);
            tasks.spawn("request-log", writer.run(Outbox { queue, end }));
            ToWriter {
                queue: sender,
                metrics,
            }
        });
        Self {
            has_console: config.request_log.console,
            kafka,
        }
    }

    /// Logs a request. Never waits.
    pub(super) fn log(&self, entry: Entry) {
        if self.has_console {
            entry.print();
        }
        if let Some(kafka) = &self.kafka {
            let at_ms = now_ms();
            if kafka.queue.try_send(Noted { entry, at_ms }).is_err() {
                kafka
                    .metrics
                    .log_dropped
                    .with_label_values(&["queue_full"])
                    .inc();
            }
        }
    }
}

impl Entry {
    fn print(&self) {
        let Route {
            api,
            endpoint,
            method,
            path_regex,
            target,
            ..
        } = &*self.route;
        let duration_ms = as_ms(self.took);
        let status = self.status;
        let result = self.result;
        let (target, to) = (target.name(), destination(target));
        tracing::info!(
            api = &**api,
            endpoint = &**endpoint,
            method = method.as_str(),
            path_regex = &**path_regex,
            target,
            to,
            status,
            result,
            duration_ms,
            "proxied a request"
        );
    }

    /// Returns what RIG logged of a request, and how it ended.
    fn data(&self) -> Value {
        let route = &self.route;
        json!({
            "api": &*route.api,
            "endpoint": {
                "id": &*route.endpoint,
                "method": route.method.as_str(),
                "path_regex": &*route.path_regex,
                "target": route.target.name(),
            },
            "method": self.method.as_str(),
            "request_path": &*self.path,
            "remote_ip": self.client.to_string(),
            "status": self.status,
            "result": self.result,
            "duration_ms": as_ms(self.took),
        })
    }

    /// Returns the record's key: requests of one client stay in order.
    fn key(&self) -> String {
        self.session
            .as_deref()
            .map_or_else(|| self.client.to_string(), str::to_owned)
    }
}

/// Returns where the requests of a target go, as it was configured.
fn destination(target: &Target) -> &str {
    match target {
        Target::Http(upstream) => upstream
            .addresses
            .first()
            .map_or("", |first| first.as_str()),
        Target::Kafka(target) => &target.topic,
        Target::Nats(subject) => subject,
    }
}

#[cfg(test)]
mod tests;
