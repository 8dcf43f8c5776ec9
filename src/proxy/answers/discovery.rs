//! Finds the partitions of the response topics and has them read.
//!
//! Its calls to Kafka block, so it has a thread of its own and the polling never waits for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use librdkafka_calls::TopicId;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::kafka::{Consumer, Identities, KafkaConfig, Stop, create_missing, partition_count};
use crate::telemetry::now_ms;

/// How long one question to Kafka may take.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// As long, where another partition of the topic has not answered: such come together, when brokers are away.
const ASK_AGAIN_LIMIT: Duration = Duration::from_millis(500);
/// How often topics and partitions are looked for.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often until all of them are found.
const START_INTERVAL: Duration = Duration::from_millis(200);
/// How long what cannot be looked at holds up what can, at the start.
const PATIENCE: Duration = Duration::from_secs(10);
/// How far the clocks of those who answer may be behind, in milliseconds.
const CLOCKS_MS: i64 = 60_000;

/// A response topic.
#[derive(Debug)]
struct Topic {
    name: String,
    id: TopicId,
    /// The partitions that are read.
    read: BTreeSet<i32>,
    /// Whether some of it could not be looked at, and is read from when we began, once that is possible.
    is_missed: bool,
}

/// Since when something could be looked at at the start, and something could not.
#[derive(Debug, Default)]
struct HeldUp {
    since: Option<Instant>,
}

impl HeldUp {
    /// Returns whether that has been so for too long.
    fn is_over(&mut self, reads_some: bool, now: Instant) -> bool {
        if !reads_some {
            self.since = None;
            return false;
        }
        now >= *self.since.get_or_insert(now) + PATIENCE
    }
}

/// The state of the thread.
pub(super) struct Discovery {
    consumer: Arc<Consumer>,
    config: KafkaConfig,
    /// The number of partitions of a missing topic; `None` when topics are not to be created.
    create: Option<i32>,
    runtime: Runtime,
    topics: Vec<Topic>,
    identities: Identities,
    stands: watch::Sender<bool>,
    held_up: HeldUp,
    began_ms: i64,
}

