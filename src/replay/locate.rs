//! Where a client begins that has no cursor: with the oldest record, at a time, or some matches back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::history::{Busy, Desk, Turn};
use super::log::{LoggedEvent, ReplayLog};
use super::newest::{Kept, Place, Seen, Window, look_through, newest, oldest_of};
use crate::event::Range;
use crate::kafka::{ConfigError, Consumer, KafkaConfig, partition_count};
use crate::subscription::Subscriptions;

/// How many may wait for an answer.
const QUESTIONS: usize = 4096;
/// How long one question to Kafka may take.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait before the next try when Kafka is away.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// For how long an answer of Kafka about what its partitions keep is used again.
const KEPT_LIFE: Duration = Duration::from_secs(1);
/// How many records of each partition are looked at first, from behind; then four times as many.
const FIRST_STEP: i64 = 1000;
/// How many records are looked at for one client.
const MAX_LOOKED_AT: i64 = 200_000;
/// How many batches of the log are looked through before it is asked whether that is enough.
const BATCHES_PER_STEP: usize = 8;
/// How long to wait for a page before looking again.
const PAGE_WAIT: Duration = Duration::from_millis(20);

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest record that Kafka keeps.
    Earliest,
    /// With the first record of each partition whose timestamp is this or later, in Unix milliseconds.
    Since(i64),
    /// So that this many events match that are there already, the newest ones by their timestamps; or
    /// fewer, where no more are found among the newest 200,000 records.
    Last(usize),
}

/// Which events count for [`StartAt::Last`].
pub type Wanted = Subscriptions;

/// What is asked of the thread that looks.
enum Question {
    /// Where a client begins.
    Begin(Begin),
    /// Where the partitions end.
    Ends,
}

struct Begin {
    at: StartAt,
    wanted: Wanted,
    answer: oneshot::Sender<Vec<Place>>,
}

/// Where the partitions ended when Kafka was asked.
#[derive(Debug, Clone)]
pub struct Ends {
    asked: Instant,
    ends: HashMap<(u16, u32), i64>,
}

impl Ends {
    /// Returns the offset after the last record of a partition, `None` for one that Kafka does not
    /// know.
    #[must_use]
    pub fn of(&self, topic: u16, partition: u32) -> Option<i64> {
        self.ends.get(&(topic, partition)).copied()
    }
}

/// The last answer of Kafka, and whether another one is on its way.
#[derive(Debug, Default)]
struct KnownEnds {
    last: Option<Arc<Ends>>,
    is_asked: bool,
}

/// Asks the thread that looks.
#[derive(Debug)]
pub(super) struct Locator {
    questions: SyncSender<Question>,
    ends: Arc<Mutex<KnownEnds>>,
}

impl Locator {
    pub(super) fn new(
        kafka: &KafkaConfig,
        topics: Arc<[String]>,
        log: Arc<ReplayLog>,
        desk: Arc<Desk>,
    ) -> Result<(Self, Looking), ConfigError> {
        let group = format!("{}-{}-history", kafka.cluster_name, kafka.instance());
        let own = [("isolation.level", "read_committed")];
        let consumer = Consumer::new(&kafka.consumer(&group, &own), kafka.quiet())?;
        let (questions, asked) = sync_channel(QUESTIONS);
        let ends = Arc::<Mutex<KnownEnds>>::default();
        let looking = Looking {
            ends: Arc::clone(&ends),
            consumer,
            config: kafka.clone(),
            topics,
            log,
            desk,
            asked,
            kept: None,
        };
        Ok((Self { questions, ends }, looking))
    }

    pub(super) async fn ask(&self, at: StartAt, wanted: Wanted) -> Result<Vec<Place>, Busy> {
        let (answer, answered) = oneshot::channel();
        let question = Question::Begin(Begin { at, wanted, answer });
        match self.questions.try_send(question) {
            Ok(()) => answered.await.map_err(|_| Busy),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Busy),
        }
    }

    pub(super) fn ends_after(&self, asked: Instant) -> Option<Arc<Ends>> {
        let mut known = self.ends.lock();
        if let Some(last) = known.last.as_ref().filter(|last| last.asked >= asked) {
            return Some(Arc::clone(last));
        }
        if !known.is_asked {
            known.is_asked = self.questions.try_send(Question::Ends).is_ok();
        }
        None
    }
}

