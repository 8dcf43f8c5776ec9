//! The metrics of one instance, in Prometheus text format.
//!
//! Labels are small closed sets that the configuration or `labels.rs` defines: never an id, a user or
//! an event type, which clients could make up without end.

use std::time::Duration;

use prometheus::{
    Encoder as _, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

use super::labels::{Rejection, Transport};
use super::maker::Maker;
use super::nats_metrics::NatsMetrics;
use super::proxy_metrics::ProxyMetrics;

/// Every metric of one instance. Cheap to clone; all clones count into the same registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// `sluicegate_consumed_records_total{topic}`: records read from Kafka.
    pub consumed: IntCounterVec,
    /// `sluicegate_rejected_records_total{reason}`: records skipped, see [`Rejection`].
    pub rejected: IntCounterVec,
    /// `sluicegate_matched_events_total`: events that at least one connection of a shard wanted.
    pub matched: IntCounter,
    /// `sluicegate_delivered_events_total{transport}`: events written to a socket whole.
    pub delivered: IntCounterVec,
    /// `sluicegate_missed_records_total`: records that were gone when a connection came back for them.
    pub missed_records: IntCounter,
    /// `sluicegate_connections_behind_total{transport}`: connections that were too slow for live
    /// events and read the replay log instead.
    pub fell_behind: IntCounterVec,
    /// `sluicegate_delivery_age_seconds`: from the record's timestamp to the socket write.
    pub delivery_age: Histogram,
    /// `sluicegate_connections{transport}`: open connections.
    pub connections: IntGaugeVec,
    /// `sluicegate_connections_opened_total{transport}`.
    pub connections_opened: IntCounterVec,
    /// `sluicegate_connections_closed_total{reason}`.
    pub connections_closed: IntCounterVec,
    /// `rig_subscriptions_total`: subscriptions in force; a gauge in spite of its name, as in RIG.
    pub subscriptions: IntGauge,
    /// `sluicegate_resumes_total{source}`: resumed connections, by where the replay began: `ring` or
    /// `kafka`.
    pub resumes: IntCounterVec,
    /// `sluicegate_resume_gaps_total`: `rig.resume_gap` events sent.
    pub resume_gaps: IntCounter,
    /// `sluicegate_produced_events_total{result}`: `acknowledged`, `refused`, `unavailable`.
    pub produced: IntCounterVec,
    /// `sluicegate_produce_duration_seconds`: from the request to Kafka's acknowledgement.
    pub produce_duration: Histogram,
    /// `sluicegate_http_requests_total{listener,status}`: `status` is a class such as `2xx`.
    pub http_requests: IntCounterVec,
    /// `sluicegate_http_refused_connections_total{reason}`.
    pub http_refused: IntCounterVec,
    /// `sluicegate_http_body_bytes{listener}`: memory of bodies that are read as a whole.
    pub http_body_bytes: IntGaugeVec,
    /// `sluicegate_kafka_up`: 1 while at least one broker answers.
    pub kafka_up: IntGauge,
    /// `sluicegate_consumer_lag_records`: records not yet read, over all partitions.
    pub consumer_lag: IntGauge,
    /// `sluicegate_replay_ring_bytes`: memory that the replay ring holds.
    pub ring_bytes: IntGauge,
    /// `sluicegate_history_records_total`: events read again from Kafka, for all who need them once.
    pub history_records: IntCounter,
    /// `sluicegate_history_bytes`: memory that events read again hold.
    pub history_bytes: IntGauge,
    /// `sluicegate_malformed_cursors_total`: requests refused for a cursor that is none.
    pub malformed_cursors: IntCounter,
    /// `sluicegate_conflated_events_total`: events that slow clients did not get for newer ones.
    pub conflated: IntCounter,
    /// `sluicegate_limited_connections_total{limit}`: connections refused because there were too many; `limit` is
    /// `instance`, `address`, `session`, `minute` or `address_minute`.
    pub limited_connections: IntCounterVec,
    /// `sluicegate_limited_events_total`: submitted events refused because their sender had sent too many.
    pub limited_events: IntCounter,
    /// `sluicegate_limited_tickets_total`: tickets refused because their session had got too many.
    pub limited_tickets: IntCounter,
    /// `sluicegate_refused_tokens_total{reason}`: bearer tokens that were not accepted.
    pub refused_tokens: IntCounterVec,
    /// `sluicegate_token_key_fetches_total{result}`: fetches of the issuer's keys: `ok` or `failed`.
    pub token_key_fetches: IntCounterVec,
    /// `sluicegate_token_keys`: keys of the issuer that are in force.
    pub token_keys: IntGauge,
    /// `sluicegate_ready`: 1 while `/readyz` answers 200.
    pub ready: IntGauge,
    /// Of the request proxy.
    pub proxy: ProxyMetrics,
    /// Of NATS.
    pub nats: NatsMetrics,
}

