//! Finds the partitions of the source topics, and where each is to be read from.
//!
//! Its calls to Kafka block, so it has a thread of its own and the polling never waits for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::SourceConfig;
use super::context::{Reach, SourceContext};
use super::progress::PartitionId;
use super::start::{Found, Kept, Moved, Start};
use crate::kafka::{KafkaConfig, TopicSpec, ensure_topics};

/// How long one question to Kafka may take.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// How often topics and partitions are looked for.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often while the source is starting.
const START_INTERVAL: Duration = Duration::from_millis(200);

/// What the polling thread is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
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
}

/// The state of the discovery thread.
pub(super) struct Discovery {
    consumer: Arc<BaseConsumer<SourceContext>>,
    reach: Arc<Reach>,
    config: KafkaConfig,
    /// The number of partitions of a missing topic; `None` when topics are not to be created.
    create: Option<i32>,
    /// How many records of each partition are read again at start.
    rewind: i64,
    topics: Vec<Topic>,
    news: SyncSender<News>,
    all_found: bool,
}

/// The polling thread has ended.
struct Ended;

impl Discovery {
    pub(super) fn new(
        consumer: Arc<BaseConsumer<SourceContext>>,
        reach: Arc<Reach>,
        config: KafkaConfig,
        source: &SourceConfig,
        news: SyncSender<News>,
    ) -> Self {
        let create = source
            .kafka_create_topics
            .then_some(source.kafka_source_partitions);
        let topic = |name: &String| Topic {
            name: name.clone(),
            at_start: None,
            told: BTreeSet::new(),
        };
        let topics = source.topics().iter().map(topic).collect();
        Self {
            consumer,
            reach,
            config,
            create,
            rewind: source.kafka_source_rewind,
            topics,
            news,
            all_found: false,
        }
    }

    /// Looks for partitions until `stop` is closed.
    pub(super) fn run(mut self, stop: &Receiver<()>) {
        loop {
            if self.round().is_err() {
                return;
            }
            let pause = if self.all_found {
                INTERVAL
            } else {
                START_INTERVAL
            };
            if stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Asks once about every topic.
    fn round(&mut self) -> Result<(), Ended> {
        let mut is_complete = true;
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

    /// Asks about one topic. Returns whether all partitions that it had at start are told.
    fn look_at(&mut self, index: usize) -> Result<KafkaResult<bool>, Ended> {
        let Some(topic) = self.topics.get(index) else {
            return Ok(Ok(true));
        };
        let count = match self.partition_count(&topic.name) {
            Ok(Some(count)) => count,
            Ok(None) => return Ok(Ok(self.create(&topic.name.clone()))),
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
        }
        if self.config.is_embedded
            && let Err(error) = self.tell_kept(index)?
        {
            return Ok(Err(error));
        }
        self.tell_new(index, count)
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
        let committed = match self.committed(&topic.name, &new) {
            Ok(committed) => committed,
            Err(error) => return Ok(Err(error)),
        };
        for (number, committed) in committed {
            let Some(topic) = self.topics.get(index) else {
                break;
            };
            let kept = match self.kept(&topic.name, number) {
                Ok(kept) => kept,
                Err(error) => return Ok(Err(error)),
            };
            let is_old = topic.at_start.is_some_and(|at_start| number < at_start);
            let found = if is_old { Found::AtStart } else { Found::Later };
            let start = Start::new(committed, kept, found, self.rewind);
            log_start(&topic.name, number, start, committed, kept);
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
            match self.kept(&topic.name, *number) {
                Ok(kept) => {
                    let id = (u16::try_from(index).unwrap_or(u16::MAX), *number);
                    self.tell(News::Kept { id, kept, asked })?;
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Returns the number of partitions of a topic, or `None` when there is no such topic.
    fn partition_count(&self, name: &str) -> KafkaResult<Option<i32>> {
        let metadata = self.consumer.fetch_metadata(Some(name), ASK_LIMIT)?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
            return Ok(None);
        };
        match topic.error() {
            None => Ok(i32::try_from(topic.partitions().len())
                .ok()
                .filter(|count| *count > 0)),
            Some(
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
            ) => Ok(None),
            Some(error) => Err(KafkaError::MetadataFetch(error.into())),
        }
    }

    /// Creates a missing topic if that is wanted. Returns whether the topic is settled: it is not
    /// there and nothing more can be done about it now.
    fn create(&self, name: &str) -> bool {
        let Some(partitions) = self.create else {
            self.config
                .log
                .warn(format_args!("the source topic {name} does not exist"));
            return true;
        };
        let spec = TopicSpec {
            name: name.to_owned(),
            partitions,
            // Kafka's default, but the embedded broker would keep records for ever without it.
            config: vec![("cleanup.policy", "delete".to_owned())],
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let created = match runtime {
            Ok(runtime) => runtime.block_on(ensure_topics(&self.config, &[spec])),
            Err(error) => {
                tracing::error!(%error, "no runtime to create topics with");
                return true;
            }
        };
        match created {
            // The next round finds it, once all brokers know it.
            Ok(()) => false,
            Err(crate::kafka::TopicError::Unavailable(_)) => false,
            Err(error) => {
                self.config.log.warn(format_args!("{error}"));
                true
            }
        }
    }

    /// Returns what the group has committed for each partition.
    fn committed(&self, name: &str, numbers: &[i32]) -> KafkaResult<Vec<(i32, Option<i64>)>> {
        let mut list = TopicPartitionList::with_capacity(numbers.len());
        for number in numbers {
            list.add_partition(name, *number);
        }
        let answer = self.consumer.committed_offsets(list, ASK_LIMIT)?;
        let offset = |offset| match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        answer
            .elements()
            .iter()
            .map(|element| {
                element
                    .error()
                    .map(|()| (element.partition(), offset(element.offset())))
            })
            .collect()
    }

    fn kept(&self, name: &str, number: i32) -> KafkaResult<Kept> {
        let (first, end) = self.consumer.fetch_watermarks(name, number, ASK_LIMIT)?;
        Ok(Kept { first, end })
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

fn log_start(topic: &str, partition: i32, start: Start, committed: Option<i64>, kept: Kept) {
    let (offset, end) = (start.offset, kept.end);
    match start.moved {
        None => tracing::info!(topic, partition, offset, end, "reading a partition"),
        Some(Moved::Expired) => tracing::warn!(
            topic,
            partition,
            offset,
            committed,
            "records expired before they were read, going on at the first one kept"
        ),
        Some(Moved::MadeAnew) => tracing::warn!(
            topic,
            partition,
            offset,
            committed,
            "the partition ends before the committed offset, reading it from its beginning"
        ),
    }
}
