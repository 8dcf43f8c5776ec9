//! The state that all instances share: a compacted topic, held in memory.

mod watched;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{broadcast, watch};

use self::watched::{Watch, Watched};
use super::follower::{Follow, FollowError, Follower, ReadFrom};
use crate::kafka::{KafkaConfig, OutgoingRecord, ProduceError, Producer, TopicSpec};
use crate::telemetry::{Condition, Readiness};

/// Changes that a slow subscriber may be behind before it is told that it missed some.
const CHANGES_LIMIT: usize = 1024;
/// How long the own reader may take to pass an acknowledged record.
const SEEN_LIMIT: Duration = Duration::from_secs(10);

/// An entry that was set or removed, by any instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key of the entry.
    pub key: Arc<str>,
    /// The new value; `None` when the entry was removed.
    pub value: Option<Bytes>,
}

/// Why the state could not be changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateError {
    /// Kafka did not take the record; see there whether it may have been written.
    #[error("the shared state could not be written")]
    Write(#[from] ProduceError),
    /// Kafka has the record, but it was not read back in time.
    #[error("the shared state was written but not read back in time")]
    NotSeen,
}

/// The entries as this instance has read them.
#[derive(Debug, Default)]
struct Entries {
    by_kind: HashMap<Box<str>, HashMap<Arc<str>, Entry>>,
    changes: HashMap<Box<str>, broadcast::Sender<Change>>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// The value written last: the entry's value.
    last: Bytes,
    /// The value written first, see [`StateLog::agree`].
    first: Bytes,
}

/// How far the log was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Read {
    next_offset: i64,
    is_loaded: bool,
}

#[derive(Debug)]
struct Held {
    entries: Mutex<Entries>,
    watched: Watched,
    read: watch::Sender<Read>,
    readiness: Readiness,
}

impl Held {
    /// Begins with nothing read.
    fn new(readiness: Readiness) -> Self {
        Self {
            entries: Mutex::default(),
            watched: Watched::default(),
            read: watch::Sender::default(),
            readiness,
        }
    }
}

/// The shared state of the cluster: entries by kind and key, the same on all instances.
///
/// Dropping it stops its thread.
#[derive(Debug)]
pub struct StateLog {
    held: Arc<Held>,
    producer: Producer,
    topic: String,
    follower: Follower,
}

impl StateLog {
    /// Starts to read the topic `<CLUSTER_NAME>.state`, which is created if it is missing.
    ///
    /// Sets [`Condition::StateLoaded`] when it was read to its end. Waits for Kafka if need be.
    ///
    /// # Errors
    /// [`FollowError`] when the settings are refused. Not when Kafka is away.
    pub fn start(
        config: &KafkaConfig,
        producer: Producer,
        readiness: Readiness,
    ) -> Result<Self, FollowError> {
        let topic = format!("{}.state", config.cluster_name);
        let held = Arc::new(Held::new(readiness));
        let spec = TopicSpec {
            name: topic.clone(),
            partitions: 1,
            config: vec![("cleanup.policy", "compact".to_owned())],
        };
        let follower =
            Follower::start(config, spec, ReadFrom::Beginning, Reader(Arc::clone(&held)))?;
        Ok(Self {
            held,
            producer,
            topic,
            follower,
        })
    }

    /// Waits until the state was read to the end it had at start.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn loaded(&self) {
        let mut read = self.held.read.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        if read.wait_for(|read| read.is_loaded).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns the value of an entry.
    #[must_use]
    pub fn get(&self, kind: &str, key: &str) -> Option<Bytes> {
        let entries = self.held.entries.lock();
        Some(entries.by_kind.get(kind)?.get(key)?.last.clone())
    }

    /// Returns how many entries of a kind there are.
    #[must_use]
    pub fn count(&self, kind: &str) -> usize {
        self.held
            .entries
            .lock()
            .by_kind
            .get(kind)
            .map_or(0, HashMap::len)
    }

    /// Calls `visit` with the key and value of each entry of a kind, in no order.
    pub fn for_each(&self, kind: &str, mut visit: impl FnMut(&str, &Bytes)) {
        // Copied, so that `visit` may use the state.
        let entries: Vec<_> = match self.held.entries.lock().by_kind.get(kind) {
            Some(entries) => entries
                .iter()
                .map(|(key, entry)| (Arc::clone(key), entry.last.clone()))
                .collect(),
            None => Vec::new(),
        };
        for (key, value) in &entries {
            visit(key, value);
        }
    }

    /// Returns the changes of a kind from now on, in the order of the log, those of this instance too.
    ///
    /// A receiver more than 1024 changes behind gets an error that says so; it must then look at
    /// [`for_each`](Self::for_each) again.
    #[must_use]
    pub fn changes(&self, kind: &str) -> broadcast::Receiver<Change> {
        let mut entries = self.held.entries.lock();
        let sender = entries.changes.entry(kind.into());
        sender
            .or_insert_with(|| broadcast::Sender::new(CHANGES_LIMIT))
            .subscribe()
    }

    /// Sets an entry. Returns when Kafka has acknowledged it and [`get`](Self::get) shows it, or what
    /// another instance wrote after it.
    ///
    /// `kind` must not contain a slash.
    ///
    /// # Errors
    /// [`StateError`], when Kafka did not take it or it was not read back in time.
    ///
    /// # Cancel safety
    /// Once polled, the record is on its way: dropping the future gives up the answer only.
    pub async fn put(&self, kind: &str, key: &str, value: &[u8]) -> Result<(), StateError> {
        self.write(kind, key, Some(value)).await.map(|_offset| ())
    }