impl Metrics {
    /// Registers every metric in a registry of its own.
    ///
    /// # Panics
    /// Never: the names are fixed, valid and distinct.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one entry for each metric")]
    pub fn new() -> Self {
        let registry = Registry::new();
        let make = Maker(&registry);
        let metrics = Self {
            consumed: make.counters(
                "sluicegate_consumed_records_total",
                "Records read from Kafka",
                &["topic"],
            ),
            rejected: make.counters(
                "sluicegate_rejected_records_total",
                "Source records skipped, by reason",
                &["reason"],
            ),
            matched: make.counter(
                "sluicegate_matched_events_total",
                "Events that at least one connection of a shard wanted",
            ),
            delivered: make.counters(
                "sluicegate_delivered_events_total",
                "Events written whole to a client",
                &["transport"],
            ),
            missed_records: make.counter(
                "sluicegate_missed_records_total",
                "Records that were gone when a connection came back for them",
            ),
            fell_behind: make.counters(
                "sluicegate_connections_behind_total",
                "Connections that were too slow for live events",
                &["transport"],
            ),
            delivery_age: make.seconds(
                "sluicegate_delivery_age_seconds",
                "From the record's timestamp to the socket write",
            ),
            connections: make.gauges("sluicegate_connections", "Open connections", &["transport"]),
            connections_opened: make.counters(
                "sluicegate_connections_opened_total",
                "Connections opened",
                &["transport"],
            ),
            connections_closed: make.counters(
                "sluicegate_connections_closed_total",
                "Connections closed, by reason",
                &["reason"],
            ),
            subscriptions: make.gauge("rig_subscriptions_total", "Subscriptions in force"),
            resumes: make.counters(
                "sluicegate_resumes_total",
                "Connections that resumed from a cursor",
                &["source"],
            ),
            resume_gaps: make.counter(
                "sluicegate_resume_gaps_total",
                "Resumes that could not be complete",
            ),
            produced: make.counters(
                "sluicegate_produced_events_total",
                "Events submitted over HTTP or NATS and commands to Kafka, by result",
                &["result"],
            ),
            produce_duration: make.seconds(
                "sluicegate_produce_duration_seconds",
                "From the request to Kafka's acknowledgement",
            ),
            http_requests: make.counters(
                "sluicegate_http_requests_total",
                "HTTP requests answered",
                &["listener", "status"],
            ),
            http_refused: make.counters(
                "sluicegate_http_refused_connections_total",
                "Connections refused before a request was answered",
                &["reason"],
            ),
            http_body_bytes: make.gauges(
                "sluicegate_http_body_bytes",
                "Memory of request bodies that are read as a whole",
                &["listener"],
            ),
            kafka_up: make.gauge("sluicegate_kafka_up", "1 while at least one broker answers"),
            consumer_lag: make.gauge(
                "sluicegate_consumer_lag_records",
                "Records not yet read, over all partitions",
            ),
            ring_bytes: make.gauge(
                "sluicegate_replay_ring_bytes",
                "Memory that the replay ring holds",
            ),
            history_records: make.counter(
                "sluicegate_history_records_total",
                "Events read again from Kafka",
            ),
            history_bytes: make.gauge(
                "sluicegate_history_bytes",
                "Memory that events read again hold",
            ),
            malformed_cursors: make.counter(
                "sluicegate_malformed_cursors_total",
                "Requests refused for a cursor that is none",
            ),
            conflated: make.counter(
                "sluicegate_conflated_events_total",
                "Events that slow clients did not get for newer ones of the same key",
            ),
            limited_connections: make.counters(
                "sluicegate_limited_connections_total",
                "Connections refused because there were too many, by limit",
                &["limit"],
            ),
            limited_events: make.counter(
                "sluicegate_limited_events_total",
                "Submitted events refused because their sender had sent too many",
            ),
            limited_tickets: make.counter(
                "sluicegate_limited_tickets_total",
                "Tickets refused because their session had got too many",
            ),
            refused_tokens: make.counters(
                "sluicegate_refused_tokens_total",
                "Bearer tokens that were not accepted, by reason",
                &["reason"],
            ),
            token_key_fetches: make.counters(
                "sluicegate_token_key_fetches_total",
                "Fetches of the keys of the issuer of tokens",
                &["result"],
            ),
            token_keys: make.gauge(
                "sluicegate_token_keys",
                "Keys of the issuer of tokens that are in force",
            ),
            ready: make.gauge("sluicegate_ready", "1 while /readyz answers 200"),
            proxy: ProxyMetrics::new(&make),
            nats: NatsMetrics::new(&make),
            registry,
        };
        metrics.show_from_the_start();
        metrics
    }

