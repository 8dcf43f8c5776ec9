//! Starts and stops the reading of the source topics.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use thiserror::Error;

use super::SourceConfig;
use super::ask::SourceConsumer;
use super::context::{Reach, SourceContext};
use super::discovery::Discovery;
use super::ingest::Ingest;
use super::poller::{Phase, Poller, SourceTopic};
use super::progress::Progress;
use super::seen_ids::SeenIds;
use crate::kafka::{ConfigError, KafkaConfig, Rebootstrap, Stop, Threads};
use crate::telemetry::{Condition, Metrics, Readiness};

/// Partitions that discovery may be ahead of the polling thread.
const NEWS_LIMIT: usize = 1024;

/// Why the source cannot be started. Kafka being away is no reason: the source waits for it.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The settings are refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A thread cannot be started.
    #[error("a thread of the source cannot be started")]
    Thread(#[from] std::io::Error),
}

/// The running source: a thread that polls and one that looks for partitions. Dropping it tells them to stop.
#[derive(Debug)]
pub struct KafkaSource(Threads);

impl KafkaSource {
    /// Starts to read the topics of `source` into `ingest`.
    ///
    /// Sets [`Condition::KafkaReachable`] as it changes, and [`Condition::SourceCaughtUp`] once all
    /// partitions were read up to the ends seen at start; right before that it opens it.
    ///
    /// # Errors
    /// [`SourceError`] when the settings are refused. Not when Kafka is away.
    pub fn start(
        kafka: &KafkaConfig,
        source: &SourceConfig,
        ingest: Ingest,
        metrics: Metrics,
        readiness: Readiness,
    ) -> Result<Self, SourceError> {
        let reach = Arc::new(Reach::new(metrics.clone(), readiness.clone()));
        let consumer = Arc::new(connect(kafka, source, &reach)?);
        let topics = source.topics();
        let (news_sender, news) = sync_channel(NEWS_LIMIT);
        let mut threads = Threads::new("a thread of the source");
        let stop = threads.told_by();
        let discovery = Discovery::new(
            Arc::clone(&consumer),
            reach,
            kafka.clone(),
            source,
            news_sender,
        )?;
        let poller = Poller {
            consumer,
            ingest,
            topics: topics.iter().map(|name| SourceTopic::new(name)).collect(),
            progress: Progress::new(!kafka.is_embedded),
            news,
            stop: stop.clone(),
            kafka: kafka.clone(),
            metrics,
            readiness: readiness.clone(),
            phase: Phase::Finding,
        };
        let watch = PanicWatch {
            readiness,
            stop: stop.clone(),
        };
        threads.spawn("source-poll", move || {
            let _watch = watch;
            poller.run();
        })?;
        threads.spawn("source-discover", move || discovery.run(&stop))?;
        Ok(Self(threads))
    }

    /// Stops reading, commits the offsets of what was handed on, and waits for the threads.
    ///
    /// Takes at most some seconds; when Kafka is away the last offsets may not be committed.
    pub fn stop(self) {
        self.0.stop();
    }
}

/// Takes the readiness away if the polling thread ends by a panic.
struct PanicWatch {
    readiness: Readiness,
    stop: Stop,
}

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if !self.stop.is_told() {
            tracing::error!("the source stopped reading; this instance has to be restarted");
            self.readiness.set(Condition::SourceCaughtUp, false);
        }
    }
}

fn connect(
    kafka: &KafkaConfig,
    source: &SourceConfig,
    reach: &Arc<Reach>,
) -> Result<SourceConsumer, ConfigError> {
    let group = source.group_id(&kafka.instance());
    let own = [
        ("enable.auto.commit", "true"),
        ("auto.commit.interval.ms", "1000"),
        ("statistics.interval.ms", "1000"),
        ("isolation.level", "read_committed"),
        // For the lines that `SeenIds` reads.
        ("debug", "metadata"),
    ];
    let context = SourceContext {
        log: kafka.log.clone(),
        reach: Arc::clone(reach),
        statistics: Mutex::new(None),
        seen_ids: SeenIds::default(),
        rebootstrap: Rebootstrap::new(kafka),
    };
    let mut client = kafka.consumer(&group, &own);
    client.set_log_level(RDKafkaLogLevel::Debug);
    SourceConsumer::new(&client, context)
}
