//! The keys of an issuer, kept fresh: in time by a task, and on demand for a key that is not known.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::TokenError;
use super::header::{Header, Parts};
use super::key_set::KeySet;
use super::provider::{Provider, ProviderError};
use crate::telemetry::{Limited, Metrics, Tasks};

/// How many different unknown keys are looked for at a time.
const MAX_WANTED: usize = 1_024;
/// At most so often the log says that keys cannot be fetched.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How often keys are fetched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rhythm {
    /// Without any demand.
    pub(super) refresh: Duration,
    /// Between the beginnings of two fetches, however many ask.
    pub(super) cooldown: Duration,
}

/// The keys that are in force, and how the last fetch went.
#[derive(Debug, Clone, Default)]
struct State {
    keys: KeySet,
    /// The number of the last fetch that has ended; the first is 1.
    fetch: u64,
    /// Whether it brought a key set.
    is_fresh: bool,
    /// When it began.
    began: Option<Instant>,
    /// The keys for which it was made.
    looked_for: Arc<Names>,
}

/// Names of keys; a token without one has the empty name.
type Names = HashSet<Box<str>>;

/// What those who verify want from the task.
#[derive(Debug, Default)]
struct Demand {
    /// How many fetches have begun.
    begun: u64,
    /// The unknown keys that came since.
    wanted: Names,
}

/// Gives out the keys of an issuer. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct KeyServer {
    state: watch::Receiver<State>,
    demand: Arc<Mutex<Demand>>,
    bell: Arc<Notify>,
    cooldown: Duration,
}

impl KeyServer {
    /// Fetches the keys at once, and again from time to time, in a task.
    pub(super) fn start(
        provider: Provider,
        rhythm: Rhythm,
        tasks: &Tasks,
        metrics: Metrics,
    ) -> Self {
        let (publish, state) = watch::channel(State::default());
        let server = Self {
            state,
            demand: Arc::default(),
            bell: Arc::default(),
            cooldown: rhythm.cooldown,
        };
        let task = Task {
            provider,
            rhythm,
            metrics,
            publish,
            demand: Arc::clone(&server.demand),
            bell: Arc::clone(&server.bell),
            logged: Limited::new(LOG_INTERVAL),
        };
        tasks.spawn("identity.keys", task.run(tasks.stopping()));
        server
    }

    /// Checks the signature of a token with the issuer's keys; where they do not have its key, after they
    /// were fetched anew.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; the fetch goes on.
    pub(super) async fn verify(&self, parts: &Parts<'_>) -> Result<(), TokenError> {
        let keys = self.state.borrow().keys.clone();
        let verified = keys.verify(parts);
        if !may_be_rotation(parts, verified) {
            return verified;
        }
        self.look_for(&parts.header).await?;
        let keys = self.state.borrow().keys.clone();
        keys.verify(parts)
    }

    /// Waits until the keys were fetched, or for as long as a fetch may take.
    async fn look_for(&self, header: &Header) -> Result<(), TokenError> {
        let id = header.key_id.as_deref().unwrap_or_default();
        let mut state = self.state.clone();
        if let Some(known) = self.outcome_of_last(&state.borrow_and_update(), id) {
            return known;
        }
        let needed = self.order(id, state.borrow().fetch)?;
        // A token with a name is done as soon as the name is there, whichever fetch brought it.
        let is_there = |state: &State| header.key_id.is_some() && state.keys.knows(header);
        let fetched = state.wait_for(|state| state.fetch >= needed || is_there(state));
        match tokio::time::timeout(Provider::TIMEOUT, fetched).await {
            Ok(Ok(state)) if state.is_fresh || is_there(&state) => Ok(()),
            // The fetch failed, took too long, is not due yet, or the process ends.
            Ok(_) | Err(_) => Err(TokenError::KeysUnavailable),
        }
    }

    /// Returns what the last fetch said about a key, as long as there can be no other.
    fn outcome_of_last(&self, state: &State, id: &str) -> Option<Result<(), TokenError>> {
        let is_recent = state
            .began
            .is_some_and(|began| began.elapsed() < self.cooldown);
        match state.is_fresh {
            _ if !is_recent => None,
            false => Some(Err(TokenError::KeysUnavailable)),
            true => state.looked_for.contains(id).then_some(Ok(())),
        }
    }

