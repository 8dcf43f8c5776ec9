//! The thread that polls: records into ingest, offsets to the group.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use librdkafka_calls::TopicId;

use super::ask::SourceConsumer;
use super::context::Statistics;
use super::discovery::News;
use super::ingest::Ingest;
use super::progress::{PartitionId, Progress};
use super::start::Kept;
use crate::event::Epoch;
use crate::kafka::{KafkaConfig, Step, Stop};
use crate::replay::Record;
use crate::telemetry::{Condition, Metrics, Readiness};

/// How long a poll waits while nothing is there; what else there is to do waits as long.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// After so many records a batch is handed on.
const BATCH_RECORDS: usize = 512;
/// After so many bytes of values a batch is handed on.
const BATCH_BYTES: usize = 1_048_576;

/// The state of the polling thread.
pub(super) struct Poller {
    pub(super) consumer: Arc<SourceConsumer>,
    pub(super) ingest: Ingest,
    pub(super) topics: Vec<SourceTopic>,
    pub(super) progress: Progress,
    pub(super) news: Receiver<News>,
    pub(super) stop: Stop,
    pub(super) kafka: KafkaConfig,
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) phase: Phase,
}

/// A source topic as the polling thread knows it.
#[derive(Debug)]
pub(super) struct SourceTopic {
    name: String,
    /// Which topic is read, as discovery has told.
    id: TopicId,
    /// Which topic the client fetches from, as it says itself.
    fetched: TopicId,
    /// Whether records were left out because the two differ.
    has_left_out: bool,
}

impl SourceTopic {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            id: TopicId::UNKNOWN,
            fetched: TopicId::UNKNOWN,
            has_left_out: false,
        }
    }

    /// Returns whether the client fetches from another topic than the one that is read: it was made
    /// anew, and discovery has not told yet.
    fn is_another(&self) -> bool {
        self.id.is_known() && self.fetched.is_known() && self.id != self.fetched
    }
}

/// How far the start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not all partitions that existed at start are known.
    Finding,
    /// All are known; not all are read up to the ends seen at start.
    CatchingUp,
    /// The intake is open.
    Live,
}

impl Poller {
    /// Polls until told to stop, then commits.
    pub(super) fn run(mut self) {
        while !self.stop.is_told() {
            self.hear_news();
            self.take_batch();
            self.read_statistics();
            self.open_when_caught_up();
            self.store_offsets();
        }
        self.commit();
    }

