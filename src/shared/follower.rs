//! Follows a topic of one partition from its beginning or its end, on a thread of its own.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use thiserror::Error;
use tokio::runtime::Runtime;

use crate::kafka::{
    ConfigError, Consumer, KafkaConfig, Step, Stop, Threads, TopicSpec, ensure_topics,
};

/// How long one question to Kafka may take.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait before the next try when Kafka is away.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long a poll waits; stopping waits as long.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How often a topic that vanished is created again.
const CREATE_PAUSE: Duration = Duration::from_secs(5);

/// Why a topic cannot be followed. Kafka being away is no reason: the follower waits for it.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The settings are refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The thread cannot be started.
    #[error("the thread that follows topic {topic} cannot be started")]
    Thread {
        /// The topic.
        topic: String,
        /// What the operating system says.
        source: std::io::Error,
    },
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadFrom {
    /// With the oldest record kept.
    Beginning,
    /// With the first record written from now on.
    End,
}

/// What is done with the records, always on the follower's thread.
pub(super) trait Follow: Send + 'static {
    /// The topic is being read anew from its beginning: forget what was read.
    fn restarted(&mut self);
    /// A record came; offsets rise.
    fn record(&mut self, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>);
    /// Everything that was there at the start, or at a restart, was read. Called again later.
    fn caught_up(&mut self);
}

/// A running follower. Dropping it tells it to stop.
#[derive(Debug)]
pub(super) struct Follower(Threads);

impl Follower {
    pub(super) fn start(
        config: &KafkaConfig,
        spec: TopicSpec,
        from: ReadFrom,
        follow: impl Follow,
    ) -> Result<Self, FollowError> {
        let group = format!("{}-{}", config.cluster_name, config.instance());
        let mut own = vec![("enable.partition.eof", "true")];
        if config.is_embedded {
            // Each fetch costs the embedded broker a look at its disk, and few commands go to oneself.
            own.push(("fetch.wait.max.ms", "100"));
        }
        let consumer = Consumer::new(&config.consumer(&group, &own), config.quiet())?;
        let topic = spec.name.clone();
        let thread_error = |source| FollowError::Thread { topic, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(source) => return Err(thread_error(source)),
        };
        let mut threads = Threads::new("a thread that follows a topic");
        let position = Position {
            next: 0,
            awaited_end: 0,
            trusts_order: !config.is_embedded,
        };
        let following = Following {
            consumer,
            config: config.clone(),
            spec,
            from,
            follow,
            runtime,
            stop: threads.told_by(),
            position,
        };
        let started = threads.spawn("follow", move || following.run());
        started.map_err(thread_error)?;
        Ok(Self(threads))
    }

    /// Stops the thread and waits for its end, at most some seconds. Blocks.
    pub(super) fn stop(self) {
        self.0.stop();
    }
}

/// How far the partition was read.
#[derive(Debug, Clone, Copy)]
struct Position {
    next: i64,
    awaited_end: i64,
    /// See [`Step::of`].
    trusts_order: bool,
}

impl Position {
    fn step(&mut self, offset: i64) -> Step {
        let step = Step::of(offset, self.next, self.trusts_order);
        if step != Step::Repeated {
            self.next = offset + 1;
        }
        step
    }

    const fn has_caught_up(&self) -> bool {
        self.next >= self.awaited_end
    }
}

/// The state of the thread.
struct Following<F> {
    consumer: Consumer,
    config: KafkaConfig,
    spec: TopicSpec,
    from: ReadFrom,
    follow: F,
    runtime: Runtime,
    stop: Stop,
    position: Position,
}

impl<F: Follow> Following<F> {
    fn run(mut self) {
        while !self.stop.is_told() {
            match self.begin() {
                Ok(()) => return self.follow(),
                Err(error) => {
                    let topic = &self.spec.name;
                    self.config
                        .log
                        .warn(format_args!("cannot read topic {topic} yet: {error}"));
                    std::thread::sleep(RETRY_PAUSE);
                    // Nothing is assigned yet: what comes are the client's errors.
                    drop(self.consumer.poll(Duration::ZERO));
                }
            }
        }
    }

    /// Creates the topic if it is missing, and assigns its partition at an exact offset.
    fn begin(&mut self) -> Result<(), KafkaError> {
        let spec = std::slice::from_ref(&self.spec);
        if let Err(error) = self.runtime.block_on(ensure_topics(&self.config, spec)) {
            // It may be there all the same; then the next question is answered.
            self.config.log.warn(format_args!("{error}"));
        }
        let (first, end) = self
            .consumer
            .fetch_watermarks(&self.spec.name, 0, ASK_LIMIT)?;
        let start = if self.from == ReadFrom::Beginning {
            first
        } else {
            end
        };
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.spec.name, 0, Offset::Offset(start))?;
        self.consumer.assign(&list)?;
        self.position.next = start;
        self.position.awaited_end = end;
        Ok(())
    }

    fn follow(mut self) {
        let mut last_create = Instant::now();
        self.note_caught_up();
        while !self.stop.is_told() {
            match self.consumer.poll(POLL_WAIT) {
                None => {}
                Some(Ok(message)) => {
                    let step = self.position.step(message.offset());
                    if step == Step::Restarted {
                        tracing::warn!(
                            topic = self.spec.name,
                            "the topic began anew, reading it again"
                        );
                        self.follow.restarted();
                    }
                    if step != Step::Repeated {
                        self.follow
                            .record(message.offset(), message.key(), message.payload());
                    }
                    self.note_caught_up();
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.follow.caught_up(),
                Some(Err(error)) => {
                    self.note(&error, &mut last_create);
                }
            }
        }
    }

    fn note_caught_up(&mut self) {
        if self.position.has_caught_up() {
            self.follow.caught_up();
        }
    }

    /// Logs an error, and creates the topic again if it has vanished.
    fn note(&self, error: &KafkaError, last_create: &mut Instant) {
        let topic = &self.spec.name;
        self.config
            .log
            .warn_of(error, format_args!("reading topic {topic}"));
        let has_vanished = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
        );
        if has_vanished && last_create.elapsed() >= CREATE_PAUSE {
            *last_create = Instant::now();
            let spec = std::slice::from_ref(&self.spec);
            if let Err(error) = self.runtime.block_on(ensure_topics(&self.config, spec)) {
                self.config.log.warn(format_args!("{error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_back_restarts_only_where_the_order_can_be_trusted() {
        for (trusts_order, expected, next) in
            [(true, Step::Restarted, 1), (false, Step::Repeated, 8)]
        {
            let mut position = Position {
                next: 0,
                awaited_end: 0,
                trusts_order,
            };
            assert_eq!(position.step(7), Step::Forward);
            assert_eq!(position.step(0), expected);
            assert_eq!(position.next, next);
        }
    }

    #[test]
    fn has_caught_up_at_the_end_seen_at_start() {
        let mut position = Position {
            next: 0,
            awaited_end: 2,
            trusts_order: true,
        };
        assert!(!position.has_caught_up());
        position.step(0);
        assert!(!position.has_caught_up());
        position.step(1);
        assert!(position.has_caught_up());
    }
}
