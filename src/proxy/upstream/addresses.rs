//! The addresses of one upstream, and which of them gets a request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::Authority;
use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::Connections;
use super::health::{Health, Standing};
use super::upstreams::Turn;

/// One address: its connections, its health, and how much it has to do.
pub(super) struct Address {
    pub(super) name: Authority,
    pub(super) connections: Arc<Connections>,
    health: Mutex<Health>,
    in_flight: AtomicUsize,
    /// Counts the addresses that are left alone.
    paused: IntGauge,
    /// Rung when a pause begins.
    bell: Arc<Notify>,
}

impl Address {
    pub(super) fn new(
        name: Authority,
        connections: Connections,
        paused: IntGauge,
        bell: Arc<Notify>,
    ) -> Self {
        Self {
            name,
            connections: Arc::new(connections),
            health: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            paused,
            bell,
        }
    }

    /// Notes an answer.
    pub(super) fn succeeded(&self) {
        if self.health.lock().succeeded() {
            self.paused.dec();
            tracing::info!(address = %self.name, "a backend is well again");
        }
    }

    /// Notes a failure.
    pub(super) fn failed(&self, now: Instant) {
        let was_well = self.health.lock().failed(now);
        if was_well {
            self.paused.inc();
            tracing::warn!(address = %self.name, "a backend fails and is left alone for a while");
        }
        self.bell.notify_one();
    }

    /// Returns since when it may be probed, or from when on; `None` while it is well.
    pub(super) fn probe_at(&self, now: Instant) -> Option<Instant> {
        match self.health.lock().standing(now) {
            Standing::Well => None,
            Standing::MayBeTried => Some(now),
            Standing::Paused(until) => Some(until),
        }
    }

    /// Begins a probe; see [`Health::begin_trial`].
    pub(super) fn begin_probe(&self, now: Instant, patience: Duration) {
        self.health.lock().begin_trial(now, patience);
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        if self.health.get_mut().succeeded() {
            self.paused.dec();
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Address")
            .field("name", &self.name)
            .field("health", &self.health.lock())
            .finish_non_exhaustive()
    }
}

/// A request that an address has to do with, until this is dropped.
pub(super) struct InFlight {
    address: Arc<Address>,
    /// Its turn at the upstream, once it is clear that it needs no other address.
    turn: Turn,
}

impl InFlight {
    pub(super) fn begin(address: &Arc<Address>) -> Self {
        address.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            address: Arc::clone(address),
            turn: None,
        }
    }

    /// Keeps the turn for as long as this is there.
    pub(super) fn keep(&mut self, turn: Turn) {
        self.turn = turn;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.address.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All addresses of one upstream.
#[derive(Debug)]
pub(super) struct Addresses {
    all: Box<[Arc<Address>]>,
    /// Where the next choice begins, so that equals take turns.
    next: AtomicUsize,
    /// Whether probes, and not requests, find out that an address is well again.
    are_probed: bool,
    /// How long the others wait for the outcome of a trial.
    patience: Duration,
}

impl Addresses {
    pub(super) fn new(all: Box<[Arc<Address>]>, are_probed: bool, patience: Duration) -> Self {
        Self {
            all,
            next: AtomicUsize::new(0),
            are_probed,
            patience,
        }
    }

    pub(super) fn all(&self) -> &[Arc<Address>] {
        &self.all
    }

    /// Chooses the address for a try: of those that are well, the one with the least to do, in turns.
    ///
    /// One whose pause is over gets one request to find out, unless that is done by probes. While all are left
    /// alone, the one whose pause ends first gets the request all the same. `None` when all have been tried.
    pub(super) fn choose(&self, tried: &[Arc<Address>], now: Instant) -> Option<Arc<Address>> {
        let start = self.next.fetch_add(1, Ordering::Relaxed) % self.all.len().max(1);
        let (before, from) = self.all.split_at_checked(start)?;
        let mut least: Option<(usize, &Arc<Address>)> = None;
        let mut soonest: Option<(Instant, &Arc<Address>)> = None;
        for address in from.iter().chain(before) {
            if tried.iter().any(|tried| Arc::ptr_eq(tried, address)) {
                continue;
            }
            let mut health = address.health.lock();
            match health.standing(now) {
                Standing::Well => {
                    let load = address.in_flight.load(Ordering::Relaxed);
                    if least.is_none_or(|(best, _)| load < best) {
                        least = Some((load, address));
                    }
                }
                Standing::MayBeTried if !self.are_probed => {
                    health.begin_trial(now, self.patience);
                    return Some(Arc::clone(address));
                }
                Standing::MayBeTried => soonest = Some((now, address)),
                Standing::Paused(until) => {
                    if soonest.is_none_or(|(best, _)| until < best) {
                        soonest = Some((until, address));
                    }
                }
            }
        }
        let chosen = least.map(|(_, address)| address);
        chosen.or(soonest.map(|(_, address)| address)).cloned()
    }
}
