//! What each client got of its share, checked event by event: none lost, none twice, in order.

use std::time::Duration;

use crate::event::{Moment, Stamp};
use crate::production::{PARTITIONS, Share};
use crate::sheet::Faults;
use crate::tally::{Arrival, Book, Seen, part_of};

/// The histories of clients, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    clients: Vec<History>,
    /// Events that a client saw for the first time.
    pub(crate) received: u64,
    /// How many clients have all that they should get.
    pub(crate) complete: usize,
    pub(crate) last: Option<Moment>,
    /// Of each event that was seen for the first time, in microseconds; kept where it is asked for.
    latencies_us: Option<Vec<u32>>,
    faults: Faults,
}

/// What one client got.
#[derive(Debug)]
struct History {
    share: Share,
    seen: Seen,
    received: u64,
    /// The number after the highest one seen, of each partition.
    next: [u64; PARTITIONS as usize],
}

impl Histories {
    /// Expects that each client gets its share.
    pub(crate) fn of(shares: impl IntoIterator<Item = Share>) -> Self {
        let clients = shares.into_iter().map(|share| History {
            share,
            seen: Seen::default(),
            received: 0,
            next: [0; PARTITIONS as usize],
        });
        Self {
            clients: clients.collect(),
            ..Self::default()
        }
    }

    /// Keeps how long each event took.
    pub(crate) fn with_latencies(mut self) -> Self {
        self.latencies_us = Some(Vec::new());
        self
    }

    /// Returns whether every client has everything.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete == self.clients.len()
    }

    /// Returns the latency that the given part of all deliveries did not exceed.
    pub(crate) fn latency(&mut self, part: f64) -> Duration {
        let latencies = self.latencies_us.as_deref_mut().unwrap_or_default();
        part_of(latencies, part).unwrap_or_default()
    }

    /// Returns what went wrong, with what has not come until now as lost.
    pub(crate) fn faults(&self) -> Faults {
        let missing = self.clients.iter().map(History::missing);
        Faults {
            lost: missing.sum(),
            ..self.faults
        }
    }
}

impl Book for Histories {
    fn on_event(&mut self, client: usize, stamp: Stamp) {
        let now = Moment::now();
        let Some(history) = self.clients.get_mut(client) else {
            self.faults.foreign += 1;
            return;
        };
        let Some((place, partition)) = history.share.locate(stamp.number) else {
            self.faults.foreign += 1;
            return;
        };
        if matches!(history.seen.add(place), Arrival::Again) {
            self.faults.twice += 1;
            return;
        }
        let next = usize::try_from(partition)
            .ok()
            .and_then(|partition| history.next.get_mut(partition));
        if let Some(next) = next {
            self.faults.late += u64::from(stamp.number < *next);
            *next = (*next).max(stamp.number + 1);
        }
        history.received += 1;
        self.complete += usize::from(history.missing() == 0);
        self.received += 1;
        self.last = Some(now);
        if let Some(latencies) = &mut self.latencies_us {
            let latency = now.since(stamp.due).as_micros();
            latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
        }
    }

    fn on_closed(&mut self) {
        self.faults.closed += 1;
    }
}

impl History {
    fn missing(&self) -> u64 {
        self.share.count().saturating_sub(self.received)
    }
}
