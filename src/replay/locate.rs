//! Where a client begins that has no cursor: with the oldest record, at a time, or some matches back.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::history::{Busy, Desk, Turn};
use super::log::{Batch, LoggedEvent, Range, ReplayLog};
use crate::kafka::{ConfigError, KafkaConfig, QuietContext};
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

/// A topic's index, a partition and its next offset.
type Place = (u16, u32, i64);

struct Question {
    at: StartAt,
    wanted: Wanted,
    answer: oneshot::Sender<Vec<Place>>,
}

/// Asks the thread that looks.
#[derive(Debug)]
pub(super) struct Locator {
    questions: SyncSender<Question>,
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
        let consumer = kafka
            .consumer(&group, &own)
            .create_with_context(kafka.quiet())?;
        let (questions, asked) = sync_channel(QUESTIONS);
        let looking = Looking {
            consumer,
            config: kafka.clone(),
            topics,
            log,
            desk,
            asked,
            kept: None,
        };
        Ok((Self { questions }, looking))
    }

    pub(super) async fn ask(&self, at: StartAt, wanted: Wanted) -> Result<Vec<Place>, Busy> {
        let (answer, answered) = oneshot::channel();
        let question = Question { at, wanted, answer };
        match self.questions.try_send(question) {
            Ok(()) => answered.await.map_err(|_| Busy),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Busy),
        }
    }
}

/// What a partition keeps.
#[derive(Debug, Clone, Copy)]
struct Kept {
    topic: u16,
    partition: u32,
    first: i64,
    end: i64,
}

/// The state of the thread that looks.
pub(super) struct Looking {
    consumer: BaseConsumer<QuietContext>,
    config: KafkaConfig,
    topics: Arc<[String]>,
    log: Arc<ReplayLog>,
    desk: Arc<Desk>,
    asked: Receiver<Question>,
    /// What Kafka said last about its partitions, and when.
    kept: Option<(Instant, Vec<Kept>)>,
}

impl Looking {
    /// Answers until nobody can ask any more.
    pub(super) fn run(mut self) {
        while let Ok(question) = self.asked.recv() {
            if let Some(places) = self.answer(&question)
                && question.answer.send(places).is_err()
            {
                tracing::debug!("a client went before it was known where it begins");
            }
        }
    }

