//! Reads the response topics: every instance all of them, each taking what is for its own clients.
//!
//! Partitions are assigned and not shared by a group, so nothing is ever rebalanced and no answer has to be passed on.
//! What is another instance's costs the opening of one id.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::message::{BorrowedMessage, Message as _};
use thiserror::Error;
use tokio::sync::watch;

use super::answer::Answer;
use super::delivered::Delivered;
use super::desk::Desk;
use super::discovery::Discovery;
use super::message::{Message, MessageFault};
use super::passed::{HeaderLog, Poster};
use super::refusals::bad_answer;
use crate::kafka::{ConfigError, Consumer, KafkaConfig, Stop, Threads, readable_headers};
use crate::telemetry::Limited;

/// How long a poll waits; stopping waits as long.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// Why the response topics cannot be read. Kafka being away is no reason.
#[derive(Debug, Error)]
enum ReaderError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("a thread that reads answers cannot be started")]
    Thread(#[from] std::io::Error),
}

/// The reading of the response topics, which begins when it is needed.
#[derive(Debug)]
pub(super) struct Reader {
    config: KafkaConfig,
    topics: Vec<String>,
    create: Option<i32>,
    desk: Arc<Desk>,
    stands: watch::Sender<bool>,
    threads: Mutex<Option<Threads>>,
}

impl Reader {
    /// Will read `topics`, and create those that are missing with so many partitions, if any.
    pub(super) fn new(
        config: KafkaConfig,
        topics: &[String],
        create: Option<i32>,
        desk: Arc<Desk>,
    ) -> Self {
        Self {
            config,
            topics: topics.to_vec(),
            create,
            desk,
            stands: watch::Sender::new(false),
            threads: Mutex::new(None),
        }
    }

    /// Begins to read, unless that was done before. Waits for Kafka in the background if need be.
    ///
    /// Has to be called within a Tokio runtime.
    pub(super) fn start(&self) {
        let mut threads = self.threads.lock();
        if threads.is_some() {
            return;
        }
        match self.spawn() {
            Ok(started) => *threads = Some(started),
            Err(error) => tracing::error!(%error, "answers over Kafka cannot be read"),
        }
    }

    /// Waits until no answer that comes from now on can be missed; at most `limit`. Returns whether that came about.
    pub(super) async fn stands(&self, limit: Duration) -> bool {
        if *self.stands.borrow() {
            return true;
        }
        let mut stands = self.stands.subscribe();
        let standing = stands.wait_for(|stands| *stands);
        matches!(tokio::time::timeout(limit, standing).await, Ok(Ok(_)))
    }

    /// Stops reading and waits for the threads, at most some seconds. Blocks.
    pub(super) fn stop(&self) {
        let threads = self.threads.lock().take();
        if let Some(threads) = threads {
            threads.stop();
        }
    }

    fn spawn(&self) -> Result<Threads, ReaderError> {
        let group = format!(
            "{}-{}-answers",
            self.config.cluster_name,
            self.config.instance()
        );
        let settings = self.config.consumer(&group, &[]);
        let consumer = Arc::new(Consumer::new(&settings, self.config.quiet())?);
        let discovery = Discovery::new(
            Arc::clone(&consumer),
            self.config.clone(),
            self.create,
            &self.topics,
            self.stands.clone(),
        )?;
        // Dropping them on an error stops the one that runs.
        let mut threads = Threads::new("a thread that reads answers");
        let stop = threads.told_by();
        let polling = Polling {
            consumer,
            desk: Arc::clone(&self.desk),
            config: self.config.clone(),
            stop: stop.clone(),
            headers: HeaderLog::default(),
            faults: Limited::new(Duration::from_secs(10)),
        };
        let runtime = tokio::runtime::Handle::current();
        threads.spawn("answers-poll", move || {
            let _entered = runtime.enter();
            polling.run();
        })?;
        threads.spawn("answers-discover", move || discovery.run(&stop))?;
        Ok(threads)
    }
}

/// The state of the polling thread.
struct Polling {
    consumer: Arc<Consumer>,
    desk: Arc<Desk>,
    config: KafkaConfig,
    stop: Stop,
    headers: HeaderLog,
    faults: Limited,
}

impl Polling {
    fn run(self) {
        while !self.stop.is_told() {
            match self.consumer.poll(POLL_WAIT) {
                None => {}
                Some(Ok(message)) => self.take(&message),
                Some(Err(error)) => {
                    let log = &self.config.log;
                    log.warn_of(&error, format_args!("reading answers"));
                }
            }
        }
    }

    /// Hands an answer to its client. What is none is passed over.
    fn take(&self, message: &BorrowedMessage<'_>) {
        let headers = readable_headers(message);
        let value = message.payload().unwrap_or_default();
        match Message::read(&headers, value) {
            Ok(answer) => self
                .desk
                .deliver_own(&answer.correlation, || self.answer(message, &answer)),
            Err(fault) => self.count(message, &fault),
        }
    }

    fn answer(&self, message: &BorrowedMessage<'_>, answer: &Message<'_>) -> Answer {
        match answer.answer(Poster::Record, &self.headers) {
            Ok(answer) => answer,
            Err(fault) => {
                self.count(message, &fault);
                bad_answer().into()
            }
        }
    }

    fn count(&self, message: &BorrowedMessage<'_>, fault: &MessageFault) {
        self.desk.count(Delivered::Invalid);
        if let Some(held_back) = self.faults.admit(message.topic(), Instant::now()) {
            tracing::warn!(
                held_back,
                topic = message.topic(),
                partition = message.partition(),
                offset = message.offset(),
                %fault,
                "a record of a response topic is no answer"
            );
        }
    }
}