/// The state of the thread that looks.
pub(super) struct Looking {
    consumer: Consumer,
    config: KafkaConfig,
    topics: Arc<[String]>,
    log: Arc<ReplayLog>,
    desk: Arc<Desk>,
    asked: Receiver<Question>,
    ends: Arc<Mutex<KnownEnds>>,
    /// What Kafka said last about its partitions, and when.
    kept: Option<(Instant, Vec<Kept>)>,
}

impl Looking {
    /// Answers until nobody can ask any more.
    pub(super) fn run(mut self) {
        while let Ok(question) = self.asked.recv() {
            match question {
                Question::Ends => self.learn_ends(),
                Question::Begin(begin) => {
                    if let Some(places) = self.answer(&begin)
                        && begin.answer.send(places).is_err()
                    {
                        tracing::debug!("a client went before it was known where it begins");
                    }
                }
            }
        }
    }

    /// Asks Kafka where its partitions end; when it is away, somebody asks again.
    fn learn_ends(&mut self) {
        let asked = Instant::now();
        let kept = self.ask_kept();
        let mut known = self.ends.lock();
        known.is_asked = false;
        match kept {
            Ok(kept) => {
                let end = |kept: &Kept| ((kept.topic, kept.partition), kept.end);
                let ends = kept.iter().map(end).collect();
                known.last = Some(Arc::new(Ends { asked, ends }));
            }
            Err(error) => {
                let log = &self.config.log;
                log.warn(format_args!("looking for the ends of the topics: {error}"));
                drop(known);
                self.hear_errors();
            }
        }
    }

    /// Tries until Kafka answers, or nobody waits any more.
    fn answer(&mut self, question: &Begin) -> Option<Vec<Place>> {
        loop {
            if question.answer.is_closed() || self.desk.is_stopping() {
                return None;
            }
            let found = match question.at {
                StartAt::Earliest => self.earliest(),
                StartAt::Since(time_ms) => self.since(time_ms),
                StartAt::Last(count) => self.last(count, &question.wanted),
            };
            match found {
                Ok(places) => return Some(places),
                Err(error) => {
                    let log = &self.config.log;
                    log.warn(format_args!("looking for where a client begins: {error}"));
                    std::thread::sleep(RETRY_PAUSE);
                    self.hear_errors();
                }
            }
        }
    }

    /// Has the client tell its context that it has no brokers left, if so.
    fn hear_errors(&self) {
        // Nothing is assigned: there are no records.
        drop(self.consumer.poll(Duration::ZERO));
    }

    fn earliest(&mut self) -> KafkaResult<Vec<Place>> {
        let place = |kept: &Kept| (kept.topic, kept.partition, kept.first);
        Ok(self.kept()?.iter().map(place).collect())
    }

    fn since(&mut self, time_ms: i64) -> KafkaResult<Vec<Place>> {
        let kept = self.kept()?.to_vec();
        let mut times = TopicPartitionList::new();
        for kept in &kept {
            let (topic, partition) = self.name(kept);
            times.add_partition_offset(topic, partition, Offset::Offset(time_ms.max(0)))?;
        }
        let found = self.consumer.offsets_for_times(times, ASK_LIMIT)?;
        let place = |kept: &Kept| {
            let (topic, partition) = self.name(kept);
            let offset = match found
                .find_partition(topic, partition)
                .map(|found| found.offset())
            {
                Some(Offset::Offset(offset)) => offset,
                // Nothing is that young.
                _ => kept.end,
            };
            (kept.topic, kept.partition, offset)
        };
        Ok(kept.iter().map(place).collect())
    }