    /// Sets an entry as [`put`](Self::put) does, and returns the value that it replaced in the order of the log: what an
    /// instance wrote of which this one did not know yet, too.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Cancel safety
    /// As [`put`](Self::put).
    pub async fn replace(
        &self,
        kind: &str,
        key: &str,
        value: &[u8],
    ) -> Result<Option<Bytes>, StateError> {
        let watch = Watch::begin(&self.held.watched, kind, key);
        let offset = self.write(kind, key, Some(value)).await?;
        watch.replaced_at(offset).ok_or(StateError::NotSeen)
    }

    /// Removes an entry, as [`put`](Self::put) sets one. It is no error when there is none.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Cancel safety
    /// As [`put`](Self::put).
    pub async fn remove(&self, kind: &str, key: &str) -> Result<(), StateError> {
        self.write(kind, key, None).await.map(|_offset| ())
    }

    /// Returns the value that all instances agree on: the one first written, `proposal` if none was.
    ///
    /// When another instance was faster, its value is written again, so that it is also the last one
    /// and survives compaction. Waits until the state is loaded.
    ///
    /// What is removed while several agree may come back, written again by one of them who had not read that yet: an
    /// entry that is agreed on is better left alone, and ended by another one.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Cancel safety
    /// As [`put`](Self::put).
    pub async fn agree(&self, kind: &str, key: &str, proposal: &[u8]) -> Result<Bytes, StateError> {
        self.loaded().await;
        loop {
            match self.entry(kind, key) {
                // Also when it was removed since.
                None => self.put(kind, key, proposal).await?,
                Some(entry) if entry.first != entry.last => {
                    self.put(kind, key, &entry.first).await?;
                }
                Some(entry) => return Ok(entry.first),
            }
        }
    }

    /// Stops reading and waits for the thread's end, at most some seconds. Blocks.
    pub fn stop(self) {
        self.follower.stop();
    }

    fn entry(&self, kind: &str, key: &str) -> Option<Entry> {
        self.held
            .entries
            .lock()
            .by_kind
            .get(kind)?
            .get(key)
            .cloned()
    }

    /// Returns the offset of the record, once it was read back.
    async fn write(&self, kind: &str, key: &str, value: Option<&[u8]>) -> Result<i64, StateError> {
        debug_assert!(!kind.contains('/'), "a kind is a plain word");
        let key = format!("{kind}/{key}");
        let record = OutgoingRecord {
            topic: &self.topic,
            key: Some(key.as_bytes()),
            headers: &[],
            payload: value,
        };
        let delivered = self.producer.produce(record).await?;
        let mut read = self.held.read.subscribe();
        let seen = read.wait_for(|read| read.next_offset > delivered.offset);
        match tokio::time::timeout(SEEN_LIMIT, seen).await {
            Ok(Ok(_)) => Ok(delivered.offset),
            Ok(Err(_)) | Err(_) => Err(StateError::NotSeen),
        }
    }

    /// Returns the name of the topic.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }
}

/// Applies the records of the log, in order.
struct Reader(Arc<Held>);

impl Follow for Reader {
    fn restarted(&mut self) {
        let mut entries = self.0.entries.lock();
        let lost = std::mem::take(&mut entries.by_kind);
        for (kind, lost) in lost {
            for key in lost.into_keys() {
                entries.announce(&kind, Change { key, value: None });
            }
        }
        drop(entries);
        self.0.read.send_modify(|read| read.next_offset = 0);
    }

    fn record(&mut self, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let name = key.and_then(|key| std::str::from_utf8(key).ok());
        match name.and_then(|name| name.split_once('/')) {
            Some((kind, key)) => {
                let value = value.map(Bytes::copy_from_slice);
                let replaced = self.0.entries.lock().apply(kind, key, value);
                self.0.watched.tell(kind, key, offset, replaced);
            }
            None => tracing::warn!(
                offset,
                "a record of the state topic has no known key, ignored"
            ),
        }
        self.0
            .read
            .send_modify(|read| read.next_offset = offset + 1);
    }

    fn caught_up(&mut self) {
        if self.0.read.borrow().is_loaded {
            return;
        }
        tracing::info!("the shared state is loaded");
        // First, so that it holds for whoever waited for the state.
        self.0.readiness.set(Condition::StateLoaded, true);
        self.0.read.send_modify(|read| read.is_loaded = true);
    }
}

impl Entries {
    /// Returns the value that was there before.
    fn apply(&mut self, kind: &str, key: &str, value: Option<Bytes>) -> Option<Bytes> {
        let key: Arc<str> = key.into();
        let entries = self.by_kind.entry(kind.into()).or_default();
        let replaced = match &value {
            Some(value) => match entries.get_mut(&key) {
                Some(entry) => Some(std::mem::replace(&mut entry.last, value.clone())),
                None => {
                    let new = Entry {
                        last: value.clone(),
                        first: value.clone(),
                    };
                    entries.insert(Arc::clone(&key), new);
                    None
                }
            },
            None => entries.remove(&key).map(|entry| entry.last),
        };
        self.announce(kind, Change { key, value });
        replaced
    }

    fn announce(&self, kind: &str, change: Change) {
        if let Some(sender) = self.changes.get(kind) {
            // An error means that nobody listens.
            sender.send(change).ok();
        }
    }
}

#[cfg(test)]
mod tests;