    /// Asks the task to look for a key, and returns the number of the fetch that will tell.
    ///
    /// That is one that has not begun: the one under way may have read the set before the key was in it.
    /// At the start there is nothing older, and the first one will do.
    fn order(&self, id: &str, fetched: u64) -> Result<u64, TokenError> {
        if fetched == 0 {
            return Ok(1);
        }
        let mut demand = self.demand.lock();
        if demand.wanted.len() >= MAX_WANTED && !demand.wanted.contains(id) {
            return Err(TokenError::KeysUnavailable);
        }
        demand.wanted.insert(id.into());
        let needed = demand.begun + 1;
        drop(demand);
        self.bell.notify_one();
        Ok(needed)
    }
}

/// Returns whether keys that are newer could tell otherwise.
///
/// Without a name, a signature that does not fit may be that of a new key.
fn may_be_rotation(parts: &Parts<'_>, verified: Result<(), TokenError>) -> bool {
    match verified {
        Err(TokenError::UnknownKey) => true,
        Err(TokenError::Signature) => parts.header.key_id.is_none(),
        _ => false,
    }
}

/// The task that fetches.
struct Task {
    provider: Provider,
    rhythm: Rhythm,
    metrics: Metrics,
    publish: watch::Sender<State>,
    demand: Arc<Mutex<Demand>>,
    bell: Arc<Notify>,
    logged: Limited,
}

impl Task {
    async fn run(self, stopping: CancellationToken) {
        loop {
            let began = Instant::now();
            let fetched = stopping.run_until_cancelled(self.fetch(began)).await;
            let Some(is_fresh) = fetched else {
                return;
            };
            if stopping
                .run_until_cancelled(self.rest(began, is_fresh))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Fetches once, and tells everybody how it went. Returns whether there is a new set.
    async fn fetch(&self, began: Instant) -> bool {
        let (number, looked_for) = {
            let mut demand = self.demand.lock();
            demand.begun += 1;
            (demand.begun, Arc::new(std::mem::take(&mut demand.wanted)))
        };
        let loaded = self.provider.load().await;
        let is_fresh = loaded.is_ok();
        let result = if is_fresh { "ok" } else { "failed" };
        let fetches = &self.metrics.token_key_fetches;
        fetches.with_label_values(&[result]).inc();
        let keys = match loaded {
            Ok(keys) => keys,
            Err(error) => {
                self.tell(&error);
                self.publish.borrow().keys.clone()
            }
        };
        if is_fresh && !self.publish.borrow().is_fresh {
            tracing::info!(keys = keys.len(), "fetched the keys of tokens");
        }
        self.metrics
            .token_keys
            .set(i64::try_from(keys.len()).unwrap_or(i64::MAX));
        self.publish.send_replace(State {
            keys,
            fetch: number,
            is_fresh,
            began: Some(began),
            looked_for,
        });
        is_fresh
    }

    fn tell(&self, error: &ProviderError) {
        if let Some(suppressed) = self.logged.admit("", std::time::Instant::now()) {
            tracing::warn!(
                %error,
                suppressed,
                "could not fetch the keys of tokens; those from before stay in force"
            );
        }
    }

    /// Waits until the next fetch is due: in time, or because somebody asks, but not too soon.
    async fn rest(&self, began: Instant, is_fresh: bool) {
        let again = if is_fresh {
            self.rhythm.refresh
        } else {
            // The provider is away: as soon as is polite.
            self.rhythm
                .refresh
                .min(self.rhythm.cooldown.max(Duration::from_secs(1)))
        };
        let asked = async {
            while self.demand.lock().wanted.is_empty() {
                self.bell.notified().await;
            }
            tokio::time::sleep_until(began + self.rhythm.cooldown).await;
        };
        tokio::select! {
            () = tokio::time::sleep_until(began + again) => {}
            () = asked => {}
        }
    }
}