impl Discovery {
    /// Looks for the partitions of `topics`; `stands` becomes true once all that there are at first are read from
    /// their ends, or those that can be, where others cannot be looked at for some seconds.
    pub(super) fn new(
        consumer: Arc<Consumer>,
        config: KafkaConfig,
        create: Option<i32>,
        topics: &[String],
        stands: watch::Sender<bool>,
    ) -> std::io::Result<Self> {
        let topic = |name: &String| Topic {
            name: name.clone(),
            id: TopicId::UNKNOWN,
            read: BTreeSet::new(),
            is_missed: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            consumer,
            config,
            create,
            runtime,
            identities: Identities::new(topics.len()),
            topics: topics.iter().map(topic).collect(),
            stands,
            held_up: HeldUp::default(),
            began_ms: now_ms(),
        })
    }

    /// Looks for partitions until it is to stop.
    pub(super) fn run(mut self, stop: &Stop) {
        loop {
            match self.round() {
                Ok(true) => {
                    self.stands.send_if_modified(|stands| {
                        let is_new = !*stands;
                        *stands = true;
                        is_new
                    });
                }
                Ok(false) => {}
                Err(error) => self
                    .config
                    .log
                    .warn(format_args!("looking for the response topics: {error}")),
            }
            let pause = if *self.stands.borrow() {
                INTERVAL
            } else {
                START_INTERVAL
            };
            if stop.within(pause) {
                return;
            }
        }
    }

    /// Asks once about every topic. Returns whether nothing is missing that could be there soon, or that is waited for
    /// any longer.
    fn round(&mut self) -> KafkaResult<bool> {
        let names: Vec<&str> = self
            .topics
            .iter()
            .map(|topic| topic.name.as_str())
            .collect();
        self.identities
            .ask(self.consumer.client(), &names, ASK_LIMIT)?;
        let mut is_complete = true;
        for index in 0..self.topics.len() {
            match self.look_at(index) {
                Ok(is_settled) => is_complete &= is_settled,
                Err(error) => {
                    is_complete = false;
                    self.missed(index, &error);
                }
            }
        }
        let reads_some = self.topics.iter().any(|topic| !topic.read.is_empty());
        Ok(is_complete || self.held_up.is_over(reads_some, Instant::now()))
    }

    fn missed(&mut self, index: usize, error: &KafkaError) {
        if let Some(topic) = self.topics.get_mut(index) {
            topic.is_missed = true;
            let name = &topic.name;
            let log = &self.config.log;
            log.warn(format_args!(
                "looking for the response topic {name}: {error}"
            ));
        }
    }

    fn look_at(&mut self, index: usize) -> KafkaResult<bool> {
        let Some(topic) = self.topics.get_mut(index) else {
            return Ok(true);
        };
        let Some(count) = partition_count(&self.consumer, &topic.name, ASK_LIMIT)? else {
            let (what, name) = ("response topic", &topic.name);
            let (config, runtime) = (&self.config, &self.runtime);
            return Ok(create_missing(config, runtime, what, name, self.create));
        };
        let id = self.identities.of(index).unwrap_or(TopicId::UNKNOWN);
        let is_anew = topic.id.is_known() && id.is_known() && topic.id != id
            || self.config.is_embedded && ended_earlier(&self.consumer, topic)?;
        if is_anew {
            tracing::warn!(
                topic = topic.name,
                "the response topic was made anew, reading the new one"
            );
            let read = list(&topic.name, topic.read.iter().copied(), None)?;
            self.consumer.incremental_unassign(&read)?;
            topic.read.clear();
        }
        if id.is_known() {
            topic.id = id;
        }
        let is_start = !*self.stands.borrow();
        // One that cannot be read now does not hold up the others.
        let mut failed = None;
        let read = topic.read.clone();
        for number in (0..count).filter(|number| !read.contains(number)) {
            let from = match (is_start, topic.is_missed) {
                (true, _) => ReadFrom::End,
                (false, true) => ReadFrom::Time(self.began_ms - CLOCKS_MS),
                (false, false) => ReadFrom::Beginning,
            };
            let limit = match &failed {
                None => ASK_LIMIT,
                Some(_) => ASK_AGAIN_LIMIT,
            };
            match assign(&self.consumer, (&topic.name, number), from, limit) {
                Ok(()) => {
                    topic.read.insert(number);
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        topic.is_missed = false;
        Ok(true)
    }
}

/// Where the reading of a partition begins.
#[derive(Debug, Clone, Copy)]
enum ReadFrom {
    Beginning,
    /// In Unix milliseconds.
    Time(i64),
    End,
}

/// Has a partition read.
fn assign(
    consumer: &Consumer,
    (name, number): (&str, i32),
    from: ReadFrom,
    limit: Duration,
) -> KafkaResult<()> {
    let (first, end) = consumer.fetch_watermarks(name, number, limit)?;
    let start = match from {
        ReadFrom::Beginning => first,
        ReadFrom::End => end,
        ReadFrom::Time(time_ms) => {
            let time = list(name, [number], Some(time_ms))?;
            let found = consumer.offsets_for_times(time, limit)?;
            match found.find_partition(name, number).map(|at| at.offset()) {
                Some(Offset::Offset(offset)) => offset,
                // Nothing is that young.
                _ => end,
            }
        }
    };
    consumer.incremental_assign(&list(name, [number], Some(start))?)
}

/// Returns whether some partition ends before what was read of it: the embedded broker gives topics no ids and
/// refuses no offset.
fn ended_earlier(consumer: &Consumer, topic: &Topic) -> KafkaResult<bool> {
    // Asked first, so that an end is never older than the position.
    let positions = consumer.position()?;
    for number in &topic.read {
        let position = positions.find_partition(&topic.name, *number);
        if let Some(Offset::Offset(position)) = position.map(|position| position.offset()) {
            let (_, end) = consumer.fetch_watermarks(&topic.name, *number, ASK_LIMIT)?;
            if end < position {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Lists partitions of a topic, to be read from `offset` where there is one.
fn list(
    name: &str,
    numbers: impl IntoIterator<Item = i32>,
    offset: Option<i64>,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for number in numbers {
        let mut partition = list.add_partition(name, number);
        if let Some(offset) = offset {
            partition.set_offset(Offset::Offset(offset))?;
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One response topic that could not be looked at kept all routes whose answers come over Kafka at 503.
    #[test]
    fn what_cannot_be_looked_at_holds_up_the_others_for_a_while_only() {
        let (mut held_up, now) = (HeldUp::default(), Instant::now());
        assert!(!held_up.is_over(false, now));
        let began = now + 2 * PATIENCE;
        assert!(!held_up.is_over(true, began));
        assert!(!held_up.is_over(true, began + PATIENCE / 2));
        assert!(held_up.is_over(true, began + PATIENCE));
        assert!(!held_up.is_over(false, began + 2 * PATIENCE));
        assert!(!held_up.is_over(true, began + 3 * PATIENCE));
    }
}
