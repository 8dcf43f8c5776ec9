//! The thread that reads the past from Kafka: several partitions at a time, each from a given offset.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::history::{Desk, Load};
use super::log::LoggedEvent;
use super::pages::Page;
use super::record::{Record, RecordDecoder};
use crate::kafka::{ConfigError, Consumer, KafkaConfig};

/// How many partitions are read at a time.
const LOADS_AT_ONCE: usize = 16;
/// After so many bytes of events a page is handed out.
const PAGE_BYTES: usize = 256 * 1024;
/// After so many records a page is handed out.
const PAGE_RECORDS: i64 = 1024;
/// How long a poll waits for a record while something is to be read.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// How many records are taken before those who wait are told.
const RECORDS_PER_TURN: usize = 2048;
/// How long one question to Kafka may take.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// How long a load may stand still before it is given up; whoever still needs it asks again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The state of the reading thread.
pub(super) struct Reader {
    consumer: Consumer,
    config: KafkaConfig,
    topics: Arc<[String]>,
    decoder: RecordDecoder,
    desk: Arc<Desk>,
    running: Vec<Running>,
}

/// A load that is being read.
struct Running {
    load: Load,
    /// Where the page at hand begins.
    from: i64,
    /// The next offset to come.
    next: i64,
    events: Vec<LoggedEvent>,
    bytes: usize,
    /// Whether a record has come.
    has_begun: bool,
    moved_at: Instant,
}

