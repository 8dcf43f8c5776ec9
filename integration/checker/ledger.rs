//! What the producers sent, and what of it was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::event::EventId;

/// The books of all producers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// For each key its events, by number.
    keys: Vec<Mutex<Vec<Entry>>>,
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

/// What is known of one event.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub sent: Instant,
    pub outcome: Outcome,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It may be in Kafka or not.
    Unknown,
    /// Kafka has it; where, if the producer was told.
    Acknowledged(Option<(u32, i64)>),
}

impl Ledger {
    pub fn new(keys: u16) -> Self {
        let keys = (0..keys).map(|_| Mutex::default()).collect();
        Self(Arc::new(Inner {
            keys,
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
        }))
    }

    /// Takes down that the next event of a key is sent now.
    pub fn send(&self, key: u16) -> EventId {
        let mut entries = self.0.keys[usize::from(key)].lock();
        let number = u32::try_from(entries.len()).expect("a short run");
        entries.push(Entry {
            sent: Instant::now(),
            outcome: Outcome::Unknown,
        });
        self.0.sent.fetch_add(1, Ordering::Relaxed);
        EventId { key, number }
    }

    /// Takes down that Kafka has an event, and where.
    pub fn acknowledge(&self, id: EventId, place: Option<(u32, i64)>) {
        let mut entries = self.0.keys[usize::from(id.key)].lock();
        entries[id.number as usize].outcome = Outcome::Acknowledged(place);
        self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns what is known of an event; nothing of the last ones.
    pub fn entry(&self, id: EventId) -> Option<Entry> {
        let entries = self.0.keys.get(usize::from(id.key))?.lock();
        entries.get(id.number as usize).copied()
    }

    /// Returns all events, key by key.
    pub fn entries(&self) -> Vec<(EventId, Entry)> {
        let mut all = Vec::new();
        for (key, entries) in (0..).zip(&self.0.keys) {
            let entries = entries.lock();
            all.extend(
                (0..)
                    .zip(entries.iter())
                    .map(|(number, entry)| (EventId { key, number }, *entry)),
            );
        }
        all
    }

    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    pub fn acknowledged(&self) -> u64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }
}
