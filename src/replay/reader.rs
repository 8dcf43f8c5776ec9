//! The thread that reads the past from Kafka: several partitions at a time, each from a given offset.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::history::{Desk, Load};
use super::record::{Record, RecordDecoder};
use super::running::{AtEnd, Progress, Running};
use crate::event::Range;
use crate::kafka::{ConfigError, Consumer, KafkaConfig};

/// How many partitions are read at a time.
const LOADS_AT_ONCE: usize = 16;
/// How long a poll waits for a record while something is to be read.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// How many records are taken before those who wait are told.
const RECORDS_PER_TURN: usize = 2048;
/// How long one question to Kafka may take: meanwhile nothing is read.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// How long a load may stand still before it makes room for others; whoever still needs it asks again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often Kafka is asked about a partition that does not give what a load needs.
const END_INTERVAL: Duration = Duration::from_millis(100);

/// What the client says of an offset that Kafka does not have.
const OUT_OF_RANGE: RDKafkaErrorCode = RDKafkaErrorCode::AutoOffsetReset;

/// The state of the reading thread.
pub(super) struct Reader {
    consumer: Consumer,
    config: KafkaConfig,
    topics: Arc<[String]>,
    decoder: RecordDecoder,
    desk: Arc<Desk>,
    running: Vec<Running>,
}

impl Reader {
    pub(super) fn new(
        kafka: &KafkaConfig,
        topics: Arc<[String]>,
        decoder: RecordDecoder,
        desk: Arc<Desk>,
    ) -> Result<Self, ConfigError> {
        let group = format!("{}-{}-history", kafka.cluster_name, kafka.instance());
        let own = [
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            // What was deleted is told, and not read over.
            ("auto.offset.reset", "error"),
            // What is asked for is there; a new partition must not wait for the answer about an old one.
            ("fetch.wait.max.ms", "10"),
            // What is fetched beyond a load is thrown away.
            ("queued.min.messages", "4096"),
            ("queued.max.messages.kbytes", "4096"),
        ];
        let consumer = Consumer::new(&kafka.consumer(&group, &own), kafka.quiet())?;
        Ok(Self {
            consumer,
            config: kafka.clone(),
            topics,
            decoder,
            desk,
            running: Vec::new(),
        })
    }

    /// Reads what is asked for until told to stop.
    pub(super) fn run(mut self) {
        while !self.desk.is_stopping() {
            self.start_loads();
            self.take_records();
            self.look_at_ends();
            self.give_up();
            self.desk.announce();
        }
    }

    /// Starts what waits. The end of a partition is told by its number alone, so no two partitions
    /// of the same number are read at a time.
    fn start_loads(&mut self) {
        while self.running.len() < LOADS_AT_ONCE {
            let is_free = |load: &Load| {
                let number = load.range.partition;
                self.running
                    .iter()
                    .all(|other| other.load.range.partition != number)
            };
            let Some(load) = self.desk.next_load(!self.running.is_empty(), is_free) else {
                return;
            };
            self.assign(&load, load.range.from);
            self.running.push(Running::new(load));
        }
    }

