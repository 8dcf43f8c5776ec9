//! The newest events in memory, in the order in which the shards see them.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::event::{CloudEvent, Epoch, Positions, Range};
use crate::subscription::Fields;

/// The number of an event in the order of this instance, from 0 at its start.
pub type Sequence = u64;

/// An event with where it stands in Kafka.
#[derive(Debug, Clone)]
pub struct LoggedEvent {
    /// The event.
    pub event: CloudEvent,
    /// The values of the declared fields, extracted once.
    pub fields: Fields,
    /// The topic's index in the configured order.
    pub topic: u16,
    /// The partition of the topic.
    pub partition: u32,
    /// The record's offset in the partition.
    pub offset: i64,
    /// The record's timestamp, in Unix milliseconds.
    pub timestamp_ms: i64,
    /// A hash of the record's key, if it has one; equal keys have equal hashes in one process.
    pub key_hash: Option<u64>,
}

impl LoggedEvent {
    /// Returns about how many bytes of memory the event holds.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.event.json().len() + self.fields.size_bytes() + size_of::<Self>()
    }
}

/// Events that were read together, in the order in which everybody sees them.
#[derive(Debug)]
pub struct Batch {
    /// The number of the first event.
    pub first: Sequence,
    /// Where every partition stood before the first event.
    pub start: Positions,
    /// The events, oldest first; never empty.
    pub events: Vec<LoggedEvent>,
}

impl Batch {
    /// Returns the number after the last event.
    #[must_use]
    pub fn end(&self) -> Sequence {
        self.first + self.events.len() as u64
    }

    /// Returns the events from number `from` on, each with its number.
    pub fn events_from(
        &self,
        from: Sequence,
    ) -> impl Iterator<Item = (Sequence, &LoggedEvent)> + Clone {
        (self.first..)
            .zip(&self.events)
            .skip_while(move |(number, _)| *number < from)
    }

    /// Returns where every partition stood before the event with number `before`.
    #[must_use]
    pub fn positions_before(&self, before: Sequence) -> Positions {
        let mut positions = self.start.clone();
        for (_, event) in (self.first..before).zip(&self.events) {
            positions.set(event.topic, event.partition, event.offset + 1);
        }
        positions
    }

    fn size_bytes(&self) -> usize {
        let events = self.events.iter().map(LoggedEvent::size_bytes);
        events.sum::<usize>() + size_of::<Self>() + self.start.iter().count() * size_of::<i64>()
    }
}

/// What [`ReplayLog::read`] found.
#[derive(Debug, Clone)]
pub enum Read {
    /// The batch that holds the event asked for.
    Batch(Arc<Batch>),
    /// The event was dropped for newer ones; the oldest that is kept has this number.
    Evicted(Sequence),
    /// The event has not come yet.
    AtHead,
}

/// What the log holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// The batches, newest first.
    pub batches: Vec<Arc<Batch>>,
    /// From where on they have every event of each partition.
    pub begin: Positions,
    /// Where every partition stands after them.
    pub end: Positions,
}

/// Where a client reads on that stands at some positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// In the log, from this event on; earlier ones of its batch were seen already.
    Here(Sequence),
    /// In Kafka first: the log does not reach back to these records.
    Before(Vec<Range>),
}

/// The ring of the newest events, shared by all shards; bounded in bytes.
///
/// One writer appends, any number of readers read; a reader holds the lock while it looks a batch up,
/// never while it uses one.
#[derive(Debug)]
pub struct ReplayLog {
    ring: RwLock<Ring>,
    limit_bytes: usize,
}

#[derive(Debug)]
struct Ring {
    batches: VecDeque<(Arc<Batch>, usize)>,
    /// From where on the log has every event of each partition.
    reach: Positions,
    bytes: usize,
    head: Sequence,
}

