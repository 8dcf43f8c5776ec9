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

mod background;
mod broker;
mod core;
mod door;
mod nats;
mod proxying;
mod serving;

use std::net::SocketAddr;
use std::time::Duration;

use self::broker::Broker;
use self::core::Core;
use self::nats::Nats;
pub use self::serving::KAFKA_PATIENCE;
use self::serving::Port;
use crate::config::Config;
use crate::dispatch::{Dispatcher, StartError};
use crate::http::BindError;
use crate::kafka::Producer;
use crate::proxy::Answers;
use crate::shared::{CommandLog, FollowError};
use crate::source::KafkaSource;
use crate::telemetry::{Condition, Readiness, Tasks};

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
    /// The certificate authorities for HTTP backends cannot be read.
    #[error("PROXY_UPSTREAM_CA_FILE is of no use")]
    Trust(#[from] crate::fetch::TrustError),
    /// NATS cannot be spoken to so.
    #[error(transparent)]
    NatsConfig(#[from] crate::nats::NatsConfigError),
    /// The NATS subjects cannot be read so.
    #[error("the nats source cannot be started: {0}")]
    Nats(#[from] crate::nats::NatsError),
    /// The source cannot be started.
    #[error(transparent)]
    Source(#[from] crate::source::SourceError),
    /// What reads the past cannot be started.
    #[error(transparent)]
    History(#[from] crate::replay::HistoryError),
    /// Tokens cannot be verified so.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// The shared state cannot be started.
    #[error(transparent)]
    Shared(#[from] FollowError),
}

/// How long whoever has no answer at the end may take to be told so.
const FAREWELL: Duration = Duration::from_secs(1);

/// A running instance.
#[derive(Debug)]
pub struct App {
    public: SocketAddr,
    internal: SocketAddr,
    public_tls: Option<SocketAddr>,
    internal_tls: Option<SocketAddr>,
    /// Where Kafka is, in words.
    kafka: String,
    readiness: Readiness,
    dispatcher: Dispatcher,
    source: KafkaSource,
    nats: Nats,
    commands: CommandLog,
    answers: Answers,
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
        let has_tls = config.tls.is_some();
        let public = Port::bind(
            config.public_address(),
            config.public_tls_address(),
            has_tls,
        )?;
        let internal = Port::bind(
            config.internal_address(),
            config.internal_tls_address(),
            has_tls,
        )?;
        config.kafka.name_instance(public.plain.local_addr().port());
        let broker = Broker::start(&mut config).await?;
        let producer = Producer::new(&config.kafka)?;
        let (core, texts) = Core::start(&config, &producer)?;
        let commands = core.start_commands(&config, &producer)?;
        let source = core.start_source(&config)?;
        let nats = Nats::start(&config, &core.metrics, &core.tasks).await?;
        let public_tasks = Tasks::new();
        let client = nats.client.clone();
        let proxy = proxying::start(&config, &core, &producer, client, public_tasks.clone())?;
        let app = Self {
            public: public.plain.local_addr(),
            internal: internal.plain.local_addr(),
            public_tls: public.tls_address(),
            internal_tls: internal.tls_address(),
            kafka: broker.whereabouts(&config.kafka),
            readiness: core.readiness.clone(),
            dispatcher: core.dispatcher.clone(),
            source,
            nats,
            commands: commands.clone(),
            answers: core.answers.clone(),
            producer: producer.clone(),
            public_tasks: public_tasks.clone(),
            tasks: core.tasks.clone(),
            grace: config.process.shutdown_grace,
            broker,
        };
        let services = core.services(config, commands, producer, proxy);
        services.serve_internal(internal);
        services.serve_public(public, public_tasks);
        services.run_background(texts);
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

    /// Returns the address of the public port with TLS, where there is a certificate.
    #[must_use]
    pub const fn public_tls_address(&self) -> Option<SocketAddr> {
        self.public_tls
    }

    /// Returns the address of the internal port with TLS, where there is a certificate.
    #[must_use]
    pub const fn internal_tls_address(&self) -> Option<SocketAddr> {
        self.internal_tls
    }

    /// Returns what a newcomer wants to know: what listens where, and what to try next.
    #[must_use]
    pub fn greeting(&self) -> String {
        let public = self.public.port();
        let internal = self.internal.port();
        let kafka = &self.kafka;
        let with_tls = |address: Option<SocketAddr>| {
            address.map_or_else(String::new, |tls| format!(" ({} with TLS)", tls.port()))
        };
        let (public_tls, internal_tls) = (with_tls(self.public_tls), with_tls(self.internal_tls));
        format!(
            "\
sluicegate listens on port {public}{public_tls} for clients and on port {internal}{internal_tls} for backends; Kafka is {kafka}.

  subscribe:  curl -N 'http://localhost:{public}/_rig/v1/connection/sse?subscriptions=%5B%7B%22eventType%22:%22greeting%22%7D%5D'
  publish:    curl -H 'content-type: application/json' -d '{{\"specversion\":\"1.0\",\"type\":\"greeting\",\"source\":\"/me\",\"id\":\"1\",\"data\":{{\"name\":\"Alice\"}}}}' http://localhost:{public}/_rig/v1/events
  open:       http://localhost:{internal}/?port={public}

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

    /// Shuts down: fails readiness, accepts nothing more, answers what is in flight, tells all streams
    /// to go, spread over the grace period, and commits the offsets. Commands that have no answer by then get 503.
    ///
    /// # Cancel safety
    /// Not cancel safe: what was stopped stays stopped.
    pub async fn stop(self) {
        tracing::info!(grace_ms = self.grace.as_millis(), "shutting down");
        self.readiness.set(Condition::NotDraining, false);
        let drain = self.dispatcher.drain(self.grace);
        let ((), in_time, ()) = tokio::join!(
            drain,
            tokio::time::timeout(self.grace, self.public_tasks.stop()),
            self.nats.stop()
        );
        if in_time.is_err() {
            self.answers.give_up();
            let told = tokio::time::timeout(FAREWELL, self.public_tasks.stop()).await;
            tracing::warn!(
                refused = told.is_ok(),
                "some requests were not answered within the grace period"
            );
        }
        self.source.stop();
        self.answers.stop().await;
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