    /// Takes the records that are there.
    fn take_records(&mut self) {
        let mut wait = POLL_WAIT;
        for _ in 0..RECORDS_PER_TURN {
            if self.running.is_empty() {
                break;
            }
            let went_on = match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => self.place(&message).and_then(|place| {
                    let running = self.running.get_mut(place)?;
                    Some((
                        place,
                        take(
                            running,
                            &self.decoder,
                            &self.desk,
                            &message,
                            self.config.is_embedded,
                        ),
                    ))
                }),
                Some(Err(KafkaError::PartitionEOF(partition))) => self
                    .running
                    .iter()
                    .position(|running| {
                        i32::try_from(running.load.range.partition) == Ok(partition)
                    })
                    .and_then(|place| {
                        Some((place, self.running.get_mut(place)?.at_end(Instant::now())))
                    }),
                Some(Err(error)) if error.rdkafka_error_code() == Some(OUT_OF_RANGE) => {
                    self.look_into_all();
                    break;
                }
                Some(Err(error)) => {
                    self.note(&error);
                    break;
                }
            };
            wait = Duration::ZERO;
            if let Some((place, Progress::Done)) = went_on {
                self.finish(place);
            }
        }
    }

    /// Has all loads looked into: the client does not say which of them begins with what was deleted.
    fn look_into_all(&mut self) {
        let now = Instant::now();
        self.running
            .iter_mut()
            .for_each(|running| running.look_into(now));
    }

    /// Returns to which load a record belongs.
    fn place(&self, message: &BorrowedMessage<'_>) -> Option<usize> {
        let topic = self
            .topics
            .iter()
            .position(|topic| topic == message.topic())?;
        self.running.iter().position(|running| {
            let range = running.load.range;
            usize::from(range.topic) == topic
                && i32::try_from(range.partition) == Ok(message.partition())
        })
    }

    /// Asks Kafka about partitions that do not give what their loads need.
    fn look_at_ends(&mut self) {
        let now = Instant::now();
        let is_due = |running: &Running| running.is_end_due(now, END_INTERVAL);
        while let Some(place) = self.running.iter().position(is_due) {
            let Some(load) = self.running.get(place).map(|running| running.load) else {
                return;
            };
            let kept = self.kept(&load).inspect_err(|error| self.note(error)).ok();
            let asked = Instant::now();
            let Some(running) = self.running.get_mut(place) else {
                return;
            };
            match running.meaning(kept, asked) {
                AtEnd::Wait => {}
                AtEnd::Deleted(oldest) => {
                    running.hand_out(&self.desk);
                    self.desk.deleted(&load, oldest);
                    self.drop_load(place);
                }
                AtEnd::Lost(from) => {
                    running.hand_out(&self.desk);
                    self.desk.lost(&load, from);
                    self.drop_load(place);
                }
                AtEnd::ReadAgain(from) => {
                    self.unassign(&load);
                    self.assign(&load, from);
                }
            }
        }
    }

    /// Hands out the last page of a load, up to its end.
    fn finish(&mut self, place: usize) {
        let mut running = self.running.swap_remove(place);
        running.hand_out_last(&self.desk);
        self.end(&running.load);
    }

    fn drop_load(&mut self, place: usize) {
        let running = self.running.swap_remove(place);
        self.end(&running.load);
    }

    /// Returns the first offset that Kafka keeps of a load's partition, and its end.
    fn kept(&self, load: &Load) -> KafkaResult<(i64, i64)> {
        let topic = self.topics.get(usize::from(load.range.topic));
        let topic = topic.map_or("", String::as_str);
        let partition = i32::try_from(load.range.partition).unwrap_or(i32::MAX);
        self.consumer.fetch_watermarks(topic, partition, ASK_LIMIT)
    }

    fn end(&self, load: &Load) {
        self.unassign(load);
        self.desk.done(load);
    }

    fn assign(&self, load: &Load, from: i64) {
        if let Some(list) = self.list(load, Offset::Offset(from))
            && let Err(error) = self.consumer.incremental_assign(&list)
        {
            tracing::error!(%error, "a partition cannot be read again");
        }
    }

    fn unassign(&self, load: &Load) {
        if let Some(list) = self.list(load, Offset::Invalid)
            && let Err(error) = self.consumer.incremental_unassign(&list)
        {
            tracing::error!(%error, "a partition that was read again cannot be let go");
        }
    }

    fn note(&self, error: &KafkaError) {
        let log = &self.config.log;
        log.warn(format_args!("reading the past: {error}"));
    }

    /// Ends loads that stand still, and those of which nothing would be taken.
    fn give_up(&mut self) {
        let generation = self.desk.generation();
        let is_over = |running: &Running| {
            running.moved_at.elapsed() > PATIENCE || running.load.generation != generation
        };
        while let Some(place) = self.running.iter().position(is_over) {
            self.drop_load(place);
        }
    }

    fn list(&self, load: &Load, offset: Offset) -> Option<TopicPartitionList> {
        let topic = self.topics.get(usize::from(load.range.topic))?;
        let partition = i32::try_from(load.range.partition).ok()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, offset).ok()?;
        Some(list)
    }
}

/// Adds a record to its load, and hands out a page that is full.
fn take(
    running: &mut Running,
    decoder: &RecordDecoder,
    desk: &Desk,
    message: &BorrowedMessage<'_>,
    is_embedded: bool,
) -> Progress {
    let Range {
        topic, partition, ..
    } = running.load.range;
    // The embedded broker refuses no offset: it goes on with what it has.
    if is_embedded && running.is_doubtful(message.offset()) {
        running.look_into(Instant::now());
        return Progress::Going;
    }
    let event = Record::of_message(message, topic, partition, |record| decoder.decode(record));
    let progress = running.add(event.ok(), message.offset());
    if running.is_full() {
        running.hand_out(desk);
    }
    progress
}
