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
    latencies: Option<Latencies>,
    faults: Faults,
}

/// How long each event took that was seen for the first time, in microseconds.
#[derive(Debug)]
struct Latencies {
    /// From when on an event has to be due to count among the later ones.
    split: Moment,
    early: Vec<u32>,
    later: Vec<u32>,
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

    /// Keeps how long each event takes: of those due before `split`, and of the later ones.
    pub(crate) fn keep_latencies(&mut self, split: Moment) {
        self.latencies = Some(Latencies {
            split,
            early: Vec::new(),
            later: Vec::new(),
        });
    }

    /// Returns whether every client has everything.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete == self.clients.len()
    }

    /// Returns median, 99th percentile and maximum of the latencies, early and later.
    pub(crate) fn latencies(&mut self) -> [[Duration; 3]; 2] {
        let Some(Latencies { early, later, .. }) = &mut self.latencies else {
            return [[Duration::ZERO; 3]; 2];
        };
        [early, later]
            .map(|values| [0.5, 0.99, 1.0].map(|part| part_of(values, part).unwrap_or_default()))
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
        if let Some(latencies) = &mut self.latencies {
            let latency = now.since(stamp.due).as_micros();
            let latency = u32::try_from(latency).unwrap_or(u32::MAX);
            if stamp.due < latencies.split {
                latencies.early.push(latency);
            } else {
                latencies.later.push(latency);
            }
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