    /// Waits for a record, then takes all that are there, up to the size of a batch.
    fn take_batch(&mut self) {
        let consumer = Arc::clone(&self.consumer);
        let (mut records, mut bytes, mut wait) = (0, 0, POLL_WAIT);
        while records < BATCH_RECORDS && bytes < BATCH_BYTES {
            match consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    records += 1;
                    bytes += message.payload_len();
                    self.take(&message);
                    wait = Duration::ZERO;
                }
                Some(Err(error)) => {
                    let log = &self.kafka.log;
                    log.warn_of(&error, format_args!("reading the source topics"));
                    break;
                }
            }
        }
        if records > 0 {
            self.ingest.flush();
        }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        self.hear_fetched();
        let name = message.topic();
        let mut topics = (0_u16..).zip(&mut self.topics);
        let Some((topic, known)) = topics.find(|(_, topic)| topic.name == name) else {
            return;
        };
        if known.is_another() {
            known.has_left_out = true;
            return;
        }
        let id = (topic, message.partition());
        let Ok(partition) = u32::try_from(id.1) else {
            return;
        };
        match self.progress.step(id, message.offset()) {
            Step::Forward => {}
            Step::Repeated => return,
            Step::Restarted => {
                self.restart(id, message.offset());
                self.progress.step(id, message.offset());
            }
        }
        Record::of_message(message, topic, partition, |record| {
            self.ingest.accept(record);
        });
    }

    /// The topic was made anew: its records are not those read before.
    fn restart(&mut self, id: PartitionId, offset: i64) {
        let topic = self.name_of(id.0);
        let expected = self.progress.next(id);
        tracing::warn!(
            topic,
            partition = id.1,
            offset,
            expected,
            "the partition began anew, reading it from its beginning"
        );
        self.place(id, offset, None);
    }

    /// Tells ingest where a partition goes on.
    fn place(&mut self, id: PartitionId, next: i64, end: Option<i64>) {
        // What was accepted of the old log is handed on before the new one begins.
        self.ingest.flush();
        self.progress.place(id, next, end);
        if let Ok(partition) = u32::try_from(id.1) {
            self.ingest.assign(id.0, partition, next);
        }
    }

    fn hear_news(&mut self) {
        let mut is_changed = self.take_up_left_out();
        while let Ok(news) = self.news.try_recv() {
            match news {
                News::Partition { id, start, end } => {
                    self.place(id, start, end);
                    is_changed = true;
                }
                News::Identity { topic, id } => is_changed |= self.identify(topic, id),
                News::Verified(asked) => self.ingest.verified(asked),
                News::AllFound => self.phase = Phase::CatchingUp,
                News::Kept { id, kept, asked } => is_changed |= self.began_anew(id, kept, asked),
            }
        }
        if is_changed {
            self.assign();
        }
    }

    /// Takes notice of which topic has a name now. Returns whether it was another one before; then
    /// its partitions are still to be told.
    fn identify(&mut self, topic: u16, id: TopicId) -> bool {
        let Some(known) = self.topics.get_mut(usize::from(topic)) else {
            return false;
        };
        let before = std::mem::replace(&mut known.id, id);
        let epoch = Epoch::of(id.to_bytes());
        if !before.is_known() {
            self.ingest.learn(topic, epoch);
            return false;
        }
        known.has_left_out = false;
        self.progress.forget_topic(topic);
        self.ingest.begin_anew(topic, epoch);
        true
    }

    /// Takes notice of the topics that the client fetches from now.
    fn hear_fetched(&mut self) {
        for (name, id) in self.consumer.context().seen_ids.take() {
            if let Some(topic) = self.topics.iter_mut().find(|topic| topic.name == name) {
                topic.fetched = id;
            }
        }
    }

    /// Returns whether records were left out of a topic that turned out to be the one that is read;
    /// they have to be fetched again.
    fn take_up_left_out(&mut self) -> bool {
        self.hear_fetched();
        let mut has_any = false;
        for topic in self.topics.iter_mut().filter(|topic| !topic.is_another()) {
            has_any |= std::mem::take(&mut topic.has_left_out);
        }
        has_any
    }

    fn name_of(&self, topic: u16) -> &str {
        let known = self.topics.get(usize::from(topic));
        known.map_or("", |topic| topic.name.as_str())
    }

    /// Goes back when a partition of the embedded broker ends before what was read of it.
    fn began_anew(&mut self, id: PartitionId, kept: Kept, asked: Instant) -> bool {
        let is_anew = kept.end > 0 && self.progress.is_another(id, kept.end, asked);
        if is_anew {
            self.restart(id, kept.first);
        }
        is_anew
    }

    /// Assigns all partitions anew, each at its next offset.
    fn assign(&mut self) {
        let list = self.offsets(self.progress.all());
        if let Err(error) = self.consumer.assign(&list) {
            tracing::error!(%error, "the source's partitions cannot be assigned");
        }
        self.progress.forget_stored();
    }

    /// Stores the offsets of what was handed on; the client commits them each second.
    fn store_offsets(&mut self) {
        let unstored: Vec<_> = self.progress.unstored().collect();
        if unstored.is_empty() {
            return;
        }
        // Fails for a moment after an assignment, until the client has taken it up.
        if self
            .consumer
            .store_offsets(&self.offsets(unstored.iter().copied()))
            .is_ok()
        {
            for (id, offset) in unstored {
                self.progress.stored(id, offset);
            }
        }
    }

    fn offsets(&self, positions: impl Iterator<Item = (PartitionId, i64)>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in positions {
            let added = match self.topics.get(usize::from(topic)) {
                Some(known) => {
                    list.add_partition_offset(&known.name, partition, Offset::Offset(offset))
                }
                None => Ok(()),
            };
            if let Err(error) = added {
                tracing::error!(%error, partition, offset, "an offset is not one");
            }
        }
        list
    }

    fn read_statistics(&mut self) {
        let Some(statistics) = self.consumer.context().statistics.lock().take() else {
            return;
        };
        let positions: Vec<_> = self.progress.all().collect();
        let lag = positions
            .into_iter()
            .map(|(id, next)| self.lag_of(&statistics, id, next))
            .sum();
        self.metrics.consumer_lag.set(lag);
    }

    /// Returns how many records of a partition are not yet read.
    fn lag_of(&mut self, statistics: &Statistics, id: PartitionId, next: i64) -> i64 {
        let Some(partition) = statistics.of(self.name_of(id.0), id.1) else {
            return 0;
        };
        if partition.fetchq_cnt == 0 {
            self.progress.reached(id, partition.next_offset);
        }
        (partition.hi_offset - next).max(0)
    }

    fn open_when_caught_up(&mut self) {
        let is_due = self.phase == Phase::CatchingUp && self.progress.has_caught_up();
        if is_due && self.ingest.open() {
            self.phase = Phase::Live;
            self.readiness.set(Condition::SourceCaughtUp, true);
            tracing::info!("the source topics are read up to the ends seen at start");
        }
    }

    /// Commits what was handed on. Waits for Kafka, so the caller bounds the time.
    fn commit(&mut self) {
        self.store_offsets();
        match self.consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) => {}
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset) => {}
            Err(error) => tracing::warn!(%error, "the last offsets could not be committed"),
        }
    }
}
