//! The upstreams that routes use: their connections and their health.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::uri::Authority;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::addresses::{Address, Addresses};
use super::budget::Budget;
use super::config::UpstreamConfig;
use super::connection::{Connections, Keeping};
use super::dial::Dialer;
use super::error::UpstreamError;
use super::probe;
use crate::fetch::TrustError;
use crate::proxy::route::UpstreamSpec;
use crate::telemetry::{Limited, Metrics, Tasks};

/// How often connections are looked through for those that have had nothing to do for too long.
const SWEEP: Duration = Duration::from_secs(5);

/// How often the log says that requests to an address fail.
const COMPLAINTS: Duration = Duration::from_secs(5);
/// For how long an upstream is kept that no route has, so that it outlives a change of the definitions.
const GRACE: Duration = Duration::from_secs(10);

/// One upstream while routes use it.
#[derive(Debug)]
pub(super) struct Upstream {
    /// A copy, so that those of the routes tell when none is left.
    pub(super) spec: Arc<UpstreamSpec>,
    pub(super) addresses: Addresses,
    pub(super) retries: Budget,
    /// How many requests more there may be; `None` for any number.
    turns: Option<Arc<Semaphore>>,
    /// Wakes the task that probes.
    pub(super) bell: Arc<Notify>,
    used: Mutex<Used>,
}

/// The turn of a request, given back when dropped; `None` where they are not counted.
pub(super) type Turn = Option<OwnedSemaphorePermit>;

/// Who uses an upstream.
#[derive(Debug)]
struct Used {
    /// The specification as routes have it; equal ones share the upstream.
    by: Vec<Weak<UpstreamSpec>>,
    last: Instant,
}

impl Upstream {
    /// Takes the turn of one request, until its answer has ended.
    ///
    /// # Errors
    /// [`UpstreamError::Busy`] while there are as many as there may be.
    pub(super) fn turn(&self) -> Result<Turn, UpstreamError> {
        let Some(turns) = &self.turns else {
            return Ok(None);
        };
        let taken = Arc::clone(turns).try_acquire_owned();
        taken.map(Some).map_err(|_| UpstreamError::Busy {
            address: self
                .spec
                .addresses
                .first()
                .map_or("", Authority::as_str)
                .into(),
        })
    }

    /// Notes that a route with this specification uses it.
    fn note_use(&self, spec: &Arc<UpstreamSpec>) {
        let mut used = self.used.lock();
        used.last = Instant::now();
        let is_this = |known: &Weak<UpstreamSpec>| std::ptr::eq(known.as_ptr(), &**spec);
        if !used.by.iter().any(is_this) {
            used.by.retain(|known| known.strong_count() > 0);
            used.by.push(Arc::downgrade(spec));
        }
    }

    /// Whether a route has it, or had it not long ago.
    fn is_used(&self, now: Instant) -> bool {
        let used = self.used.lock();
        used.by.iter().any(|spec| spec.strong_count() > 0) || used.last + GRACE > now
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.bell.notify_one();
    }
}

/// All upstreams. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub(in crate::proxy) struct Upstreams(Arc<Known>);

struct Known {
    by_spec: RwLock<HashMap<UpstreamSpec, Arc<Upstream>>>,
    config: Arc<UpstreamConfig>,
    dialer: Dialer,
    tasks: Tasks,
    metrics: Metrics,
    /// For each address.
    complaints: Limited,
}

impl Upstreams {
    /// Makes a set without upstreams; connections run on `tasks` until these are told to stop.
    ///
    /// # Errors
    /// [`TrustError`] when the certificate authorities of the settings cannot be read.
    pub(in crate::proxy) fn new(
        config: UpstreamConfig,
        tasks: &Tasks,
        metrics: &Metrics,
    ) -> Result<Self, TrustError> {
        let dialer = Dialer::new(&config, tasks.clone(), metrics.clone())?;
        let known = Arc::new(Known {
            by_spec: RwLock::default(),
            config: Arc::new(config),
            dialer,
            tasks: tasks.clone(),
            metrics: metrics.clone(),
            complaints: Limited::new(COMPLAINTS),
        });
        let stopping = tasks.stopping();
        let sweeping = sweep(Arc::downgrade(&known));
        tasks.spawn("upstream.sweep", async move {
            stopping.run_until_cancelled_owned(sweeping).await;
        });
        Ok(Self(known))
    }