    /// Goes back through the log, and where that is not enough, through what Kafka keeps.
    fn last(&mut self, count: usize, wanted: &Wanted) -> KafkaResult<Vec<Place>> {
        let held = self.log.newest_first();
        let window = |kept: &Kept| {
            let end = held.end.next_offset(kept.topic, kept.partition);
            Window::new(*kept, end)
        };
        let mut windows: Vec<Window> = self.kept()?.iter().map(window).collect();
        for batches in held.batches.chunks(BATCHES_PER_STEP) {
            if windows
                .iter()
                .all(|window| window.is_settled(oldest_of(&windows, count)))
            {
                break;
            }
            look_through(batches, &held.begin, wanted, &mut windows);
        }
        self.widen(&mut windows, count, wanted);
        let mut starts = held.end;
        for (topic, partition, offset) in newest(&windows, count) {
            starts.set(topic, partition, offset);
        }
        Ok(starts.iter().collect())
    }

    /// Looks further and further back in Kafka until `count` matches are found that none can be newer
    /// than.
    fn widen(&self, windows: &mut [Window], count: usize, wanted: &Wanted) {
        let mut step = FIRST_STEP;
        let mut looked_at = 0;
        while looked_at < MAX_LOOKED_AT {
            let oldest = oldest_of(windows, count);
            let ranges: Vec<(usize, Range)> = windows
                .iter()
                .enumerate()
                .filter(|(_, window)| !window.is_settled(oldest))
                .filter_map(|(place, window)| Some((place, window.further(step)?)))
                .collect();
            if ranges.is_empty() {
                return;
            }
            // All are asked for first, so that they are read at the same time.
            for (_, range) in &ranges {
                self.desk.page(*range);
            }
            for (place, range) in ranges {
                let Some(events) = self.read(range, wanted) else {
                    return;
                };
                looked_at += range.to - range.from;
                if let Some(window) = windows.get_mut(place) {
                    window.add(range.from, events);
                }
            }
            step = step.saturating_mul(4);
        }
    }

    /// Reads a range, and returns what matches and the oldest timestamp; `None` at the end.
    fn read(&self, range: Range, wanted: &Wanted) -> Option<Seen> {
        let mut seen = Seen::default();
        let mut at = range.from;
        while at < range.to {
            match self.desk.page(Range { from: at, ..range }) {
                Turn::Loading => {
                    if !self.desk.wait(PAGE_WAIT) {
                        return None;
                    }
                }
                Turn::Expired(oldest) => at = oldest.max(at + 1),
                Turn::Page(page) => {
                    let of_range = |event: &&LoggedEvent| event.offset < range.to;
                    for event in page.events_from(at).iter().take_while(of_range) {
                        seen.add(event, wanted);
                    }
                    at = page.next;
                }
            }
        }
        Some(seen)
    }

    fn name(&self, kept: &Kept) -> (&str, i32) {
        let topic = self
            .topics
            .get(usize::from(kept.topic))
            .map_or("", String::as_str);
        (topic, i32::try_from(kept.partition).unwrap_or(i32::MAX))
    }

    /// Returns what the partitions keep, as Kafka said a moment ago.
    fn kept(&mut self) -> KafkaResult<&[Kept]> {
        let is_fresh = |(at, _): &(Instant, Vec<Kept>)| at.elapsed() < KEPT_LIFE;
        if !self.kept.as_ref().is_some_and(is_fresh) {
            self.kept = Some((Instant::now(), self.ask_kept()?));
        }
        Ok(self.kept.as_ref().map_or(&[], |(_, kept)| kept.as_slice()))
    }

    fn ask_kept(&self) -> KafkaResult<Vec<Kept>> {
        let mut kept = Vec::new();
        for (topic, name) in (0_u16..).zip(&*self.topics) {
            let count = partition_count(&self.consumer, name, ASK_LIMIT)?.unwrap_or_default();
            for (partition, number) in (0_u32..).zip(0..count) {
                let (first, end) = self.consumer.fetch_watermarks(name, number, ASK_LIMIT)?;
                kept.push(Kept {
                    topic,
                    partition,
                    first,
                    end,
                });
            }
        }
        Ok(kept)
    }
}
