//! Finds the partitions of the source topics, and where each is to be read from.
//!
//! Its calls to Kafka block, so it has a thread of its own and the polling never waits for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio::runtime::Runtime;

use librdkafka_calls::TopicId;

use super::SourceConfig;
use super::ask::{self, ASK_LIMIT, SourceConsumer};
use super::context::Reach;
use super::progress::PartitionId;
use super::start::{Found, Kept, Start};
use crate::event::max_partitions;
use crate::kafka::{Identities, KafkaConfig, Stop, create_missing, partition_count};

/// How often topics and partitions are looked for.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often while the source is starting.
const START_INTERVAL: Duration = Duration::from_millis(200);

/// What the polling thread is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// A topic is the one with this id from now on; told before its partitions. If it was another
    /// one before, it was made anew, and its partitions are told again.
    Identity {
        /// The topic's index.
        topic: u16,
        /// Its id.
        id: TopicId,
    },
    /// Kafka was asked at this instant which topics there are, and what it said was told.
    Verified(Instant),
    /// A partition is to be read from `start`; `end` is its end as seen at start.
    Partition {
        /// The partition.
        id: PartitionId,
        /// The first offset to read.
        start: i64,
        /// The end to reach before the source has caught up.
        end: Option<i64>,
    },
    /// All partitions that existed at start have been told.
    AllFound,
    /// What a partition holds; told for the embedded broker only, which refuses no offset.
    Kept {
        /// The partition.
        id: PartitionId,
        /// Its first offset and its end.
        kept: Kept,
        /// When Kafka was asked, or a little before.
        asked: Instant,
    },
}

/// A source topic as discovery knows it.
struct Topic {
    name: String,
    /// The number of partitions in the first answer about the topic; `None` before.
    at_start: Option<i32>,
    /// The partitions told to the polling thread.
    told: BTreeSet<i32>,
    /// The id told to the polling thread.
    id: TopicId,
    /// Whether it took the place of one that was read before.
    is_anew: bool,
    /// The number of partitions in the last answer.
    count: usize,
}

/// The state of the discovery thread.
pub(super) struct Discovery {
    consumer: Arc<SourceConsumer>,
    reach: Arc<Reach>,
    config: KafkaConfig,
    /// The number of partitions of a missing topic; `None` when topics are not to be created.
    create: Option<i32>,
    runtime: Runtime,
    /// How many records of each partition are read again at start.
    rewind: i64,
    topics: Vec<Topic>,
    identities: Identities,
    news: SyncSender<News>,
    all_found: bool,
}

/// The polling thread has ended.
struct Ended;

impl Discovery {
    pub(super) fn new(
        consumer: Arc<SourceConsumer>,
        reach: Arc<Reach>,
        config: KafkaConfig,
        source: &SourceConfig,
        news: SyncSender<News>,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let topic = |name: &String| Topic {
            name: name.clone(),
            at_start: None,
            told: BTreeSet::new(),
            id: TopicId::UNKNOWN,
            is_anew: false,
            count: 0,
        };
        let topics: Vec<Topic> = source.topics().iter().map(topic).collect();
        let identities = Identities::new(topics.len());
        Ok(Self {
            consumer,
            reach,
            config,
            create: source.create_partitions(),
            runtime,
            rewind: source.kafka_source_rewind,
            topics,
            identities,
            news,
            all_found: false,
        })
    }

    /// Looks for partitions until it is to stop.
    pub(super) fn run(mut self, stop: &Stop) {
        loop {
            if self.round().is_err() {
                return;
            }
            let pause = if self.all_found {
                INTERVAL
            } else {
                START_INTERVAL
            };
            if stop.within(pause) {
                return;
            }
        }
    }

    /// Asks once about every topic.
    fn round(&mut self) -> Result<(), Ended> {
        let mut is_complete = true;
        if let Err(error) = self.identify()? {
            self.note(&error);
            return Ok(());
        }
        for index in 0..self.topics.len() {
            match self.look_at(index)? {
                Ok(is_settled) => {
                    self.reach.set(true);
                    is_complete &= is_settled;
                }
                Err(error) => {
                    self.note(&error);
                    return Ok(());
                }
            }
        }
        if is_complete && !self.all_found {
            self.all_found = true;
            self.tell(News::AllFound)?;
        }
        Ok(())
    }

    /// Asks which topics have the names now, and tells those that are others than before.
    fn identify(&mut self) -> Result<KafkaResult<()>, Ended> {
        let asked = Instant::now();
        let names: Vec<&str> = self
            .topics
            .iter()
            .map(|topic| topic.name.as_str())
            .collect();
        if let Err(error) = self
            .identities
            .ask(self.consumer.client(), &names, ASK_LIMIT)
        {
            return Ok(Err(error));
        }
        for index in 0..self.topics.len() {
            let Some(id) = self.identities.of(index).filter(|id| id.is_known()) else {
                continue;
            };
            let Some(topic) = self.topics.get_mut(index).filter(|topic| topic.id != id) else {
                continue;
            };
            if topic.id.is_known() {
                tracing::warn!(
                    topic = topic.name,
                    "the topic was made anew, reading the new one"
                );
                topic.told.clear();
                topic.is_anew = true;
            }
            topic.id = id;
            let topic = u16::try_from(index).unwrap_or(u16::MAX);
            self.tell(News::Identity { topic, id })?;
        }
        self.tell(News::Verified(asked))?;
        Ok(Ok(()))
    }

