//! The policy `latest`: a client that is too slow gets the newest event of each key.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};

use super::outbox::{Bytes, Content, Frame};
use super::shard::{Shard, Slot};
use crate::event::Positions;
use crate::replay::{Found, LoggedEvent, Read, Sequence};

/// How many keys are kept for one connection; then the oldest event goes, whatever its key.
const MAX_KEYS: usize = 4096;

/// What a connection has yet to get: the number of the newest event of each key.
#[derive(Debug)]
pub(super) struct Latest {
    by_key: HashMap<u64, Sequence>,
    keys: BTreeSet<(Sequence, u64)>,
    /// Where the client stands with what it was given.
    pub(super) position: Positions,
}

impl Latest {
    pub(super) fn new(position: Positions) -> Self {
        Self {
            by_key: HashMap::new(),
            keys: BTreeSet::new(),
            position,
        }
    }

    /// Notes an event. Returns how many others it makes superfluous.
    pub(super) fn note(&mut self, logged: &LoggedEvent, sequence: Sequence) -> u64 {
        let key = conflation_key(logged);
        let mut superfluous = 0;
        if let Some(older) = self.by_key.insert(key, sequence) {
            self.keys.remove(&(older, key));
            superfluous += 1;
        }
        self.keys.insert((sequence, key));
        if self.keys.len() > MAX_KEYS {
            self.take();
            superfluous += 1;
        }
        superfluous
    }

    fn take(&mut self) -> Option<Sequence> {
        let (sequence, key) = self.keys.pop_first()?;
        self.by_key.remove(&key);
        Some(sequence)
    }
}

/// Returns what makes events replace each other: the key of their records, else type, source and
/// subject.
fn conflation_key(logged: &LoggedEvent) -> u64 {
    logged.key_hash.unwrap_or_else(|| {
        let mut hasher = foldhash::quality::FixedState::default().build_hasher();
        logged.event.event_type().hash(&mut hasher);
        logged.event.source().hash(&mut hasher);
        logged.event.attribute("subject").hash(&mut hasher);
        hasher.finish()
    })
}

impl Shard {
    /// Sends what a connection has yet to get, as far as there is room; with all of it sent it is live.
    pub(super) fn send_latest(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let Some(mut latest) = connection.latest.take().filter(|_| connection.is_open()) else {
            return;
        };
        let room = self.chunk_bytes();
        loop {
            let Some(connection) = self.connections.get_mut(slot as usize) else {
                return;
            };
            if connection.outbox.events_bytes() >= room {
                connection.latest = Some(latest);
                return;
            }
            let Some(sequence) = latest.take() else {
                return self.mark_dirty(slot);
            };
            latest = self.send_kept(slot, latest, sequence);
        }
    }

    fn send_kept(
        &mut self,
        slot: Slot,
        mut latest: Box<Latest>,
        sequence: Sequence,
    ) -> Box<Latest> {
        let Read::Batch(batch) = self.setup.log.read(sequence) else {
            // The log has dropped it: what was before the log's beginning is told to be missing.
            if let Found::Before(missed) = self.setup.log.find(&latest.position) {
                for range in &missed {
                    latest.position.set(range.topic, range.partition, range.to);
                }
                latest = self.tell_at(slot, latest, &missed);
            }
            return latest;
        };
        latest
            .position
            .advance_to(&batch.positions_before(sequence + 1));
        let Some((_, logged)) = batch.events_from(sequence).next() else {
            return latest;
        };
        if let Some(connection) = self.connections.get(slot as usize) {
            let format = connection.format;
            let cursor = latest.position.encode();
            let bytes = Bytes::Own(Box::from(self.encode(format, logged, &cursor)));
            let content = Content::Replayed {
                timestamp_ms: logged.timestamp_ms,
            };
            self.push(slot, Frame { bytes, content });
        }
        latest
    }

    /// Tells a gap with the cursor of what the client was given.
    fn tell_at(
        &mut self,
        slot: Slot,
        latest: Box<Latest>,
        missed: &[crate::replay::Range],
    ) -> Box<Latest> {
        let position = latest.position.clone();
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.latest = Some(latest);
        }
        self.tell_gap(slot, missed);
        self.connections
            .get_mut(slot as usize)
            .and_then(|connection| connection.latest.take())
            .unwrap_or_else(|| Box::new(Latest::new(position)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::CloudEvent;
    use crate::subscription::Extractors;

    fn logged(key_hash: Option<u64>, subject: &str) -> LoggedEvent {
        let json = format!(
            r#"{{"specversion":"1.0","type":"t","source":"/","id":"1","subject":"{subject}"}}"#
        );
        let event = CloudEvent::from_structured(json.into()).unwrap();
        LoggedEvent {
            fields: Extractors::none().extract(&event),
            event,
            topic: 0,
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key_hash,
        }
    }

    #[test]
    fn the_newest_of_each_key_is_kept_in_order() {
        let mut latest = Latest::new(Positions::default());
        let notes = [
            (Some(1), "a", 0),
            (Some(2), "a", 0),
            (Some(1), "b", 1),
            (None, "a", 0),
            (None, "b", 0),
            (None, "a", 1),
        ];
        for (sequence, (key, subject, superfluous)) in (0..).zip(notes) {
            assert_eq!(
                latest.note(&logged(key, subject), sequence),
                superfluous,
                "{sequence}"
            );
        }
        let kept: Vec<Sequence> = std::iter::from_fn(|| latest.take()).collect();
        assert_eq!(kept, [1, 2, 4, 5]);
        assert!(latest.by_key.is_empty());
    }

    #[test]
    fn keys_without_end_cost_no_memory_without_end() {
        let mut latest = Latest::new(Positions::default());
        let superfluous: u64 = (0..10_000)
            .map(|key| latest.note(&logged(Some(key), ""), key))
            .sum();
        assert_eq!(superfluous, 10_000 - MAX_KEYS as u64);
        assert_eq!(latest.take(), Some(10_000 - MAX_KEYS as u64));
    }
}
