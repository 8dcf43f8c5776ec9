//! What the source's Kafka client reports while it runs: errors, statistics, failed commits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use serde::Deserialize;

use super::seen_ids::SeenIds;
use crate::kafka::{ClientLog, Rebootstrap, Returning};
use crate::telemetry::{Condition, Metrics, Readiness};

/// Whether Kafka can be reached, for the operator.
#[derive(Debug)]
pub(super) struct Reach {
    is_up: AtomicBool,
    was_reported: AtomicBool,
    metrics: Metrics,
    readiness: Readiness,
}

impl Reach {
    pub(super) fn new(metrics: Metrics, readiness: Readiness) -> Self {
        Self {
            is_up: false.into(),
            was_reported: false.into(),
            metrics,
            readiness,
        }
    }

    /// Sets whether a cursor can carry all partitions. Returns whether it cannot any more.
    pub(super) fn set_cursor_room(&self, has_room: bool) -> bool {
        let had_room = self.readiness.holds(Condition::CursorHasRoom);
        self.readiness.set(Condition::CursorHasRoom, has_room);
        had_room && !has_room
    }

    /// Sets the gauge and the condition, and logs the change.
    pub(super) fn set(&self, is_up: bool) {
        let changed = self.is_up.swap(is_up, Ordering::Relaxed) != is_up;
        let is_first = !self.was_reported.swap(true, Ordering::Relaxed);
        if !changed && !is_first {
            return;
        }
        self.metrics.kafka_up.set(i64::from(is_up));
        self.readiness.set(Condition::KafkaReachable, is_up);
        if is_up {
            tracing::info!("kafka can be reached");
        } else {
            tracing::warn!("kafka cannot be reached, waiting for it");
        }
    }
}

/// What librdkafka tells about a partition each second; a part of its `STATISTICS.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct PartitionStatistics {
    /// The next offset to fetch.
    pub(super) next_offset: i64,
    /// The end of the partition as of the last fetch; negative while unknown.
    pub(super) hi_offset: i64,
    /// Records fetched and not yet polled.
    pub(super) fetchq_cnt: i64,
}

#[derive(Debug, Deserialize)]
struct TopicStatistics {
    partitions: HashMap<String, PartitionStatistics>,
}

/// The part of librdkafka's statistics that the source uses.
#[derive(Debug, Deserialize)]
pub(super) struct Statistics {
    topics: HashMap<String, TopicStatistics>,
}

impl Statistics {
    /// Returns what is known of a partition.
    pub(super) fn of(&self, topic: &str, partition: i32) -> Option<PartitionStatistics> {
        self.topics
            .get(topic)?
            .partitions
            .get(&partition.to_string())
            .copied()
    }
}

/// The context of the source's consumer.
#[derive(Debug)]
pub(super) struct SourceContext {
    pub(super) log: ClientLog,
    pub(super) reach: Arc<Reach>,
    pub(super) statistics: Mutex<Option<Statistics>>,
    pub(super) seen_ids: SeenIds,
    pub(super) rebootstrap: Rebootstrap,
}

impl ClientContext for SourceContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            // Asked for because of one kind of line only; too much for the log.
            RDKafkaLogLevel::Debug => self.seen_ids.read_line(text),
            _ => self.log.line(level, facility, text),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.rebootstrap.note(&error);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.reach.set(false);
        }
        self.log.error(&error, reason);
    }

    fn stats_raw(&self, json: &[u8]) {
        match serde_json::from_slice(json) {
            Ok(statistics) => *self.statistics.lock() = Some(statistics),
            Err(error) => self
                .log
                .warn(format_args!("statistics cannot be read: {error}")),
        }
    }
}

impl Returning for SourceContext {
    fn rebootstrap(&self) -> &Rebootstrap {
        &self.rebootstrap
    }
}

impl ConsumerContext for SourceContext {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        match result.as_ref().map_err(KafkaError::rdkafka_error_code) {
            Ok(()) | Err(Some(RDKafkaErrorCode::NoOffset)) => {}
            Err(_) => self
                .log
                .warn(format_args!("offsets could not be committed: {result:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_librdkafka_statistics_and_ignores_the_rest() {
        let json = br#"{"name":"x","topics":{"rig":{"age":1,"partitions":{
            "0":{"next_offset":5,"hi_offset":7,"fetchq_cnt":2,"fetch_state":"active"},
            "-1":{"next_offset":0,"hi_offset":-1001,"fetchq_cnt":0}}}}}"#;
        let statistics: Statistics = serde_json::from_slice(json).unwrap();
        let expected = PartitionStatistics {
            next_offset: 5,
            hi_offset: 7,
            fetchq_cnt: 2,
        };
        assert_eq!(statistics.of("rig", 0), Some(expected));
        assert_eq!(statistics.of("rig", 1), None);
        assert_eq!(statistics.of("other", 0), None);
    }

    #[test]
    fn reach_sets_gauge_and_condition() {
        let (metrics, readiness) = (Metrics::new(), Readiness::new());
        let reach = Reach::new(metrics.clone(), readiness.clone());
        for is_up in [false, true, true, false] {
            reach.set(is_up);
            assert_eq!(readiness.holds(Condition::KafkaReachable), is_up);
            assert_eq!(metrics.kafka_up.get(), i64::from(is_up));
        }
    }
}
