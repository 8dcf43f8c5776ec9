//! The whole instance: puts the rooms together, starts them in order, and stops them in order.
//!
//! ```text
//! bind ports ─▶ embedded broker? ─▶ shards ─▶ shared state, source ─▶ internal port
//!            ─▶ ready, or Kafka is away ─▶ public port ─▶ … ─▶ drain
//! ```
//!
//! # Invariants
//! - The internal port answers from the start; the public one opens when the instance is ready, or,
//!   where Kafka cannot be reached, [`KAFKA_PATIENCE`] after the start: then streams wait.
//! - At the end, readiness fails first; then nothing more is accepted, streams are told to go, spread
//!   over the grace period, and offsets are committed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::{InternalApi, PublicApi, Submissions};
use crate::config::Config;
use crate::dispatch::{ClientText, Dispatcher, Incarnation, StartError, Surroundings, TokenKey};
use crate::http::{BindError, Listener, Serving};
use crate::kafka::{KafkaConfig, Producer};
use crate::replay::ReplayLog;
use crate::shared::{ClusterKey, CommandHandler, CommandLog, FollowError, SharedConfig, StateLog};
use crate::source::{Ingest, IngestParts, KafkaSource};
use crate::telemetry::{Condition, Metrics, Readiness, Tasks};
use crate::transport::{Admission, Changes, FORMATS, LongPolling, STATE_KIND, Streams};

/// How long the public port waits for Kafka before it opens without it.
pub const KAFKA_PATIENCE: Duration = Duration::from_secs(3);
/// How often long-poll sessions that have ended are removed.
const CLEAN_UP_INTERVAL: Duration = Duration::from_secs(60);

