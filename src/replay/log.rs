//! The newest events in memory, in the order in which the shards see them.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::event::{CloudEvent, Positions};
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
    pub fn events_from(&self, from: Sequence) -> impl Iterator<Item = (Sequence, &LoggedEvent)> {
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
        let events = self.events.iter().map(|logged| {
            logged.event.json().len() + logged.fields.size_bytes() + size_of::<LoggedEvent>()
        });
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

/// Where to start reading for a client that stands at some positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartingPoint {
    /// The number of the first event to read; earlier ones of its batch were seen already.
    pub sequence: Sequence,
    /// The partitions that cannot be served whole, as (topic, partition, missed from, missed to).
    pub missed: Vec<(u16, u32, i64, i64)>,
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
    bytes: usize,
    head: Sequence,
}

impl ReplayLog {
    /// Makes an empty log that keeps `limit_bytes` of events, and the newest batch in any case.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        let ring = Ring {
            batches: VecDeque::new(),
            bytes: 0,
            head: 0,
        };
        Self {
            ring: RwLock::new(ring),
            limit_bytes,
        }
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
    ///
    /// `here` is where the caller stands; a partition that the log does not hold counts from there.
    #[must_use]
    pub fn find(&self, seen: &Positions, here: &Positions) -> StartingPoint {
        let ring = self.ring.read();
        // Positions only grow along the log, so the batches that start at or before `seen` come first.
        let before = ring
            .batches
            .partition_point(|(batch, _)| seen.reached(&batch.start));
        if let Some((batch, _)) = before
            .checked_sub(1)
            .and_then(|index| ring.batches.get(index))
        {
            return StartingPoint {
                sequence: batch.first,
                missed: Vec::new(),
            };
        }
        let (oldest, sequence) = match ring.batches.front() {
            Some((batch, _)) => (&batch.start, batch.first),
            None => (here, ring.head),
        };
        let missed = oldest
            .iter()
            .map(|(topic, partition, kept)| {
                (topic, partition, seen.next_offset(topic, partition), kept)
            })
            .filter(|(_, _, from, to)| from < to)
            .collect();
        StartingPoint { sequence, missed }
    }
}
