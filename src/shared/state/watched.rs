//! What the records of some keys replaced, for those who write them.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;

/// A kind and a key.
type Name = (Box<str>, Box<str>);

/// The keys that somebody watches.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<HashMap<Name, Records>>);

/// The records of a key that have come since the first who watches it began.
#[derive(Debug, Default)]
struct Records {
    watchers: usize,
    /// By offset.
    replaced: Vec<(i64, Option<Bytes>)>,
}

impl Watched {
    /// Takes down what a record replaced, if somebody wants to know.
    pub(super) fn tell(&self, kind: &str, key: &str, offset: i64, replaced: Option<Bytes>) {
        let mut watched = self.0.lock();
        if watched.is_empty() {
            return;
        }
        if let Some(records) = watched.get_mut(&(kind.into(), key.into())) {
            records.replaced.push((offset, replaced));
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// Somebody who watches a key, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    watched: &'a Watched,
    key: Name,
}

impl<'a> Watch<'a> {
    pub(super) fn begin(watched: &'a Watched, kind: &str, key: &str) -> Self {
        let key = (kind.into(), key.into());
        let mut keys = watched.0.lock();
        keys.entry((Box::clone(&key.0), Box::clone(&key.1)))
            .or_default()
            .watchers += 1;
        drop(keys);
        Self { watched, key }
    }

    /// Returns the value that the record at `offset` replaced, itself `None` where there was none; `None` for a record
    /// that was not read since this began.
    pub(super) fn replaced_at(&self, offset: i64) -> Option<Option<Bytes>> {
        let watched = self.watched.0.lock();
        let records = &watched.get(&self.key)?.replaced;
        let found = records.iter().find(|(at, _)| *at == offset)?;
        Some(found.1.clone())
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut watched = self.watched.0.lock();
        if let Some(records) = watched.get_mut(&self.key) {
            records.watchers -= 1;
            if records.watchers == 0 {
                watched.remove(&self.key);
            }
        }
    }
}
