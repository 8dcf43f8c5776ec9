//! The configuration: one definition for flags, environment variables and the file.
//!
//! ```text
//! flags ─┐
//! environment ─┼─ sources::merge ─▶ clap ─▶ Settings ─ checks ─▶ Config
//! file ──┘
//! ```
//!
//! # Invariants
//! - Each room declares its own settings; here they are only put together.
//! - The process environment is read in one function.
//! - An unknown name or a bad value stops the start; secrets are never printed.

mod bad_value;
mod error;
mod process;
mod program;
mod sizes;
mod sources;
mod unsupported;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

pub use error::ConfigError;
pub use process::ProcessConfig;
pub use program::{Program, read};
use sizes::Sizes;
pub use sources::Environment;

use crate::access::{AccessConfig, PlacesConfig, RatesConfig, Rules};
use crate::api::{InternalGuard, InternalGuardConfig, SubmissionConfig};
use crate::avro::AvroConfig;
use crate::dispatch::DispatchConfig;
use crate::http::{CorsConfig, HttpLimits, Tls, TlsConfig, TrustedProxyConfig};
use crate::identity::IdentityConfig;
use crate::kafka::KafkaConfig;
use crate::nats::NatsConfig;
use crate::proxy::{ApisConfig, ConfiguredApis, Hosts, Means, ProxySettings};
use crate::replay::ReplayConfig;
use crate::session::SessionConfig;
use crate::shared::SharedConfig;
use crate::source::{NatsSourceConfig, SourceConfig};
use crate::subscription::{Extractors, SubscriptionLimits};
use crate::transport::{AcknowledgementConfig, LongPollConfig, SseConfig};
use sources::{Merged, SECRETS};

/// All settings, as they are given.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "sluicegate",
    version,
    about = "The bridge between Kafka and frontends",
    after_help = "Commands:\n  check-config  Prints the settings in force and where each comes from\n  healthcheck   Asks the internal port of a running instance how it is",
    args_override_self = true
)]
struct Settings {
    /// File with settings, in TOML [env: SLUICEGATE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    process: ProcessConfig,
    #[command(flatten)]
    kafka: KafkaConfig,
    #[command(flatten)]
    shared: SharedConfig,
    #[command(flatten)]
    source: SourceConfig,
    #[command(flatten)]
    nats: NatsConfig,
    #[command(flatten)]
    nats_source: NatsSourceConfig,
    #[command(flatten)]
    submission: SubmissionConfig,
    #[command(flatten)]
    subscription_limits: SubscriptionLimits,
    #[command(flatten)]
    dispatch: DispatchConfig,
    #[command(flatten)]
    replay: ReplayConfig,
    #[command(flatten)]
    places: PlacesConfig,
    #[command(flatten)]
    rates: RatesConfig,
    #[command(flatten)]
    sse: SseConfig,
    #[command(flatten)]
    long_poll: LongPollConfig,
    #[command(flatten)]
    acknowledgement: AcknowledgementConfig,
    #[command(flatten)]
    http_limits: HttpLimits,
    #[command(flatten)]
    tls: TlsConfig,
    #[command(flatten)]
    internal_guard: InternalGuardConfig,
    #[command(flatten)]
    cors: CorsConfig,
    #[command(flatten)]
    proxies: TrustedProxyConfig,
    #[command(flatten)]
    identity: IdentityConfig,
    #[command(flatten)]
    access: AccessConfig,
    #[command(flatten)]
    session: SessionConfig,
    #[command(flatten)]
    apis: ApisConfig,
    #[command(flatten)]
    proxy: ProxySettings,
    #[command(flatten)]
    avro: AvroConfig,
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Ports, addresses, logs.
    pub process: ProcessConfig,
    /// How Kafka is reached.
    pub kafka: KafkaConfig,
    /// What all instances share beyond Kafka.
    pub shared: SharedConfig,
    /// What is read from it.
    pub source: SourceConfig,
    /// How NATS is reached.
    pub nats: NatsConfig,
    /// What is read from it.
    pub nats_source: NatsSourceConfig,
    /// How events are submitted over HTTP.
    pub submission: SubmissionConfig,
    /// How much a client may subscribe to.
    pub subscription_limits: SubscriptionLimits,
    /// How connections are served.
    pub dispatch: DispatchConfig,
    /// How much is kept for those who come back.
    pub replay: ReplayConfig,
    /// How many connections there may be.
    pub places: PlacesConfig,
    /// How many events may be submitted.
    pub rates: RatesConfig,
    /// How server-sent events are refused.
    pub sse: SseConfig,
    /// How long polls are served.
    pub long_poll: LongPollConfig,
    /// WebSocket sessions with acknowledgements.
    pub acknowledgement: AcknowledgementConfig,
    /// How long requests may take.
    pub http_limits: HttpLimits,
    /// How TLS is spoken; `None` without a certificate, and then no port speaks it.
    pub tls: Option<Tls>,
    /// How the internal port speaks TLS.
    pub internal_tls: Option<Tls>,
    /// Whom the internal port lets in.
    pub internal_guard: InternalGuard,
    /// Which pages may read the answers.
    pub cors: CorsConfig,
    /// Which proxies say who their clients are.
    pub proxies: TrustedProxyConfig,
    /// Which fields can be constrained.
    pub extractors: Arc<Extractors>,
    /// How tokens are verified.
    pub identity: IdentityConfig,
    /// Who may subscribe and submit.
    pub access: AccessConfig,
    /// The rules of that, where there are some.
    pub rules: Option<Arc<Rules>>,
    /// How connections end with their tokens.
    pub session: SessionConfig,
    /// Which requests are passed on, and where to.
    pub apis: ConfiguredApis,
    /// And how.
    pub proxy: ProxySettings,
    /// Where the schemas of Avro are.
    pub avro: AvroConfig,
}