    /// Returns the upstream of a route; equal specifications share one.
    ///
    /// It is forgotten, and its connections are closed, some seconds after the last route that has the
    /// specification is dropped.
    pub(super) fn get(&self, spec: &Arc<UpstreamSpec>) -> Arc<Upstream> {
        if let Some(known) = self.0.by_spec.read().get(&**spec) {
            known.note_use(spec);
            return Arc::clone(known);
        }
        let own = UpstreamSpec::clone(spec);
        let mut by_spec = self.0.by_spec.write();
        let entry = by_spec.entry(own);
        let upstream = entry.or_insert_with_key(|own| self.0.make(own));
        upstream.note_use(spec);
        Arc::clone(upstream)
    }

    pub(super) fn config(&self) -> &UpstreamConfig {
        &self.0.config
    }

    /// Writes to the log why a request failed, but not for each of many.
    pub(super) fn complain(&self, error: &UpstreamError) {
        let Some(address) = error.address() else {
            tracing::debug!(%error, "a request was not sent to its end");
            return;
        };
        let admitted = self.0.complaints.admit(address, std::time::Instant::now());
        if let Some(suppressed) = admitted {
            tracing::warn!(%error, suppressed, "a request to a backend failed");
        }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Does at once what is done every few seconds.
    #[cfg(test)]
    pub(super) fn sweep(&self, now: Instant) {
        self.0.sweep(now);
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_spec = self.0.by_spec.read();
        formatter.debug_set().entries(by_spec.keys()).finish()
    }
}

impl Known {
    fn sweep(&self, now: Instant) {
        self.by_spec.write().retain(|_, upstream| {
            for address in upstream.addresses.all() {
                address.connections.close_idle(now);
            }
            upstream.is_used(now)
        });
    }

    fn make(&self, spec: &UpstreamSpec) -> Arc<Upstream> {
        let bell = Arc::new(Notify::new());
        let keeping = Keeping {
            max_idle: self.config.proxy_max_idle_connections,
            keep: self.config.proxy_keep_alive_timeout,
        };
        let address = |name: &Authority| {
            let (name, dialer) = (name.clone(), self.dialer.clone());
            let connections = Connections::new(spec.protocol, name.clone(), dialer, keeping);
            let paused = self.metrics.proxy.upstream_paused.clone();
            Arc::new(Address::new(name, connections, paused, Arc::clone(&bell)))
        };
        let patience = self.config.patience();
        let most = self.config.proxy_max_requests_per_backend;
        let most = most.min(Semaphore::MAX_PERMITS);
        let addresses = spec.addresses.iter().map(address).collect();
        let upstream = Arc::new(Upstream {
            spec: Arc::new(spec.clone()),
            addresses: Addresses::new(addresses, spec.health_path.is_some(), patience),
            retries: Budget::default(),
            turns: (most > 0).then(|| Arc::new(Semaphore::new(most))),
            bell,
            used: Mutex::new(Used {
                by: Vec::new(),
                last: Instant::now(),
            }),
        });
        if spec.health_path.is_some() {
            let stopping = self.tasks.stopping();
            let probing = probe::run(&upstream, patience);
            self.tasks.spawn("upstream.probe", async move {
                stopping.run_until_cancelled_owned(probing).await;
            });
        }
        upstream
    }
}

/// Closes what is idle and forgets what nobody uses, until nobody has the upstreams any more.
async fn sweep(known: Weak<Known>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        match known.upgrade() {
            Some(known) => known.sweep(Instant::now()),
            None => return,
        }
    }
}
