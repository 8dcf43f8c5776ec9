//! What the clients received in one load, checked event by event.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use crate::event::{FOR_ALL, FOR_ONE, Moment, Stamp};

/// Who gets an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// All of so many clients.
    All(usize),
    /// Event `n` is for client `n` modulo so many.
    One(usize),
}

impl Audience {
    /// Returns how many clients get one event.
    pub(crate) fn size(self) -> u64 {
        match self {
            Self::All(clients) => clients as u64,
            Self::One(_) => 1,
        }
    }

    /// Returns how many clients there are.
    pub(crate) fn clients(self) -> usize {
        let (Self::All(clients) | Self::One(clients)) = self;
        clients
    }

    /// Returns the type of its events.
    pub(crate) const fn event_type(self) -> &'static str {
        match self {
            Self::All(_) => FOR_ALL,
            Self::One(_) => FOR_ONE,
        }
    }

    /// Returns the client that event `number` is for; 0 when it is for all.
    pub(crate) fn to(self, number: u64) -> u64 {
        match self {
            Self::All(_) => 0,
            Self::One(clients) => number % clients.max(1) as u64,
        }
    }

    /// Returns the place of event `number` among those of `client`; `None` if it is for another one.
    fn place(self, client: usize, number: u64) -> Option<u64> {
        match self {
            Self::All(_) => Some(number),
            Self::One(clients) => {
                (self.to(number) == client as u64).then(|| number / clients.max(1) as u64)
            }
        }
    }
}

/// Where clients write down what they get.
pub(crate) trait Book {
    /// A client has read an event whole.
    fn on_event(&mut self, client: usize, stamp: Stamp);

    /// A client has read so many bytes at once.
    fn on_read(&mut self, _bytes: usize) {}

    /// The server has closed a connection.
    fn on_closed(&mut self);
}

/// The deliveries of one load; by default of none, and everything is ignored.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    load: Option<Load>,
    /// Events that a client saw for the first time in this load.
    pub(crate) received: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_order: u64,
    /// Events that are for somebody else.
    pub(crate) misdirected: u64,
    /// How often a client has read something.
    pub(crate) reads: u64,
    /// What the clients have read.
    pub(crate) bytes: u64,
    /// Connections that the server closed.
    pub(crate) closed: u64,
    /// Of each event that a client saw for the first time, in microseconds.
    pub(crate) latencies_us: Vec<u32>,
    /// Of events for one client, their numbers and latencies in microseconds.
    pub(crate) of_one: Vec<(u64, u32)>,
    pub(crate) last: Option<Moment>,
}

#[derive(Debug)]
struct Load {
    audience: Audience,
    began: Moment,
    seen: Vec<Seen>,
    /// How many clients have each event.
    holders: Vec<u32>,
    /// Where to say that an event has reached everybody.
    permits: Option<SyncSender<()>>,
}

impl Tally {
    /// Starts to count a load; connections that are closed stay counted.
    pub(crate) fn begin(&mut self, audience: Audience, permits: Option<SyncSender<()>>) {
        let load = Load {
            audience,
            began: Moment::now(),
            seen: (0..audience.clients()).map(|_| Seen::default()).collect(),
            holders: Vec::new(),
            permits,
        };
        *self = Self {
            load: Some(load),
            closed: self.closed,
            ..Self::default()
        };
    }

    /// Returns the latency that the given part of all deliveries did not exceed.
    pub(crate) fn latency(&mut self, part: f64) -> Option<Duration> {
        part_of(&mut self.latencies_us, part)
    }
}

impl Book for Tally {
    fn on_event(&mut self, client: usize, stamp: Stamp) {
        let now = Moment::now();
        let Some(load) = &mut self.load else { return };
        // What an earlier load has left on its way belongs to that one.
        if stamp.due < load.began {
            return;
        }
        let (Some(place), Some(seen)) = (
            load.audience.place(client, stamp.number),
            load.seen.get_mut(client),
        ) else {
            self.misdirected += 1;
            return;
        };
        match seen.add(place) {
            Arrival::Again => {
                self.duplicates += 1;
                return;
            }
            Arrival::Late => self.out_of_order += 1,
            Arrival::Next => {}
        }
        self.received += 1;
        let latency_us = now.since(stamp.due).as_micros();
        let latency_us = u32::try_from(latency_us).unwrap_or(u32::MAX);
        self.latencies_us.push(latency_us);
        if matches!(load.audience, Audience::One(_)) {
            self.of_one.push((stamp.number, latency_us));
        }
        self.last = Some(now);
        load.count_holder(stamp.number);
    }

    fn on_read(&mut self, bytes: usize) {
        self.reads += 1;
        self.bytes += bytes as u64;
    }

    fn on_closed(&mut self) {
        self.closed += 1;
    }
}

/// Returns what the given part of all values, in microseconds, does not exceed; moves them about.
pub(crate) fn part_of(values_us: &mut [u32], part: f64) -> Option<Duration> {
    let last = values_us.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index among millions, from a part of one"
    )]
    let index = ((last as f64) * part).round() as usize;
    let (_, value, _) = values_us.select_nth_unstable(index.min(last));
    Some(Duration::from_micros(u64::from(*value)))
}

impl Load {
    fn count_holder(&mut self, number: u64) {
        let Ok(index) = usize::try_from(number) else {
            return;
        };
        if self.holders.len() <= index {
            self.holders.resize(index + 1, 0);
        }
        let Some(holders) = self.holders.get_mut(index) else {
            return;
        };
        *holders += 1;
        if u64::from(*holders) == self.audience.size()
            && let Some(permits) = &self.permits
        {
            match permits.try_send(()) {
                // The producer has ended.
                Ok(()) | Err(TrySendError::Disconnected(())) => {}
                Err(TrySendError::Full(())) => self.permits = None,
            }
        }
    }
}

/// Which events one client has seen, by their places.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    bits: Vec<u64>,
    /// The place after the highest one seen.
    next: u64,
}

/// How an event came.
#[derive(Debug)]
pub(crate) enum Arrival {
    Next,
    Late,
    Again,
}

impl Seen {
    /// Adds the event at `place`.
    pub(crate) fn add(&mut self, place: u64) -> Arrival {
        let Ok(word) = usize::try_from(place / 64) else {
            return Arrival::Again;
        };
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        let Some(bits) = self.bits.get_mut(word) else {
            return Arrival::Again;
        };
        let bit = 1_u64 << (place % 64);
        if *bits & bit != 0 {
            return Arrival::Again;
        }
        *bits |= bit;
        if place < self.next {
            return Arrival::Late;
        }
        self.next = place + 1;
        Arrival::Next
    }
}