    /// Tries until Kafka answers, or nobody waits any more.
    fn answer(&mut self, question: &Question) -> Option<Vec<Place>> {
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
                }
            }
        }
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
        let mut left = count;
        let held = self.log.newest_first();
        let mut starts = held.end;
        let is_current = |batch: &Batch, event: &LoggedEvent| {
            batch.start.is_same_topic(event.topic, &held.begin)
        };
        for event in held.batches.iter().flat_map(|batch| {
            let newest_first = batch.events.iter().rev();
            newest_first.filter(move |event| is_current(batch, event))
        }) {
            if left == 0 {
                return Ok(starts.iter().collect());
            }
            if wanted.matches(&event.event, &event.fields) {
                starts.set(event.topic, event.partition, event.offset);
                left -= 1;
            }
        }
        let mut windows: Vec<Window> = self
            .kept()?
            .iter()
            .map(|kept| {
                let end = held.begin.next_offset(kept.topic, kept.partition);
                Window::new(*kept, end)
            })
            .collect();
        self.widen(&mut windows, left, wanted);
        for (topic, partition, offset) in newest(&windows, left) {
            starts.set(topic, partition, offset);
        }
        Ok(starts.iter().collect())
    }

    /// Looks further and further back until `count` matches are found that none can be newer than.
    fn widen(&self, windows: &mut [Window], count: usize, wanted: &Wanted) {
        let mut step = FIRST_STEP;
        let mut looked_at = 0;
        while looked_at < MAX_LOOKED_AT && count > 0 {
            let youngest_out =
                newest(windows, count)
                    .nth(count - 1)
                    .map(|(topic, partition, offset)| {
                        let of_it = |window: &&Window| {
                            (window.kept.topic, window.kept.partition) == (topic, partition)
                        };
                        windows
                            .iter()
                            .find(of_it)
                            .map_or(i64::MIN, |window| window.age_at(offset))
                    });
            let ranges: Vec<(usize, Range)> = windows
                .iter()
                .enumerate()
                .filter_map(|(place, window)| Some((place, window.further(step, youngest_out)?)))
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
                        seen.oldest_ms = seen.oldest_ms.min(event.timestamp_ms);
                        if wanted.matches(&event.event, &event.fields) {
                            seen.matches.push((event.offset, event.timestamp_ms));
                        }
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
            let metadata = self.consumer.fetch_metadata(Some(name), ASK_LIMIT)?;
            let Some(found) = metadata.topics().iter().find(|found| found.name() == name) else {
                continue;
            };
            for partition in found.partitions() {
                let (first, end) =
                    self.consumer
                        .fetch_watermarks(name, partition.id(), ASK_LIMIT)?;
                let partition = u32::try_from(partition.id()).map_err(|_| {
                    KafkaError::OffsetFetch(rdkafka::error::RDKafkaErrorCode::UnknownPartition)
                })?;
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

/// What was found in a range.
#[derive(Debug)]
struct Seen {
    /// Offsets and timestamps of what matches, oldest first.
    matches: Vec<(i64, i64)>,
    /// The oldest timestamp of all events.
    oldest_ms: i64,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            matches: Vec::new(),
            oldest_ms: i64::MAX,
        }
    }
}

/// The part of a partition that was looked at, from its end backwards.
#[derive(Debug)]
struct Window {
    kept: Kept,
    begin: i64,
    /// The oldest timestamp in the window.
    oldest_ms: i64,
    /// Offsets and timestamps of what matches, newest first. The timestamps are made to fall, so that
    /// the newest matches of a partition are always the last ones.
    matches: Vec<(i64, i64)>,
}

impl Window {
    fn new(kept: Kept, end: i64) -> Self {
        Self {
            kept,
            begin: end.max(kept.first),
            oldest_ms: i64::MAX,
            matches: Vec::new(),
        }
    }

    /// Returns what to look at next, unless nothing older can be among the matches, of which the
    /// oldest has the timestamp `youngest_out_ms`.
    fn further(&self, step: i64, youngest_out_ms: Option<i64>) -> Option<Range> {
        let is_settled = youngest_out_ms.is_some_and(|needed_ms| self.oldest_ms <= needed_ms);
        let from = self.begin.saturating_sub(step).max(self.kept.first);
        (from < self.begin && !is_settled).then_some(Range {
            topic: self.kept.topic,
            partition: self.kept.partition,
            from,
            to: self.begin,
        })
    }

    fn add(&mut self, begin: i64, seen: Seen) {
        self.begin = begin;
        self.oldest_ms = self.oldest_ms.min(seen.oldest_ms);
        for (offset, timestamp_ms) in seen.matches.into_iter().rev() {
            let newer_ms = self
                .matches
                .last()
                .map_or(i64::MAX, |(_, newer_ms)| *newer_ms);
            self.matches.push((offset, timestamp_ms.min(newer_ms)));
        }
    }

    fn age_at(&self, offset: i64) -> i64 {
        let found = self.matches.iter().find(|(of, _)| *of == offset);
        found.map_or(i64::MIN, |(_, timestamp_ms)| *timestamp_ms)
    }
}

/// Returns the newest `count` matches of all partitions, newest first.
fn newest(windows: &[Window], count: usize) -> impl Iterator<Item = Place> {
    let mut all: Vec<(i64, i64, u16, u32)> = windows
        .iter()
        .flat_map(|window| {
            let of_window = window.matches.iter().take(count);
            of_window.map(|(offset, timestamp_ms)| {
                (
                    *timestamp_ms,
                    *offset,
                    window.kept.topic,
                    window.kept.partition,
                )
            })
        })
        .collect();
    all.sort_unstable_by(|one, other| other.cmp(one));
    all.truncate(count);
    all.into_iter()
        .map(|(_, offset, topic, partition)| (topic, partition, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(partition: u32, matches: &[(i64, i64)]) -> Window {
        let kept = Kept {
            topic: 0,
            partition,
            first: 0,
            end: 100,
        };
        let mut window = Window::new(kept, 100);
        let oldest_ms = matches.iter().map(|(_, ms)| *ms).min().unwrap_or(i64::MAX);
        let matches = matches.to_vec();
        window.add(50, Seen { matches, oldest_ms });
        window
    }

    #[test]
    fn the_newest_matches_are_the_last_ones_of_their_partitions_whatever_their_timestamps() {
        let windows = [
            window(0, &[(60, 900), (61, 5), (62, 6)]),
            window(1, &[(70, 4), (71, 7)]),
        ];
        let found: Vec<Place> = newest(&windows, 4).collect();
        assert_eq!(found, [(0, 1, 71), (0, 0, 62), (0, 0, 61), (0, 0, 60)]);
    }

    #[test]
    fn a_window_is_widened_only_where_it_can_hold_something_newer() {
        let window = window(0, &[(60, 10)]);
        assert_eq!(window.further(20, Some(10)), None);
        let range = Range {
            topic: 0,
            partition: 0,
            from: 30,
            to: 50,
        };
        assert_eq!(window.further(20, Some(9)), Some(range));
        assert_eq!(window.further(20, None), Some(range));
        assert_eq!(window.further(200, None).map(|range| range.from), Some(0));
    }
}
