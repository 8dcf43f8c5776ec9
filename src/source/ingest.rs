//! The one door in: records become events, get their fields and their place in the log, and go to
//! the shards.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::dispatch::{Dispatcher, Opening, TokenKey};
use crate::event::{Epoch, Positions};
use crate::replay::{LoggedEvent, Record, RecordDecoder, Rejected, ReplayLog};
use crate::telemetry::{Limited, Metrics};

/// What ingest needs of the rooms below.
#[derive(Debug, Clone)]
pub struct IngestParts {
    /// The source topics in their configured order.
    pub topics: Arc<[String]>,
    /// Makes events of records.
    pub decoder: RecordDecoder,
    /// Where the events are appended.
    pub log: Arc<ReplayLog>,
    /// Whom they are handed to.
    pub dispatcher: Dispatcher,
    /// Has the key of connection tokens, once it is known.
    pub token_key: Arc<OnceLock<TokenKey>>,
    /// Where to count.
    pub metrics: Metrics,
}

/// Takes records in the order in which everybody will see them.
///
/// Owned by the one thread that reads: the order of [`Ingest::accept`] is the order of the log.
#[derive(Debug)]
pub struct Ingest {
    parts: IngestParts,
    /// Where every partition stands, without the records that are not flushed.
    flushed: Positions,
    /// Where every partition stands.
    positions: Positions,
    events: Vec<LoggedEvent>,
    /// How many records of each topic came since the last flush.
    consumed: Vec<u64>,
    rejections: Limited,
}

impl Ingest {
    /// Starts with no partition assigned.
    #[must_use]
    pub fn new(parts: IngestParts) -> Self {
        let positions = Positions::of_topics(parts.topics.iter().map(String::as_str));
        Self {
            consumed: vec![0; parts.topics.len()],
            parts,
            flushed: positions.clone(),
            positions,
            events: Vec::new(),
            rejections: Limited::new(Duration::from_secs(1)),
        }
    }

    /// Sets where a partition is read from; before its first record, or when it begins anew.
    pub fn assign(&mut self, topic: u16, partition: u32, next_offset: i64) {
        self.flush();
        self.positions.set(topic, partition, next_offset);
        self.flushed.set(topic, partition, next_offset);
        self.parts.log.begin(topic, partition, next_offset);
    }

    /// Sets which topic of its name a topic is, before its first partition is assigned.
    pub fn learn(&mut self, topic: u16, epoch: Epoch) {
        self.flush();
        self.positions.learn(topic, epoch);
        self.flushed.learn(topic, epoch);
    }

    /// Goes on with the topic that was made anew under the same name: everybody is told, and the next
    /// records are those of the new one.
    ///
    /// Its partitions have to be assigned again. Blocks like [`Ingest::flush`].
    pub fn begin_anew(&mut self, topic: u16, epoch: Epoch) {
        self.flush();
        self.positions.begin_anew(topic, epoch);
        self.flushed.begin_anew(topic, epoch);
        self.parts.log.begin_anew(topic, epoch);
        self.parts.dispatcher.begin_anew(topic, epoch);
    }

    /// Tells the shards that Kafka was asked at `asked` which topics there are, and that they were
    /// told all that it said. Blocks like [`Ingest::flush`].
    pub fn verified(&mut self, asked: Instant) {
        self.parts.dispatcher.verified(asked);
    }

    /// Decodes a record and keeps its event until the next [`Ingest::flush`].
    ///
    /// A record that is no event is counted by its reason, logged at a limited rate, and skipped.
    pub fn accept(&mut self, record: Record<'_>) {
        if let Some(count) = self.consumed.get_mut(usize::from(record.topic)) {
            *count += 1;
        }
        match self.parts.decoder.decode(record) {
            Ok(event) => self.events.push(event),
            Err(rejected) => self.reject(record, &rejected),
        }
        self.positions
            .set(record.topic, record.partition, record.offset + 1);
    }

    /// Appends what was accepted to the log and hands it to the shards.
    ///
    /// Blocks while a shard is a full queue behind.
    pub fn flush(&mut self) {
        self.count();
        if self.events.is_empty() {
            return;
        }
        let start = std::mem::replace(&mut self.flushed, self.positions.clone());
        let (batch, bytes) = self
            .parts
            .log
            .append(start, std::mem::take(&mut self.events));
        self.parts
            .metrics
            .ring_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.parts.dispatcher.dispatch(&batch);
    }

    /// Lets streams begin, after everything that was accepted so far.
    ///
    /// Returns false while the key of connection tokens is not known; then the caller asks again.
    pub fn open(&mut self) -> bool {
        let Some(token_key) = self.parts.token_key.get().cloned() else {
            return false;
        };
        self.flush();
        self.parts.dispatcher.open(Opening {
            token_key,
            positions: self.positions.clone(),
        });
        true
    }

    /// Adds what came since the last time to the counters, once for all records.
    fn count(&mut self) {
        for (topic, count) in self.parts.topics.iter().zip(&mut self.consumed) {
            if *count > 0 {
                let counter = self
                    .parts
                    .metrics
                    .consumed
                    .with_label_values(&[topic.as_str()]);
                counter.inc_by(std::mem::take(count));
            }
        }
    }

    fn reject(&self, record: Record<'_>, rejected: &Rejected) {
        let reason = rejected.reason();
        self.parts.metrics.reject(reason);
        if let Some(suppressed) = self.rejections.admit(reason.as_str(), Instant::now()) {
            tracing::warn!(
                topic = self.parts.topics.get(usize::from(record.topic)).map(String::as_str),
                partition = record.partition,
                offset = record.offset,
                reason = reason.as_str(),
                error = ?rejected.to_string(),
                suppressed,
                "skipped a record that is not an event"
            );
        }
    }
}
