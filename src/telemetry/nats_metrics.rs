//! The metrics of NATS.

use prometheus::{IntCounterVec, IntGauge};

use super::labels::Rejection;
use super::maker::Maker;

/// The reason for an event whose type only Sluicegate itself may use.
const RESERVED_TYPE: &str = "reserved_type";

/// What is counted of NATS.
#[derive(Debug, Clone)]
pub struct NatsMetrics {
    /// `sluicegate_nats_up`: 1 while there is a connection.
    pub up: IntGauge,
    /// `sluicegate_nats_held_bytes`: messages that came and wait for Kafka's acknowledgement.
    pub held_bytes: IntGauge,
    /// `sluicegate_nats_messages_total{result}`: messages of the source subjects.
    messages: IntCounterVec,
    /// `sluicegate_nats_skipped_messages_total{reason}`: those that are no events to be taken.
    skipped: IntCounterVec,
}

impl NatsMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        let metrics = Self {
            up: make.gauge("sluicegate_nats_up", "1 while there is a connection to NATS"),
            held_bytes: make.gauge(
                "sluicegate_nats_held_bytes",
                "Messages from NATS that wait for Kafka's acknowledgement",
            ),
            messages: make.counters(
                "sluicegate_nats_messages_total",
                "Messages from NATS, by result: written, skipped, refused by Kafka, or lost while it took none",
                &["result"],
            ),
            skipped: make.counters(
                "sluicegate_nats_skipped_messages_total",
                "Messages from NATS that are no events to be taken, by reason",
                &["reason"],
            ),
        };
        for result in ["written", "skipped", "refused", "lost"] {
            metrics.messages.with_label_values(&[result]);
        }
        for reason in Rejection::ALL.map(Rejection::as_str) {
            metrics.skipped.with_label_values(&[reason]);
        }
        metrics.skipped.with_label_values(&[RESERVED_TYPE]);
        metrics
    }

    /// Counts a message that Kafka has acknowledged.
    pub fn written(&self) {
        self.messages.with_label_values(&["written"]).inc();
    }

    /// Counts a message that is no event; without a reason for one of a reserved type.
    pub fn skipped(&self, reason: Option<Rejection>) {
        let reason = reason.map_or(RESERVED_TYPE, Rejection::as_str);
        self.messages.with_label_values(&["skipped"]).inc();
        self.skipped.with_label_values(&[reason]).inc();
    }

    /// Counts a message that Kafka will never take.
    pub fn refused(&self) {
        self.messages.with_label_values(&["refused"]).inc();
    }

    /// Counts a message for which there was no room.
    pub fn lost(&self) {
        self.messages.with_label_values(&["lost"]).inc();
    }
}
