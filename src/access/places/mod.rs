//! How many connections there may be, and how many may come: over all, of an address, of a session.
//!
//! ```text
//! take ─▶ is there room in each limit? ─no─▶ Full: which one, and when to come again
//!              │yes
//!              ▼
//!         counted in all of them ─▶ Place ─ dropped ─▶ given back in all of them
//! ```
//!
//! # Invariants
//! - A connection is counted in all limits or in none.
//! - A limit that is off costs nothing: no memory for a connection, no entry in a map.
//! - What is kept of an address or a session is its hash under a random key: nobody can choose names whose hashes
//!   collide, and no name is kept. An entry goes with its last connection, one of a window with the window.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::admission::Windows;
use super::counted::{Key, Name};
use super::limit::{Full, Limit};
use crate::telemetry::Metrics;

/// How many connections there may be.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Limits of clients")]
pub struct PlacesConfig {
    /// Open connections of the instance, waiting polls included; 0 for any number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub max_connections: u32,
    /// Open connections of one client address, of IPv6 of one network of 64 bits, at one instance; 0 for any number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub max_connections_per_address: u32,
    /// Open connections of one session, at one instance; 0 for any number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub max_connections_per_session: u32,
    /// Connections that may be opened a minute; 0 for any number
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000)]
    pub max_connections_per_minute: u32,
    /// Connections that one client address may open a minute; 0 for any number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub max_connections_per_minute_per_address: u32,
}

/// How soon somebody should come again who found no place: nobody knows when one is given back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts connections. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Places(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    in_all: u32,
    by_address: u32,
    by_session: u32,
    keys: RandomState,
    open: Mutex<Open>,
    windows: Mutex<Windows>,
    metrics: Metrics,
}

/// The connections that are open, as far as there are limits for them.
#[derive(Debug, Default)]
struct Open {
    in_all: u32,
    /// By address and by session; never 0.
    held: HashMap<Key, u32>,
}

/// A connection that is counted; gives its place back when dropped.
///
/// Has the size of a pointer, and takes memory only where there is a limit of open connections.
#[must_use = "a place is given back when it is dropped"]
pub struct Place(Option<Box<Held>>);

struct Held {
    places: Places,
    address: Option<Key>,
    sessions: Box<[Key]>,
}

impl crate::dispatch::Held for Place {}

impl Place {
    /// Returns whether it counts anywhere, and so has to be kept.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        self.0.is_some()
    }
}

impl Places {
    /// Starts to count at `now`; who is refused is counted in `metrics`.
    #[must_use]
    pub fn new(config: &PlacesConfig, metrics: Metrics, now: Instant) -> Self {
        for limit in Limit::ALL {
            metrics
                .limited_connections
                .with_label_values(&[limit.as_str()]);
        }
        Self(Arc::new(Counted {
            in_all: config.max_connections,
            by_address: config.max_connections_per_address,
            by_session: config.max_connections_per_session,
            keys: RandomState::new(),
            open: Mutex::default(),
            windows: Mutex::new(Windows::new(
                config.max_connections_per_minute,
                config.max_connections_per_minute_per_address,
                now,
            )),
            metrics,
        }))
    }

    /// Takes a place for a connection of `address` that is opened at `now`, in all of `sessions`.
    ///
    /// A session that is named twice counts once. An address of IPv6 counts for its network of 64 bits.
    ///
    /// # Errors
    /// [`Full`] for the first limit without room; then nothing is counted.
    pub fn take(
        &self,
        address: IpAddr,
        sessions: &[Arc<str>],
        now: Instant,
    ) -> Result<Place, Full> {
        self.hold(address, sessions, || self.open_at(address, now))
    }

    /// Takes a place for a connection that goes on with something that was opened before, such as the next poll of
    /// a session: it does not count as opened.
    ///
    /// # Errors
    /// As [`Places::take`], without the limits of a minute.
    pub fn take_again(&self, address: IpAddr, sessions: &[Arc<str>]) -> Result<Place, Full> {
        self.hold(address, sessions, || Ok(()))
    }

