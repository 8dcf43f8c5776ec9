//! Finds the partitions of the response topics and has them read.
//!
//! Its calls to Kafka block, so it has a thread of its own and the polling never waits for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use librdkafka_calls::TopicId;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::kafka::{
    Identities, KafkaConfig, QuietContext, TopicSpec, ensure_topics, partition_count,
};

/// How long one question to Kafka may take.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// How often topics and partitions are looked for.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often until all of them are found.
const START_INTERVAL: Duration = Duration::from_millis(200);

/// A response topic.
#[derive(Debug)]
struct Topic {
    name: String,
    id: TopicId,
    /// The partitions that are read.
    read: BTreeSet<i32>,
}

/// The state of the thread.
pub(super) struct Discovery {
    consumer: Arc<BaseConsumer<QuietContext>>,
    config: KafkaConfig,
    /// The number of partitions of a missing topic; `None` when topics are not to be created.
    create: Option<i32>,
    runtime: Runtime,
    topics: Vec<Topic>,
    identities: Identities,
    stands: watch::Sender<bool>,
}

impl Discovery {
    /// Looks for the partitions of `topics`; `stands` becomes true once all that there are at first are read from
    /// their ends.
    pub(super) fn new(
        consumer: Arc<BaseConsumer<QuietContext>>,
        config: KafkaConfig,
        create: Option<i32>,
        topics: &[String],
        stands: watch::Sender<bool>,
    ) -> std::io::Result<Self> {
        let topic = |name: &String| Topic {
            name: name.clone(),
            id: TopicId::UNKNOWN,
            read: BTreeSet::new(),
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
        })
    }

    /// Looks for partitions until `stop` is closed.
    pub(super) fn run(mut self, stop: &Receiver<()>) {
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
            if stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Asks once about every topic. Returns whether nothing is missing that could be there soon.
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
            is_complete &= self.look_at(index)?;
        }
        Ok(is_complete)
    }

    fn look_at(&mut self, index: usize) -> KafkaResult<bool> {
        let Some(topic) = self.topics.get_mut(index) else {
            return Ok(true);
        };
        let Some(count) = partition_count(&self.consumer, &topic.name, ASK_LIMIT)? else {
            let name = topic.name.clone();
            return Ok(self.create(&name));
        };
        let id = self.identities.of(index).unwrap_or(TopicId::UNKNOWN);
        let is_anew = topic.id.is_known() && id.is_known() && topic.id != id
            || self.config.is_embedded && ended_earlier(&self.consumer, topic)?;
        if id.is_known() {
            topic.id = id;
        }
        if is_anew {
            tracing::warn!(
                topic = topic.name,
                "the response topic was made anew, reading the new one"
            );
            let read = list(&topic.name, topic.read.iter().copied(), None)?;
            self.consumer.incremental_unassign(&read)?;
            topic.read.clear();
        }
        let from_end = !*self.stands.borrow();
        for number in 0..count {
            if !topic.read.contains(&number) {
                let (first, end) =
                    self.consumer
                        .fetch_watermarks(&topic.name, number, ASK_LIMIT)?;
                let start = if from_end { end } else { first };
                let new = list(&topic.name, [number], Some(start))?;
                self.consumer.incremental_assign(&new)?;
                topic.read.insert(number);
            }
        }
        Ok(true)
    }

    /// Creates a missing topic if that is wanted. Returns whether it is settled: nothing more can be done now.
    fn create(&self, name: &str) -> bool {
        let Some(partitions) = self.create else {
            self.config
                .log
                .warn(format_args!("the response topic {name} does not exist"));
            return true;
        };
        let spec = TopicSpec {
            name: name.to_owned(),
            partitions,
            // Kafka's default, but the embedded broker would keep records for ever without it.
            config: vec![("cleanup.policy", "delete".to_owned())],
        };
        match self.runtime.block_on(ensure_topics(&self.config, &[spec])) {
            // The next round finds it, once all brokers know it.
            Ok(()) | Err(crate::kafka::TopicError::Unavailable(_)) => false,
            Err(error) => {
                self.config.log.warn(format_args!("{error}"));
                true
            }
        }
    }
}

/// Returns whether some partition ends before what was read of it: the embedded broker gives topics no ids and
/// refuses no offset.
fn ended_earlier(consumer: &BaseConsumer<QuietContext>, topic: &Topic) -> KafkaResult<bool> {
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