impl Config {
    /// Reads the settings from variables alone, as tests do.
    ///
    /// # Errors
    /// [`ConfigError`] that names the setting.
    pub fn from_environment<'a>(
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ConfigError> {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let environment = variables.into_iter().map(owned).collect();
        Self::load(Vec::new(), &environment).map(|(config, _)| config)
    }

    /// Reads the settings from flags, the environment and the file that these name.
    fn load(
        flags: Vec<OsString>,
        environment: &Environment,
    ) -> Result<(Self, Merged), ConfigError> {
        let command = sources::with_variables_in_help(Settings::command());
        let merged = sources::merge(&command, flags, environment)?;
        let settings = command
            .try_get_matches_from(&merged.arguments)
            .and_then(|matches| Settings::from_arg_matches(&matches))
            .map_err(|error| bad_value::explain(error, &merged))?;
        Ok((settings.checked(&merged, environment)?, merged))
    }

    /// Returns the address of the public port.
    #[must_use]
    pub const fn public_address(&self) -> SocketAddr {
        SocketAddr::new(self.process.inbound_bind_address, self.process.inbound_port)
    }

    /// Returns the address of the public port with TLS.
    #[must_use]
    pub const fn public_tls_address(&self) -> SocketAddr {
        let process = &self.process;
        SocketAddr::new(process.inbound_bind_address, process.inbound_https_port)
    }

    /// Returns the address of the internal port with TLS.
    #[must_use]
    pub const fn internal_tls_address(&self) -> SocketAddr {
        SocketAddr::new(self.process.api_bind_address, self.process.api_https_port)
    }

    /// Returns the address of the internal port.
    #[must_use]
    pub const fn internal_address(&self) -> SocketAddr {
        SocketAddr::new(self.process.api_bind_address, self.process.api_http_port)
    }
}

impl Settings {
    /// Checks what each room can check of its own settings.
    fn check_parts(&self) -> Result<(), ConfigError> {
        self.kafka.check()?;
        self.nats.check()?;
        self.avro.check()?;
        self.proxy.request_log.check(&self.avro)?;
        self.identity.check()?;
        Ok(())
    }

    /// Returns what definitions of APIs can rely on.
    fn means(&self) -> Means {
        Means {
            verifies_tokens: self.identity.is_configured(),
            has_nats: !self.nats.nats_servers.is_empty(),
            has_registry: !self.avro.kafka_schema_registry_host.as_slice().is_empty(),
        }
    }

    fn checked(self, merged: &Merged, environment: &Environment) -> Result<Config, ConfigError> {
        let bad = |id: &str, value: &str, expected| bad_value::of(merged, id, value, expected);
        let extractors = self.process.read_extractors().map_err(|error| {
            let text = self.process.extractors.as_deref().unwrap_or_default();
            bad("extractors", text, error)
        })?;
        self.check_parts()?;
        let has_keys = self.identity.is_configured();
        let rules = self
            .access
            .load_rules(has_keys, self.cors.cors.is_exact())?;
        let sizes = Sizes {
            replay_ring: self.replay.replay_ring_bytes,
            outbox: self.dispatch.outbox_bytes,
            bodies: self.http_limits.http_max_bodies_bytes,
            command: self.proxy.command.proxy_max_command_bytes,
            submission: self.submission.max_submission_bytes,
        };
        sizes.check(merged)?;
        let apis = self.apis.load(hosts(environment), self.means())?;
        let tls = self.tls.load()?;
        let internal_tls = self.tls.load_internal(tls.as_ref())?;
        let has_ca = internal_tls
            .as_ref()
            .is_some_and(Tls::asks_for_certificates);
        let internal_guard = InternalGuard::new(&self.internal_guard, has_ca);
        Ok(Config {
            process: self.process,
            kafka: self.kafka,
            shared: self.shared,
            source: self.source,
            nats: self.nats,
            nats_source: self.nats_source,
            submission: self.submission,
            subscription_limits: self.subscription_limits,
            http_limits: HttpLimits {
                stream_write_timeout: self.dispatch.write_timeout,
                ..self.http_limits
            },
            dispatch: self.dispatch,
            replay: self.replay,
            places: self.places,
            rates: self.rates,
            sse: self.sse,
            long_poll: self.long_poll,
            acknowledgement: self.acknowledgement,
            internal_guard,
            internal_tls,
            tls,
            cors: self.cors,
            proxies: self.proxies,
            extractors: Arc::new(extractors),
            identity: self.identity,
            access: self.access,
            rules,
            session: self.session,
            apis,
            proxy: self.proxy,
            avro: self.avro,
        })
    }
}

/// Returns the variables that definitions of APIs may name as hosts: those that are no secrets.
fn hosts(environment: &Environment) -> Hosts {
    let is_secret = |name: &str| {
        let name = name.strip_suffix("_FILE").unwrap_or(name);
        SECRETS.contains(&name.to_ascii_lowercase().as_str())
    };
    let variables = environment.iter();
    Hosts::of(
        variables.map(|(name, value)| (name.as_str(), value.as_str())),
        is_secret,
    )
}

#[cfg(test)]
mod tests;