impl ReplayLog {
    /// Makes an empty log of `topics` that keeps `limit_bytes` of events, and the newest batch in any
    /// case.
    #[must_use]
    pub fn new<'a>(topics: impl IntoIterator<Item = &'a str>, limit_bytes: usize) -> Self {
        let reach = Positions::of_topics(topics);
        let ring = Ring {
            batches: VecDeque::new(),
            reach,
            bytes: 0,
            head: 0,
        };
        Self {
            ring: RwLock::new(ring),
            limit_bytes,
        }
    }

    /// Sets from where on the events of a partition will be appended; before its first one.
    pub fn begin(&self, topic: u16, partition: u32, offset: i64) {
        self.ring.write().reach.set(topic, partition, offset);
    }

    /// Goes on with a topic that was made anew: what follows is of the new one.
    pub fn begin_anew(&self, topic: u16, epoch: Epoch) {
        self.ring.write().reach.begin_anew(topic, epoch);
    }

    /// Appends the events that follow those appended before, and drops the oldest over the limit.
    ///
    /// Returns the batch to hand to the shards, and the bytes that the log holds now.
    pub fn append(&self, start: Positions, events: Vec<LoggedEvent>) -> (Arc<Batch>, usize) {
        let mut ring = self.ring.write();
        let batch = Arc::new(Batch {
            first: ring.head,
            start,
            events,
        });
        let size_bytes = batch.size_bytes();
        ring.head = batch.end();
        ring.bytes += size_bytes;
        ring.batches.push_back((Arc::clone(&batch), size_bytes));
        while ring.bytes > self.limit_bytes && ring.batches.len() > 1 {
            if let Some((_, freed_bytes)) = ring.batches.pop_front() {
                ring.bytes -= freed_bytes;
            }
            if let Some(oldest) = ring.batches.front().map(|(oldest, _)| Arc::clone(oldest)) {
                ring.reach.advance_to(&oldest.start);
            }
        }
        (batch, ring.bytes)
    }

    /// Returns the batch with event number `sequence`.
    #[must_use]
    pub fn read(&self, sequence: Sequence) -> Read {
        let ring = self.ring.read();
        if sequence >= ring.head {
            return Read::AtHead;
        }
        let after = ring
            .batches
            .partition_point(|(batch, _)| batch.end() <= sequence);
        match ring.batches.get(after) {
            Some((batch, _)) if batch.first <= sequence => Read::Batch(Arc::clone(batch)),
            Some((batch, _)) => Read::Evicted(batch.first),
            None => Read::AtHead,
        }
    }

    /// Returns from where a client reads that has seen everything before `seen`.
    #[must_use]
    pub fn find(&self, seen: &Positions) -> Found {
        let ring = self.ring.read();
        let before = seen.missed_before(&ring.reach);
        if !before.is_empty() {
            return Found::Before(before);
        }
        // Positions only grow along the log, so the batches that start at or before `seen` come first.
        let after = ring
            .batches
            .partition_point(|(batch, _)| seen.reached(&batch.start));
        let oldest = ring.batches.front();
        let newest_before = after
            .checked_sub(1)
            .and_then(|index| ring.batches.get(index));
        Found::Here(
            newest_before
                .or(oldest)
                .map_or(ring.head, |(batch, _)| batch.first),
        )
    }

    /// Returns all batches, newest first, and where they begin and end.
    #[must_use]
    pub fn newest_first(&self) -> Held {
        let ring = self.ring.read();
        let newest_first = ring.batches.iter().rev();
        let batches: Vec<Arc<Batch>> = newest_first.map(|(batch, _)| Arc::clone(batch)).collect();
        let mut end = ring.reach.clone();
        if let Some(newest) = batches.first() {
            end.advance_to(&newest.positions_before(newest.end()));
        }
        Held {
            batches,
            begin: ring.reach.clone(),
            end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::Extractors;

    /// Returns an event of a partition; all have the same size.
    fn logged(partition: u32, offset: i64) -> LoggedEvent {
        let json = format!(
            r#"{{"specversion":"1.0","type":"t","source":"/","id":"{offset:09}","data":{partition}}}"#
        );
        let event = CloudEvent::from_structured(json.into()).unwrap();
        let fields = Extractors::none().extract(&event);
        LoggedEvent {
            event,
            fields,
            topic: 0,
            partition,
            offset,
            timestamp_ms: 0,
            key_hash: None,
        }
    }

    fn at(offsets: &[i64]) -> Positions {
        let mut positions = Positions::of_topics(["t"]);
        for (partition, offset) in (0..).zip(offsets) {
            positions.set(0, partition, *offset);
        }
        positions
    }

    /// Three batches: (0,5) (1,7) | (0,6) | (1,8) (0,7).
    fn log(limit_bytes: usize) -> ReplayLog {
        let log = ReplayLog::new(["t"], limit_bytes);
        log.begin(0, 0, 5);
        log.begin(0, 1, 7);
        log.append(at(&[5, 7]), vec![logged(0, 5), logged(1, 7)]);
        log.append(at(&[6, 8]), vec![logged(0, 6)]);
        log.append(at(&[7, 8]), vec![logged(1, 8), logged(0, 7)]);
        log
    }

    #[test]
    fn events_are_numbered_through_and_found_by_their_numbers() {
        let log = log(usize::MAX);
        for (number, first) in [(0, 0), (1, 0), (2, 2), (3, 3), (4, 3)] {
            let Read::Batch(batch) = log.read(number) else {
                panic!("{number}")
            };
            assert_eq!(batch.first, first);
            assert_eq!(
                batch.events_from(number).next().map(|(found, _)| found),
                Some(number)
            );
        }
        assert!(matches!(log.read(5), Read::AtHead));
        let Read::Batch(batch) = log.read(4) else {
            panic!()
        };
        assert_eq!(batch.positions_before(4), at(&[7, 9]));
    }

    #[test]
    fn a_client_starts_at_the_newest_batch_before_all_that_it_misses() {
        let log = log(usize::MAX);
        for (seen, sequence) in [
            (at(&[5, 7]), 0),
            (at(&[6, 7]), 0),
            (at(&[6, 8]), 2),
            (at(&[7, 8]), 3),
            (at(&[8, 8]), 3),
            (at(&[8, 9]), 3),
            (at(&[99, 99]), 3),
        ] {
            assert_eq!(log.find(&seen), Found::Here(sequence), "{seen:?}");
        }
        assert_eq!(log.newest_first().end, at(&[8, 9]));
    }

    #[test]
    fn what_the_log_does_not_hold_is_named_by_partition_and_offsets() {
        let range = |partition, from, to| Range {
            topic: 0,
            partition,
            from,
            to,
        };
        let small = log(1);
        assert!(matches!(small.read(0), Read::Evicted(3)));
        let found = small.find(&at(&[5, 8]));
        assert_eq!(found, Found::Before(vec![range(0, 5, 7)]));
        assert_eq!(small.find(&at(&[7, 8])), Found::Here(3));
        let empty = ReplayLog::new(["t"], 1);
        empty.begin(0, 0, 9);
        assert_eq!(empty.find(&at(&[5])), Found::Before(vec![range(0, 5, 9)]));
        assert_eq!(empty.find(&at(&[9])), Found::Here(0));
    }

    #[test]
    fn a_partition_that_came_after_the_first_batch_is_missed_from_its_own_beginning() {
        let log = ReplayLog::new(["t"], usize::MAX);
        log.begin(0, 0, 5);
        log.append(at(&[5]), vec![logged(0, 5)]);
        log.begin(0, 1, 90);
        log.append(at(&[6, 90]), vec![logged(1, 90)]);
        let range = Range {
            topic: 0,
            partition: 1,
            from: 40,
            to: 90,
        };
        assert_eq!(log.find(&at(&[5, 40])), Found::Before(vec![range]));
    }

    #[test]
    fn a_topic_made_anew_comes_after_all_of_the_old_one() {
        let log = ReplayLog::new(["t"], usize::MAX);
        log.begin(0, 0, 5);
        log.append(at(&[5]), vec![logged(0, 5)]);
        log.append(at(&[6]), vec![logged(0, 6)]);
        let old = at(&[7]);
        let mut new = old.clone();
        let epoch = Epoch::of([1; 16]);
        new.begin_anew(0, epoch);
        log.begin_anew(0, epoch);
        log.begin(0, 0, 0);
        let beginning = new.clone();
        log.append(new.clone(), vec![logged(0, 0)]);
        new.set(0, 0, 1);
        log.append(new.clone(), vec![logged(0, 1)]);
        for (seen, sequence) in [(&beginning, 2), (&new, 3), (&old, 1)] {
            assert_eq!(log.find(seen), Found::Here(sequence), "{seen:?}");
        }
    }

    #[test]
    fn holds_no_more_bytes_than_its_limit_but_the_newest_batch_in_any_case() {
        let log = ReplayLog::new(["t"], 10_000);
        for offset in 0..1000 {
            let (batch, bytes) = log.append(at(&[offset]), vec![logged(0, offset)]);
            assert!(bytes <= 10_000 && batch.first == offset.unsigned_abs());
        }
        let small = ReplayLog::new(["t"], 0);
        let (batch, _) = small.append(at(&[0]), vec![logged(0, 0)]);
        assert!(matches!(small.read(batch.first), Read::Batch(_)));
    }
}
