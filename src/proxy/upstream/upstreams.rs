//! The upstreams that routes use: their connections and their health.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::addresses::{Address, Addresses};
use super::budget::Budget;
use super::config::UpstreamConfig;
use super::connection::{Connections, Keeping};
use super::dial::Dialer;
use super::probe;
use crate::fetch::TrustError;
use crate::proxy::route::UpstreamSpec;
use crate::telemetry::{Metrics, Tasks};

/// How often connections are looked through for those that have had nothing to do for too long.
const SWEEP: Duration = Duration::from_secs(5);

/// One upstream while routes use it.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) spec: Arc<UpstreamSpec>,
    pub(super) addresses: Addresses,
    pub(super) retries: Budget,
    /// Wakes the task that probes.
    pub(super) bell: Arc<Notify>,
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
    by_spec: RwLock<HashMap<Arc<UpstreamSpec>, Arc<Upstream>>>,
    config: Arc<UpstreamConfig>,
    dialer: Dialer,
    tasks: Tasks,
    metrics: Metrics,
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
        });
        let stopping = tasks.stopping();
        let sweeping = sweep(Arc::downgrade(&known));
        tasks.spawn("upstream.sweep", async move {
            stopping.run_until_cancelled_owned(sweeping).await;
        });
        Ok(Self(known))
    }

    /// Forgets the upstreams that no route uses any more: their connections are closed once they have nothing
    /// to do. The others keep theirs.
    pub(in crate::proxy) fn keep_only(&self, is_used: impl Fn(&UpstreamSpec) -> bool) {
        let mut by_spec = self.0.by_spec.write();
        by_spec.retain(|spec, _| is_used(spec));
    }

    /// Returns the upstream of a route; equal specifications share one.
    pub(super) fn get(&self, spec: &Arc<UpstreamSpec>) -> Arc<Upstream> {
        if let Some(known) = self.0.by_spec.read().get(spec) {
            return Arc::clone(known);
        }
        let mut by_spec = self.0.by_spec.write();
        let upstream = by_spec
            .entry(Arc::clone(spec))
            .or_insert_with(|| self.0.make(spec));
        Arc::clone(upstream)
    }

    pub(super) fn config(&self) -> &UpstreamConfig {
        &self.0.config
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_spec = self.0.by_spec.read();
        formatter.debug_set().entries(by_spec.keys()).finish()
    }
}

impl Known {
    fn make(&self, spec: &Arc<UpstreamSpec>) -> Arc<Upstream> {
        let bell = Arc::new(Notify::new());
        let keeping = Keeping {
            max_idle: self.config.proxy_max_idle_connections,
            keep: self.config.proxy_keep_alive_timeout,
        };
        let address = |name: &http::uri::Authority| {
            let (name, dialer) = (name.clone(), self.dialer.clone());
            let connections = Connections::new(spec.protocol, name.clone(), dialer, keeping);
            let paused = self.metrics.proxy.upstream_paused.clone();
            Arc::new(Address::new(name, connections, paused, Arc::clone(&bell)))
        };
        let patience = self.config.proxy_connect_timeout + self.config.proxy_recv_timeout;
        let addresses = spec.addresses.iter().map(address).collect();
        let upstream = Arc::new(Upstream {
            spec: Arc::clone(spec),
            addresses: Addresses::new(addresses, spec.health_path.is_some(), patience),
            retries: Budget::default(),
            bell,
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

/// Closes idle connections until nobody has the upstreams any more.
async fn sweep(known: Weak<Known>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(known) = known.upgrade() else {
            return;
        };
        let now = Instant::now();
        for upstream in known.by_spec.read().values() {
            for address in upstream.addresses.all() {
                address.connections.close_idle(now);
            }
        }
    }
}