    /// Asks about one topic. Returns whether all partitions that it had at start are told.
    fn look_at(&mut self, index: usize) -> Result<KafkaResult<bool>, Ended> {
        let Some(topic) = self.topics.get(index) else {
            return Ok(Ok(true));
        };
        let count = match partition_count(&self.consumer, &topic.name, ASK_LIMIT) {
            Ok(Some(count)) => count,
            Ok(None) => {
                let (what, name) = ("source topic", &topic.name);
                let (config, runtime) = (&self.config, &self.runtime);
                return Ok(Ok(create_missing(config, runtime, what, name, self.create)));
            }
            Err(error) => return Ok(Err(error)),
        };
        // Before everything was found, what is there was there at start.
        let at_start = if self.all_found {
            topic.at_start.unwrap_or(0)
        } else {
            count
        };
        if let Some(topic) = self.topics.get_mut(index) {
            topic.at_start.get_or_insert(at_start);
            topic.count = usize::try_from(count).unwrap_or(usize::MAX);
        }
        if self.identities.of(index).is_none() || !self.fit_into_a_cursor() {
            // It came into being since the ids were asked for; or nobody could say how far it is read.
            return Ok(Ok(false));
        }
        if self.config.is_embedded
            && let Err(error) = self.tell_kept(index)?
        {
            return Ok(Err(error));
        }
        self.tell_new(index, count)
    }

    /// Returns whether a cursor can carry the positions of all partitions, and has the operator told.
    fn fit_into_a_cursor(&self) -> bool {
        let limit = max_partitions(self.topics.len());
        let count: usize = self.topics.iter().map(|topic| topic.count).sum();
        let has_room = count <= limit;
        if self.reach.set_cursor_room(has_room) {
            tracing::error!(
                count,
                limit,
                "the source topics have more partitions than a cursor can carry; no more are read"
            );
        }
        has_room
    }

    /// Tells the partitions that are not told yet and whose start can be found out.
    fn tell_new(&mut self, index: usize, count: i32) -> Result<KafkaResult<bool>, Ended> {
        let Some(topic) = self.topics.get(index) else {
            return Ok(Ok(true));
        };
        let new: Vec<i32> = (0..count)
            .filter(|number| !topic.told.contains(number))
            .collect();
        if new.is_empty() {
            return Ok(Ok(true));
        }
        let committed = match ask::committed(&self.consumer, &topic.name, &new) {
            Ok(committed) => committed,
            Err(error) => return Ok(Err(error)),
        };
        for (number, committed) in committed {
            let Some(topic) = self.topics.get(index) else {
                break;
            };
            let kept = match ask::kept(&self.consumer, &topic.name, number) {
                Ok(kept) => kept,
                Err(error) => return Ok(Err(error)),
            };
            // Kafka itself gives no end of 0 to a partition that had records; then it is another one.
            let committed = committed.filter(|_| kept.end > 0 || self.config.is_embedded);
            let found = match topic.at_start {
                _ if topic.is_anew => Found::Anew,
                Some(at_start) if number < at_start => Found::AtStart,
                _ => Found::Later,
            };
            let start = Start::new(committed, kept, found, self.rewind);
            start.log(&topic.name, number, committed, kept);
            let end = (!self.all_found).then_some(kept.end);
            let id = (u16::try_from(index).unwrap_or(u16::MAX), number);
            self.tell(News::Partition {
                id,
                start: start.offset,
                end,
            })?;
            if let Some(topic) = self.topics.get_mut(index) {
                topic.told.insert(number);
            }
        }
        Ok(Ok(true))
    }

    /// Tells what the known partitions of a topic hold.
    fn tell_kept(&self, index: usize) -> Result<KafkaResult<()>, Ended> {
        let Some(topic) = self.topics.get(index) else {
            return Ok(Ok(()));
        };
        for number in &topic.told {
            let asked = Instant::now();
            match ask::kept(&self.consumer, &topic.name, *number) {
                Ok(kept) => {
                    let id = (u16::try_from(index).unwrap_or(u16::MAX), *number);
                    self.tell(News::Kept { id, kept, asked })?;
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    fn tell(&self, news: News) -> Result<(), Ended> {
        self.news.send(news).map_err(|_closed| Ended)
    }

    /// Kafka cannot be reached, unless it answered with an error of its own.
    fn note(&self, error: &KafkaError) {
        let answered = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::LeaderNotAvailable
                    | RDKafkaErrorCode::NotLeaderForPartition
                    | RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownPartition
                    | RDKafkaErrorCode::CoordinatorLoadInProgress
                    | RDKafkaErrorCode::CoordinatorNotAvailable
                    | RDKafkaErrorCode::NotCoordinator
                    | RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::GroupAuthorizationFailed
            )
        );
        self.reach.set(answered);
        self.config
            .log
            .warn(format_args!("looking for the source's partitions: {error}"));
    }
}
