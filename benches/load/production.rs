//! What is produced for those who come back: numbered events of some types in turn, spread over all
//! partitions, so that whoever has a number knows which type, partition and key it belongs to.

use std::time::Duration;

use crate::event::{Moment, Stamp};
use crate::producer::Producer;

/// How many partitions the topic of the events has.
pub(crate) const PARTITIONS: u8 = 12;
/// How far apart bursts are at a rate; events of one burst are due together.
const BURST: Duration = Duration::from_millis(5);

/// Events with numbers that follow each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Production {
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// How many types take turns.
    pub(crate) types: u64,
    pub(crate) event_bytes: usize,
}

impl Production {
    /// Returns the subscriptions of a client that wants one of the types, or all.
    pub(crate) fn wants(&self, which: Option<u64>) -> String {
        let event_type = match which {
            Some(which) => self.event_type(which),
            None => format!("bench.from{}.*", self.first),
        };
        format!(r#"[{{"eventType":"{event_type}"}}]"#)
    }

    /// Returns the same with `count` more events.
    pub(crate) fn longer_by(self, count: u64) -> Self {
        let count = self.count + count;
        Self { count, ..self }
    }

    /// Sends the events from the place `from` on, as fast as the broker takes them, or so many a
    /// second; waits for the acknowledgements.
    ///
    /// Blocks: for a thread of its own.
    pub(crate) fn send(
        &self,
        producer: &Producer,
        from: u64,
        per_second: Option<u64>,
    ) -> anyhow::Result<()> {
        let began = Moment::now();
        for place in from..self.count {
            let due = match per_second {
                Some(rate) => {
                    let due = began.after(burst_of(place - from, rate));
                    std::thread::sleep(due.since(Moment::now()));
                    due
                }
                None => Moment::now(),
            };
            let number = self.first + place;
            let event_type = self.event_type(place % self.types);
            let event = Stamp { number, due }.event_of(&event_type, 0, self.event_bytes);
            let partition = self.partition(place);
            producer.put(
                i32::try_from(partition)?,
                &format!("key-{partition}"),
                &event,
            )?;
        }
        producer.flush()
    }

    fn event_type(&self, which: u64) -> String {
        format!("bench.from{}.{which}", self.first)
    }

    fn partition(&self, place: u64) -> u64 {
        place / self.types % u64::from(PARTITIONS)
    }
}

/// Returns when the event at `place` is due, from the start.
fn burst_of(place: u64, per_second: u64) -> Duration {
    let due = Duration::from_secs(place) / u32::try_from(per_second.max(1)).unwrap_or(u32::MAX);
    let bursts = due.as_micros() / BURST.as_micros();
    BURST * u32::try_from(bursts).unwrap_or(u32::MAX)
}

/// The events of a production that one client wants: those of one type, or all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) production: Production,
    pub(crate) which: Option<u64>,
}

impl Share {
    /// Returns how many events it has.
    pub(crate) fn count(&self) -> u64 {
        let Production { count, types, .. } = self.production;
        match self.which {
            Some(which) => count.saturating_sub(which).div_ceil(types),
            None => count,
        }
    }

    /// Returns the place in this share and the partition of event `number`; `None` if it is not of it.
    pub(crate) fn locate(&self, number: u64) -> Option<(u64, u64)> {
        let production = &self.production;
        let place = number.checked_sub(production.first)?;
        let partition = production.partition(place);
        let place = match self.which {
            Some(which) if place % production.types == which => place / production.types,
            Some(_) => return None,
            None => place,
        };
        (place < self.count()).then_some((place, partition))
    }
}