/// How a load goes on after a record.
enum Progress {
    Going,
    Done,
    /// The record is not the one that was asked for, but a later one.
    Skipped,
    /// The record is an earlier one: the topic is not what it was.
    WentBack,
    /// The partition ended before any record came.
    Empty,
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
            self.give_up_what_stands_still();
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
            match self.list(&load, Offset::Offset(load.range.from)) {
                Some(list) => {
                    if let Err(error) = self.consumer.incremental_assign(&list) {
                        tracing::error!(%error, "a partition cannot be read again");
                    }
                    self.running.push(Running::new(load));
                }
                None => self.desk.done(&load),
            }
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
                Some(Ok(message)) => take(
                    &mut self.running,
                    &self.topics,
                    &self.decoder,
                    &self.desk,
                    &message,
                ),
                Some(Err(KafkaError::PartitionEOF(partition))) => self
                    .running
                    .iter()
                    .position(|running| {
                        i32::try_from(running.load.range.partition) == Ok(partition)
                    })
                    .map(|place| (place, self.at_end(place))),
                Some(Err(error)) => {
                    self.config
                        .log
                        .warn(format_args!("reading the past: {error}"));
                    break;
                }
            };
            wait = Duration::ZERO;
            if let Some((place, progress)) = went_on {
                self.after(place, &progress);
            }
        }
    }

    /// Ends a load that is over.
    fn after(&mut self, place: usize, progress: &Progress) {
        match progress {
            Progress::Going => {}
            Progress::Done => self.finish(place),
            Progress::Skipped | Progress::WentBack | Progress::Empty => {
                let Some(Running { load, .. }) = self.running.get(place) else {
                    return;
                };
                let load = *load;
                match self.oldest(&load, matches!(progress, Progress::WentBack)) {
                    Ok(oldest) if oldest > load.range.from => {
                        self.desk.expired(&load, oldest);
                        self.running.swap_remove(place);
                        self.end(&load);
                    }
                    // A hole: compaction and transactions leave them.
                    Ok(_) if matches!(progress, Progress::Empty) => self.finish(place),
                    Ok(_) => {}
                    Err(error) => {
                        self.config
                            .log
                            .warn(format_args!("reading the past: {error}"));
                        self.running.swap_remove(place);
                        self.end(&load);
                    }
                }
            }
        }
    }

    /// Tells what the end of its partition means for a load.
    fn at_end(&self, place: usize) -> Progress {
        match self.running.get(place) {
            Some(running) if !running.has_begun => Progress::Empty,
            _ => Progress::Done,
        }
    }

    /// Hands out the last page of a load, up to its end.
    fn finish(&mut self, place: usize) {
        let mut running = self.running.swap_remove(place);
        running.next = running.load.range.to;
        running.hand_out(&self.desk);
        self.end(&running.load);
    }

    /// Returns the oldest offset that is there for a load.
    fn oldest(&self, load: &Load, went_back: bool) -> Result<i64, KafkaError> {
        if went_back {
            return Ok(load.range.to);
        }
        let topic = self
            .topics
            .get(usize::from(load.range.topic))
            .map_or("", String::as_str);
        let partition = i32::try_from(load.range.partition).unwrap_or(i32::MAX);
        let (first, _) = self
            .consumer
            .fetch_watermarks(topic, partition, ASK_LIMIT)?;
        Ok(first)
    }

    fn end(&self, load: &Load) {
        if let Some(list) = self.list(load, Offset::Invalid)
            && let Err(error) = self.consumer.incremental_unassign(&list)
        {
            tracing::error!(%error, "a partition that was read again cannot be let go");
        }
        self.desk.done(load);
    }

    fn give_up_what_stands_still(&mut self) {
        let stands_still = |running: &Running| running.moved_at.elapsed() > PATIENCE;
        while let Some(place) = self.running.iter().position(stands_still) {
            let given_up = self.running.swap_remove(place);
            self.end(&given_up.load);
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

/// Adds a record to the load that it belongs to. Returns which load that is and how it goes on.
fn take(
    running: &mut [Running],
    topics: &[String],
    decoder: &RecordDecoder,
    desk: &Desk,
    message: &BorrowedMessage<'_>,
) -> Option<(usize, Progress)> {
    let topic = topics.iter().position(|topic| topic == message.topic())?;
    let (topic, partition) = (
        u16::try_from(topic).ok()?,
        u32::try_from(message.partition()).ok()?,
    );
    let is_of_it = |running: &Running| {
        (running.load.range.topic, running.load.range.partition) == (topic, partition)
    };
    let place = running.iter().position(is_of_it)?;
    let running = running.get_mut(place)?;
    let progress = running.step(message.offset());
    if matches!(progress, Progress::Going | Progress::Skipped) {
        running.add(
            Record::of_message(message, topic, partition, |record| decoder.decode(record)).ok(),
            message.offset(),
        );
        // Nothing is handed out before it is known whether what was skipped is a hole or is gone.
        if matches!(progress, Progress::Going) && running.is_full() {
            running.hand_out(desk);
        }
    }
    let is_over = matches!(progress, Progress::Going) && running.next >= running.load.range.to;
    Some((place, if is_over { Progress::Done } else { progress }))
}

impl Running {
    fn new(load: Load) -> Self {
        Self {
            load,
            from: load.range.from,
            next: load.range.from,
            events: Vec::new(),
            bytes: 0,
            has_begun: false,
            moved_at: Instant::now(),
        }
    }

    /// Tells what a record's offset means, before it is added.
    fn step(&mut self, offset: i64) -> Progress {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        match offset {
            offset if offset < self.load.range.from => Progress::WentBack,
            offset if is_first && offset > self.load.range.from => Progress::Skipped,
            offset if offset >= self.load.range.to => Progress::Done,
            _ => Progress::Going,
        }
    }

    fn add(&mut self, event: Option<LoggedEvent>, offset: i64) {
        if offset < self.next || offset >= self.load.range.to {
            return;
        }
        self.next = offset + 1;
        self.moved_at = Instant::now();
        if let Some(event) = event {
            self.bytes += event.size_bytes();
            self.events.push(event);
        }
    }

    const fn is_full(&self) -> bool {
        self.bytes >= PAGE_BYTES || self.next - self.from >= PAGE_RECORDS
    }

    /// Hands out the page at hand, and begins the next one.
    fn hand_out(&mut self, desk: &Desk) {
        if self.next <= self.from {
            return;
        }
        let page = Page {
            topic: self.load.range.topic,
            partition: self.load.range.partition,
            from: self.from,
            next: self.next,
            events: std::mem::take(&mut self.events),
        };
        desk.publish(page, self.load.generation);
        self.from = self.next;
        self.bytes = 0;
    }
}