    /// Counts a record that was written, or not for the reason `Err`, after `duration`.
    pub fn count_produced(&self, duration: Duration, outcome: Result<(), &str>) {
        let result = outcome.err().unwrap_or("acknowledged");
        self.produced.with_label_values(&[result]).inc();
        self.produce_duration.observe(duration.as_secs_f64());
    }

    /// Counts one skipped source record.
    pub fn reject(&self, reason: Rejection) {
        self.rejected.with_label_values(&[reason.as_str()]).inc();
    }

    /// Returns all metrics in the text format `text/plain; version=0.0.4`.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "could not encode the metrics");
        }
        text
    }

    /// Touches the label values that are known, so that a counter is 0 and not absent.
    fn show_from_the_start(&self) {
        for reason in Rejection::ALL {
            self.rejected.with_label_values(&[reason.as_str()]);
        }
        for transport in Transport::ALL {
            for counters in [&self.delivered, &self.fell_behind, &self.connections_opened] {
                counters.with_label_values(&[transport.as_str()]);
            }
            self.connections.with_label_values(&[transport.as_str()]);
        }
        for result in ["ok", "failed"] {
            self.token_key_fetches.with_label_values(&[result]);
        }
        for source in ["ring", "kafka"] {
            self.resumes.with_label_values(&[source]);
        }
        for result in ["acknowledged", "refused", "unavailable"] {
            self.produced.with_label_values(&[result]);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The age of a delivery: from the record's timestamp to the socket write.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Age(f64);

impl Age {
    /// Computes the age at `now_ms` of a record written at `timestamp_ms`; both Unix milliseconds.
    ///
    /// A record from the future, by a producer's wrong clock, has the age 0.
    #[must_use]
    pub fn between(timestamp_ms: i64, now_ms: i64) -> Self {
        let age_ms = u64::try_from(now_ms.saturating_sub(timestamp_ms)).unwrap_or(0);
        Self(Duration::from_millis(age_ms).as_secs_f64())
    }

    /// Returns the age in seconds.
    #[must_use]
    pub const fn as_secs(self) -> f64 {
        self.0
    }
}