/// Why an instance could not be started.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A port cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The shards cannot be started.
    #[error(transparent)]
    Dispatch(#[from] StartError),
    /// The embedded broker cannot be started.
    #[cfg(feature = "embedded-broker")]
    #[error(transparent)]
    EmbeddedBroker(#[from] crate::kafka::EmbeddedBrokerError),
    /// There is no broker to connect to.
    #[error("KAFKA_BROKERS is not set, and this build has no embedded broker")]
    NoBrokers,
    /// librdkafka refuses the settings.
    #[error(transparent)]
    Kafka(#[from] crate::kafka::ConfigError),
    /// The source cannot be started.
    #[error(transparent)]
    Source(#[from] crate::source::SourceError),
    /// The shared state cannot be started.
    #[error(transparent)]
    Shared(#[from] FollowError),
}

/// A running instance.
#[derive(Debug)]
pub struct App {
    public: SocketAddr,
    internal: SocketAddr,
    /// Where Kafka is, in words.
    kafka: String,
    readiness: Readiness,
    dispatcher: Dispatcher,
    source: KafkaSource,
    state: Arc<StateLog>,
    commands: CommandLog,
    producer: Producer,
    /// What serves the public port, which ends first.
    public_tasks: Tasks,
    tasks: Tasks,
    grace: Duration,
    broker: Broker,
}

impl App {
    /// Starts an instance: its ports are bound when this returns; the public one may open later.
    ///
    /// # Errors
    /// [`AppError`] for what no waiting mends: a port in use, a refused setting. That Kafka is away is
    /// no error: the instance waits for it.
    ///
    /// # Cancel safety
    /// Not cancel safe: threads that were started go on.
    pub async fn start(mut config: Config) -> Result<Self, AppError> {
        let public = Listener::bind(config.public_address())?;
        let internal = Listener::bind(config.internal_address())?;
        config.kafka.name_instance(public.local_addr().port());
        let broker = Broker::start(&mut config)?;
        let core = Core::start(&config)?;
        let producer = Producer::new(&config.kafka)?;
        let (state, commands) = core.start_shared(&config, &producer)?;
        let source = core.start_source(&config)?;
        let app = Self {
            public: public.local_addr(),
            internal: internal.local_addr(),
            kafka: broker.whereabouts(&config.kafka),
            readiness: core.readiness.clone(),
            dispatcher: core.dispatcher.clone(),
            source,
            state,
            commands,
            producer,
            public_tasks: Tasks::new(),
            tasks: core.tasks.clone(),
            grace: config.process.shutdown_grace,
            broker,
        };
        app.serve(config, core, public, internal);
        Ok(app)
    }

    /// Returns the address of the public port.
    #[must_use]
    pub const fn public_address(&self) -> SocketAddr {
        self.public
    }

    /// Returns the address of the internal port.
    #[must_use]
    pub const fn internal_address(&self) -> SocketAddr {
        self.internal
    }

    /// Returns what a newcomer wants to know: what listens where, and what to try next.
    #[must_use]
    pub fn greeting(&self) -> String {
        let public = self.public.port();
        let internal = self.internal.port();
        let kafka = &self.kafka;
        format!(
            "\
sluicegate listens on port {public} for clients and on port {internal} for backends; Kafka is {kafka}.

  subscribe:  curl -N 'http://localhost:{public}/_rig/v1/connection/sse?subscriptions=%5B%7B%22eventType%22:%22greeting%22%7D%5D'
  publish:    curl -H 'content-type: application/json' -d '{{\"specversion\":\"1.0\",\"type\":\"greeting\",\"source\":\"/me\",\"id\":\"1\",\"data\":{{\"name\":\"Alice\"}}}}' http://localhost:{public}/_rig/v1/events
  open:       http://localhost:{internal}/

"
        )
    }

    /// Waits until the instance can do all it is for.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn ready(&self) {
        self.readiness.ready().await;
    }

    fn serve(&self, config: Config, core: Core, public: Listener, internal: Listener) {
        let long_polling = LongPolling::new(
            core.streams.clone(),
            Arc::clone(&self.state),
            config.long_poll,
        );
        let changes = Changes::new(
            core.streams.clone(),
            long_polling.clone(),
            self.commands.clone(),
        );
        let default_topic = core.topics.first().map(String::as_str).unwrap_or_default();
        let submissions = Arc::new(Submissions::new(
            config.submission,
            default_topic,
            self.producer.clone(),
            core.metrics.clone(),
        ));
        let is_started = Arc::new(AtomicBool::new(false));
        let serving = |name, tasks: &Tasks| Serving {
            name,
            limits: config.http_limits.clone(),
            tasks: tasks.clone(),
            metrics: core.metrics.clone(),
        };
        let internal_api = InternalApi::new(
            Arc::clone(&submissions),
            self.readiness.clone(),
            Arc::clone(&is_started),
            core.metrics.clone(),
        );
        internal.serve(internal_api, serving("internal", &self.tasks));
        let public_api = PublicApi::new(
            core.streams.clone(),
            long_polling.clone(),
            changes.clone(),
            submissions,
        );
        let opening = open_public(
            public,
            public_api,
            serving("public", &self.public_tasks),
            self.readiness.clone(),
            is_started,
        );
        self.tasks.spawn("public.open", opening);
        self.tasks
            .spawn("texts", read_texts(core.texts, changes, self.tasks.clone()));
        self.tasks.spawn(
            "longpoll.changes",
            watch_sessions(
                Arc::clone(&self.state),
                long_polling.clone(),
                self.tasks.clone(),
            ),
        );
        self.tasks.spawn(
            "longpoll.clean_up",
            clean_up(long_polling, self.tasks.clone()),
        );
        self.tasks.spawn(
            "readiness",
            show_readiness(self.readiness.clone(), core.metrics, self.tasks.clone()),
        );
    }

    /// Shuts down: fails readiness, accepts nothing more, answers what is in flight, tells all streams
    /// to go, spread over the grace period, and commits the offsets.
    ///
    /// # Cancel safety
    /// Not cancel safe: what was stopped stays stopped.
    pub async fn stop(self) {
        tracing::info!(grace_ms = self.grace.as_millis(), "shutting down");
        self.readiness.set(Condition::NotDraining, false);
        let drain = self.dispatcher.drain(self.grace);
        let ((), in_time) = tokio::join!(
            drain,
            tokio::time::timeout(self.grace, self.public_tasks.stop())
        );
        if in_time.is_err() {
            tracing::warn!("some requests were not answered within the grace period");
        }
        self.source.stop();
        self.commands.stop().await;
        if !self.producer.flush(Duration::from_secs(2)).await {
            tracing::warn!("some records were not acknowledged before the end");
        }
        if tokio::time::timeout(Duration::from_secs(2), self.tasks.stop())
            .await
            .is_err()
        {
            tracing::warn!(
                tasks = self.tasks.running(),
                "some tasks did not end in time"
            );
        }
        self.broker.stop();
        tracing::info!("stopped");
    }
}

/// What the rest of the instance stands on.
struct Core {
    topics: Arc<[String]>,
    metrics: Metrics,
    readiness: Readiness,
    tasks: Tasks,
    log: Arc<ReplayLog>,
    dispatcher: Dispatcher,
    texts: mpsc::Receiver<ClientText>,
    streams: Streams,
}

impl Core {
    fn start(config: &Config) -> Result<Self, AppError> {
        let topics: Arc<[String]> = config.source.topics().into();
        let metrics = Metrics::new();
        let tasks = Tasks::new();
        let log = Arc::new(ReplayLog::new(config.replay.replay_ring_bytes));
        let surroundings = Surroundings {
            incarnation: Incarnation(uuid::Uuid::new_v4().as_u64_pair().0),
            topics: Arc::clone(&topics),
            formats: &FORMATS,
            log: Arc::clone(&log),
            metrics: metrics.clone(),
        };
        let (dispatcher, texts) = Dispatcher::start(&config.dispatch, &surroundings)?;
        let streams = Streams {
            dispatcher: dispatcher.clone(),
            extractors: Arc::clone(&config.extractors),
            limits: config.subscription_limits,
            cors: config.cors.cors.clone(),
            admission: Arc::new(Admission::per_minute(
                config.process.max_connections_per_minute,
                Instant::now(),
            )),
            token_key: Arc::default(),
            tasks: tasks.clone(),
        };
        let readiness = Readiness::new();
        Ok(Self {
            topics,
            metrics,
            readiness,
            tasks,
            log,
            dispatcher,
            texts,
            streams,
        })
    }

    /// Starts to follow what all instances share, and gets the key of connection tokens from it.
    fn start_shared(
        &self,
        config: &Config,
        producer: &Producer,
    ) -> Result<(Arc<StateLog>, CommandLog), AppError> {
        let state = Arc::new(StateLog::start(
            &config.kafka,
            producer.clone(),
            self.readiness.clone(),
        )?);
        let streams = self.streams.clone();
        let handler: Arc<CommandHandler> =
            Arc::new(move |command| Box::pin(Changes::on_command(streams.clone(), command)));
        let incarnation = self.dispatcher.incarnation().to_string();
        let commands = CommandLog::start(
            &config.kafka,
            producer.clone(),
            &incarnation,
            handler,
            &self.tasks,
        )?;
        let key = get_token_key(
            config.shared.clone(),
            Arc::clone(&state),
            Arc::clone(&self.streams.token_key),
            self.tasks.stopping(),
        );
        self.tasks.spawn("token_key", key);
        Ok((state, commands))
    }

    fn start_source(&self, config: &Config) -> Result<KafkaSource, AppError> {
        let ingest = Ingest::new(IngestParts {
            topics: Arc::clone(&self.topics),
            extractors: Arc::clone(&config.extractors),
            max_event_bytes: config.source.max_event_bytes,
            log: Arc::clone(&self.log),
            dispatcher: self.dispatcher.clone(),
            token_key: Arc::clone(&self.streams.token_key),
            metrics: self.metrics.clone(),
        });
        let readiness = self.readiness.clone();
        let metrics = self.metrics.clone();
        Ok(KafkaSource::start(
            &config.kafka,
            &config.source,
            ingest,
            metrics,
            readiness,
        )?)
    }
}

/// The broker inside of the process, where one is wanted.
#[derive(Debug)]
struct Broker {
    #[cfg(feature = "embedded-broker")]
    embedded: Option<crate::kafka::EmbeddedBroker>,
}

impl Broker {
    /// Starts the embedded broker when no brokers are configured, and points the clients to it.
    #[cfg(feature = "embedded-broker")]
    fn start(config: &mut Config) -> Result<Self, AppError> {
        if !config.kafka.kafka_brokers.is_empty() {
            return Ok(Self { embedded: None });
        }
        let address = SocketAddr::from(([127, 0, 0, 1], config.process.embedded_kafka_port));
        let broker = crate::kafka::EmbeddedBroker::start(&config.process.data_dir, address)?;
        config.kafka = config.kafka.clone().with_embedded(broker.address());
        Ok(Self {
            embedded: Some(broker),
        })
    }

    /// Checks that there are brokers: this build has none of its own.
    #[cfg(not(feature = "embedded-broker"))]
    fn start(config: &mut Config) -> Result<Self, AppError> {
        if config.kafka.kafka_brokers.is_empty() {
            Err(AppError::NoBrokers)
        } else {
            Ok(Self {})
        }
    }

    /// Says in words where Kafka is.
    fn whereabouts(&self, kafka: &KafkaConfig) -> String {
        let brokers = kafka.kafka_brokers.joined();
        #[cfg(feature = "embedded-broker")]
        if self.embedded.is_some() {
            return format!("embedded, at {brokers}");
        }
        format!("at {brokers}")
    }

    fn stop(self) {
        #[cfg(feature = "embedded-broker")]
        if let Some(broker) = self.embedded {
            broker.stop();
        }
    }
}

/// Opens the public port when the instance is ready, or without Kafka when that takes too long.
async fn open_public(
    listener: Listener,
    api: PublicApi,
    serving: Serving,
    readiness: Readiness,
    is_started: Arc<AtomicBool>,
) {
    let unreachable = async {
        loop {
            tokio::time::sleep(KAFKA_PATIENCE).await;
            if !readiness.holds(Condition::KafkaReachable) {
                return;
            }
        }
    };
    tokio::select! {
        () = readiness.ready() => tracing::info!(address = %listener.local_addr(), "ready"),
        () = unreachable => tracing::warn!(
            address = %listener.local_addr(),
            "kafka cannot be reached; streams are accepted and wait"
        ),
        () = serving.tasks.stopping().cancelled_owned() => return,
    }
    listener.serve(api, serving);
    is_started.store(true, Ordering::Release);
}

/// Does what clients say on their connections, in the order in which they say it.
async fn read_texts(mut texts: mpsc::Receiver<ClientText>, changes: Changes, tasks: Tasks) {
    let stopping = tasks.stopping();
    while let Some(Some(text)) = stopping.run_until_cancelled(texts.recv()).await {
        changes.on_text(text).await;
    }
}

/// Gets the key of connection tokens; Kafka may be away for a while.
async fn get_token_key(
    config: SharedConfig,
    state: Arc<StateLog>,
    place: Arc<OnceLock<TokenKey>>,
    stopping: CancellationToken,
) {
    let key = async {
        loop {
            match ClusterKey::of_cluster(&config, &state).await {
                Ok(key) => return key,
                Err(error) => tracing::warn!(%error, "the key of connection tokens is not there"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    if let Some(key) = stopping.run_until_cancelled(key).await {
        place.get_or_init(|| TokenKey::new(key.as_bytes()));
    }
}

/// Tells waiting polls when the subscriptions of their sessions change, here or elsewhere.
async fn watch_sessions(state: Arc<StateLog>, long_polling: LongPolling, tasks: Tasks) {
    let stopping = tasks.stopping();
    let mut changes = state.changes(STATE_KIND);
    while let Some(change) = stopping.run_until_cancelled(changes.recv()).await {
        match change {
            Ok(change) => long_polling.on_change(&change.key).await,
            Err(RecvError::Lagged(_)) => long_polling.on_any_change().await,
            Err(RecvError::Closed) => return,
        }
    }
}

async fn clean_up(long_polling: LongPolling, tasks: Tasks) {
    let stopping = tasks.stopping();
    while stopping
        .run_until_cancelled(tokio::time::sleep(CLEAN_UP_INTERVAL))
        .await
        .is_some()
    {
        long_polling.remove_ended().await;
    }
}

async fn show_readiness(readiness: Readiness, metrics: Metrics, tasks: Tasks) {
    let stopping = tasks.stopping();
    loop {
        metrics.ready.set(i64::from(readiness.is_ready()));
        if stopping
            .run_until_cancelled(readiness.changed())
            .await
            .is_none()
        {
            return;
        }
    }
}