    /// Counts a connection that is opened at `now` and ends at once, such as the first poll of a session.
    ///
    /// # Errors
    /// [`Full`] for a limit of a minute without room; then nothing is counted.
    pub fn admit(&self, address: IpAddr, now: Instant) -> Result<(), Full> {
        self.counted(self.open_at(address, now))
    }

    fn open_at(&self, address: IpAddr, now: Instant) -> Result<(), Full> {
        let address = self.key(&Name::of_address(address));
        self.0.windows.lock().admit(address, now)
    }

    fn hold(
        &self,
        address: IpAddr,
        sessions: &[Arc<str>],
        opened: impl FnOnce() -> Result<(), Full>,
    ) -> Result<Place, Full> {
        let limits = &*self.0;
        if [limits.in_all, limits.by_address, limits.by_session] == [0; 3] {
            return self.counted(opened()).map(|()| Place(None));
        }
        let held = Held {
            places: self.clone(),
            address: (limits.by_address > 0).then(|| self.key(&Name::of_address(address))),
            sessions: self.session_keys(sessions),
        };
        let mut open = limits.open.lock();
        let admitted = held.has_room(&open).and_then(|()| opened());
        if admitted.is_ok() {
            open.add(&held);
        }
        drop(open);
        self.counted(admitted)?;
        Ok(Place(Some(Box::new(held))))
    }

    fn session_keys(&self, sessions: &[Arc<str>]) -> Box<[Key]> {
        if self.0.by_session == 0 {
            return Box::default();
        }
        let keys = sessions
            .iter()
            .map(|name| self.key(&Name::of_session(name)));
        let mut keys: Vec<Key> = keys.collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_boxed_slice()
    }

    fn key(&self, name: &Name<'_>) -> Key {
        self.0.keys.hash_one(name)
    }

    /// Counts a refusal.
    fn counted(&self, admitted: Result<(), Full>) -> Result<(), Full> {
        admitted.inspect_err(|full| {
            let counter = &self.0.metrics.limited_connections;
            counter.with_label_values(&[full.what.as_str()]).inc();
        })
    }
}

impl Held {
    /// The limits, each with the keys that it is counted under.
    fn has_room(&self, open: &Open) -> Result<(), Full> {
        let limits = &*self.places.0;
        let is_full = |limit: u32, key: &Key| {
            let held = open.held.get(key).copied();
            held.unwrap_or_default() >= limit
        };
        let full = if limits.in_all > 0 && open.in_all >= limits.in_all {
            Limit::Instance
        } else if self
            .address
            .iter()
            .any(|key| is_full(limits.by_address, key))
        {
            Limit::Address
        } else if self
            .sessions
            .iter()
            .any(|key| is_full(limits.by_session, key))
        {
            Limit::Session
        } else {
            return Ok(());
        };
        Err(Full {
            what: full,
            retry_after: PATIENCE,
        })
    }

    fn keys(&self) -> impl Iterator<Item = Key> {
        self.address.iter().chain(&self.sessions).copied()
    }
}

impl Open {
    fn add(&mut self, held: &Held) {
        self.in_all = self.in_all.saturating_add(1);
        for key in held.keys() {
            let count = self.held.entry(key).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn remove(&mut self, held: &Held) {
        self.in_all = self.in_all.saturating_sub(1);
        for key in held.keys() {
            if let Some(count) = self.held.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.held.remove(&key);
                }
            }
        }
        self.give_memory_back();
    }

    /// A crowd that has gone leaves no empty table behind.
    fn give_memory_back(&mut self) {
        let room = self.held.capacity();
        if room > USUAL_NAMES && self.held.len() < room / 8 {
            self.held.shrink_to(room / 4);
        }
    }
}

/// How many names may always have room.
const USUAL_NAMES: usize = 1_024;

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            held.places.0.open.lock().remove(&held);
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Place")
    }
}

#[cfg(test)]
mod tests;
