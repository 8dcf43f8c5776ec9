//! The two ports, and when they open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::mpsc;

use super::background;
use crate::api::{
    ApiAdmin, InternalApi, InternalGuard, InternalParts, PublicApi, SessionAdmin, Submissions,
    Texts,
};
use crate::dispatch::ClientText;
use crate::http::{
    BindError, BodyMemory, Handler, HttpLimits, Listener, Serving, Tls, TrustedProxies,
};
use crate::proxy::Proxy;
use crate::session::Blacklist;
use crate::shared::StateLog;
use crate::telemetry::{Condition, Metrics, Readiness, Tasks};
use crate::transport::{Acknowledgements, Changes, LongPolling, Streams};

/// How long the public port waits for Kafka before it opens without it.
pub const KAFKA_PATIENCE: Duration = Duration::from_secs(3);

/// What answers requests.
pub(super) struct Services {
    pub(super) limits: HttpLimits,
    pub(super) tls: Option<Tls>,
    /// How the internal port speaks it.
    pub(super) internal_tls: Option<Tls>,
    pub(super) internal_guard: InternalGuard,
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) streams: Streams,
    pub(super) long_polling: Arc<LongPolling>,
    pub(super) acknowledgements: Acknowledgements,
    pub(super) changes: Changes,
    pub(super) submissions: Arc<Submissions>,
    pub(super) state: Arc<StateLog>,
    pub(super) blacklist: Blacklist,
    pub(super) sessions: SessionAdmin,
    pub(super) proxy: Arc<Proxy>,
    /// True once the public port is open.
    pub(super) is_started: Arc<AtomicBool>,
    pub(super) readiness: Readiness,
    pub(super) metrics: Metrics,
    pub(super) tasks: Tasks,
}

/// The sockets of a port: without TLS, and with it where there is a certificate.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) plain: Listener,
    pub(super) tls: Option<Listener>,
}

impl Port {
    /// Opens both; they accept nothing yet.
    pub(super) fn bind(
        plain: SocketAddr,
        tls: SocketAddr,
        has_certificate: bool,
    ) -> Result<Self, BindError> {
        Ok(Self {
            plain: Listener::bind(plain)?,
            tls: has_certificate.then(|| Listener::bind(tls)).transpose()?,
        })
    }

    pub(super) fn tls_address(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(Listener::local_addr)
    }

    /// Accepts and serves on both.
    fn serve<H: Handler>(self, handler: H, serving: Serving) {
        let handler = Arc::new(handler);
        if let Some(listener) = self.tls {
            listener.serve(Arc::clone(&handler), serving.clone());
        }
        let plain = Serving {
            tls: None,
            ..serving
        };
        self.plain.serve(handler, plain);
    }
}

impl Services {
    /// Serves the internal port, from now on.
    pub(super) fn serve_internal(&self, port: Port) {
        let api = InternalApi::new(InternalParts {
            guard: self.internal_guard.clone(),
            submissions: Arc::clone(&self.submissions),
            sessions: self.sessions.clone(),
            apis: ApiAdmin::new(self.proxy.apis().clone()),
            answers: self.proxy.answers().clone(),
            readiness: self.readiness.clone(),
            is_started: Arc::clone(&self.is_started),
            metrics: self.metrics.clone(),
        });
        let address = port.plain.local_addr();
        if self.internal_guard.is_open() && !address.ip().to_canonical().is_loopback() {
            tracing::warn!(
                address = %address,
                "the internal port is not on loopback and asks nobody who they are; set API_TOKEN or API_CLIENT_CA_FILE, or keep others away"
            );
        }
        let serving = Serving {
            tls: self.internal_tls.clone(),
            ..self.serving("internal", self.tasks.clone(), BodyMemory::for_trusted)
        };
        port.serve(api, serving);
    }

    /// Serves the public port on `tasks`, when the instance is ready or has waited long enough.
    pub(super) fn serve_public(&self, port: Port, tasks: Tasks) {
        let api = PublicApi::new(
            self.streams.clone(),
            self.acknowledgements.clone(),
            self.long_polling.clone(),
            self.changes.clone(),
            Arc::clone(&self.submissions),
            Arc::clone(&self.proxy),
        );
        let serving = self.serving("public", tasks, BodyMemory::for_strangers);
        let (readiness, is_started) = (self.readiness.clone(), Arc::clone(&self.is_started));
        self.tasks.spawn(
            "public.open",
            open_public(port, api, serving, readiness, is_started),
        );
    }

    /// Starts what goes on while requests are answered.
    pub(super) fn run_background(self, texts: mpsc::Receiver<ClientText>) {
        let tasks = self.tasks;
        let dispatcher = self.streams.dispatcher.clone();
        let registry = self.streams.registry.clone();
        let said = Texts::new(self.changes, Arc::clone(&self.proxy), dispatcher, registry);
        tasks.spawn("texts", background::read_texts(texts, said, tasks.clone()));
        let sessions =
            background::watch_sessions(self.state, self.long_polling.clone(), tasks.clone());
        tasks.spawn("longpoll.changes", sessions);
        let apis = self.proxy.apis().clone();
        tasks.spawn("apis", apis.follow(self.readiness.clone(), tasks.clone()));
        let registry = self.streams.registry;
        tasks.spawn(
            "sessions.expiry",
            registry.clone().watch_expiry(tasks.clone()),
        );
        let blacklist = self.blacklist.clone();
        tasks.spawn(
            "sessions.blacklist",
            blacklist.watch(registry, tasks.clone()),
        );
        let ended = background::Ended {
            long_polling: self.long_polling,
            acknowledgements: self.acknowledgements,
            blacklist: self.blacklist,
            access: self.streams.access,
            answers: self.proxy.answers().clone(),
        };
        tasks.spawn("sessions.clean_up", ended.clean_up(tasks.clone()));
        if let Some(tls) = &self.tls {
            tls.watch(&tasks);
        }
        let readiness = background::show_readiness(self.readiness, self.metrics, tasks.clone());
        tasks.spawn("readiness", readiness);
    }

    /// Says how a port is served; what strangers send takes no memory from those who use the internal one.
    fn serving(
        &self,
        name: &'static str,
        tasks: Tasks,
        memory: fn(usize, IntGauge) -> BodyMemory,
    ) -> Serving {
        let gauge = self.metrics.http_body_bytes.with_label_values(&[name]);
        Serving {
            name,
            limits: self.limits.clone(),
            tasks,
            metrics: self.metrics.clone(),
            tls: self.tls.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            body_memory: memory(self.limits.http_max_bodies_bytes, gauge),
        }
    }
}

/// Opens the public port when the instance is ready, or without Kafka when that takes too long.
async fn open_public(
    port: Port,
    api: PublicApi,
    serving: Serving,
    readiness: Readiness,
    is_started: Arc<AtomicBool>,
) {
    let address = port.plain.local_addr();
    let unreachable = async {
        loop {
            tokio::time::sleep(KAFKA_PATIENCE).await;
            if !readiness.holds(Condition::KafkaReachable) {
                return;
            }
        }
    };
    tokio::select! {
        () = readiness.ready() => tracing::info!(address = %address, "ready"),
        () = unreachable => tracing::warn!(
            address = %address,
            "kafka cannot be reached; streams are accepted and wait"
        ),
        () = serving.tasks.stopping().cancelled_owned() => return,
    }
    port.serve(api, serving);
    is_started.store(true, Ordering::Release);
}
