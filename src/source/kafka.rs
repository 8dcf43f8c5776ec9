//! Starts and stops the reading of the source topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

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
use crate::kafka::{ConfigError, KafkaConfig, Rebootstrap};
use crate::telemetry::{Condition, Metrics, Readiness};

/// How long stopping may take; Kafka may be away.
const STOP_LIMIT: Duration = Duration::from_secs(5);
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

/// The running source: a thread that polls and one that looks for partitions.
#[derive(Debug)]
pub struct KafkaSource {
    is_stopping: Arc<AtomicBool>,
    stop_discovery: Option<SyncSender<()>>,
    threads: Vec<JoinHandle<()>>,
}

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
        let (stop_discovery, discovery_stopped) = sync_channel(1);
        let is_stopping = Arc::new(AtomicBool::new(false));
        let discovery = Discovery::new(
            Arc::clone(&consumer),
            reach,
            kafka.clone(),
            source,
            news_sender,
        );
        let poller = Poller {
            consumer,
            ingest,
            topics: topics.iter().map(|name| SourceTopic::new(name)).collect(),
            progress: Progress::new(!kafka.is_embedded),
            news,
            stop: Arc::clone(&is_stopping),
            kafka: kafka.clone(),
            metrics,
            readiness: readiness.clone(),
            phase: Phase::Finding,
        };
        let watch = PanicWatch {
            readiness,
            is_stopping: Arc::clone(&is_stopping),
        };
        let polling = Builder::new()
            .name("source-poll".to_owned())
            .spawn(move || {
                let _watch = watch;
                poller.run();
            })?;
        let looking = Builder::new()
            .name("source-discover".to_owned())
            .spawn(move || discovery.run(&discovery_stopped))?;
        Ok(Self {
            is_stopping,
            stop_discovery: Some(stop_discovery),
            threads: vec![polling, looking],
        })
    }

    /// Stops reading, commits the offsets of what was handed on, and waits for the threads.
    ///
    /// Takes at most some seconds; when Kafka is away the last offsets may not be committed.
    pub fn stop(mut self) {
        self.tell_to_stop();
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline && !self.threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(5));
        }
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            if thread.join().is_err() {
                tracing::error!("a thread of the source panicked");
            }
        }
    }

    fn tell_to_stop(&mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.stop_discovery = None;
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}

/// Takes the readiness away if the polling thread ends by a panic.
struct PanicWatch {
    readiness: Readiness,
    is_stopping: Arc<AtomicBool>,
}

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if !self.is_stopping.load(Ordering::Relaxed) {
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
