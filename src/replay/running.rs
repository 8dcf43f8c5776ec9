//! A load that is being read, and what the records and the end of its partition mean for it.

use std::time::{Duration, Instant};

use super::history::{Desk, Load};
use super::log::LoggedEvent;
use super::pages::Page;

/// After so many bytes of events a page is handed out.
const PAGE_BYTES: usize = 256 * 1024;
/// After so many records a page is handed out.
const PAGE_RECORDS: i64 = 1024;
/// For how long a partition may be shorter than what was read of it: a new leader may not know yet what the others have.
const LAG: Duration = Duration::from_secs(5);

/// A load that is being read.
pub(super) struct Running {
    pub(super) load: Load,
    /// Where the page at hand begins.
    from: i64,
    /// The next offset to come.
    next: i64,
    events: Vec<LoggedEvent>,
    bytes: usize,
    end: End,
    pub(super) moved_at: Instant,
}

/// What is known of the end of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing.
    Unknown,
    /// It came before the load was read, or its records cannot be had, first at this instant; and when Kafka was asked
    /// about that last.
    Early {
        since: Instant,
        asked: Option<Instant>,
    },
    /// It is not before that of the load, as Kafka said before the partition was assigned last.
    Beyond,
}

/// How a load goes on after a record or an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Going,
    Done,
}

/// What it means that a partition ended before its load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// Not known yet: the rest may still come.
    Wait,
    /// Kafka keeps nothing before this offset.
    Deleted(i64),
    /// Kafka has lost what comes from this offset up to the load's end, which was read once.
    Lost(i64),
    /// The rest is there, or is a hole: that shows when it is read again from this offset.
    ReadAgain(i64),
}

impl Running {
    pub(super) fn new(load: Load) -> Self {
        Self {
            load,
            from: load.range.from,
            next: load.range.from,
            events: Vec::new(),
            bytes: 0,
            end: End::Unknown,
            moved_at: Instant::now(),
        }
    }

    /// Returns whether a record leaves out some of which it is not known that they are a hole, as compaction leaves them.
    pub(super) fn is_doubtful(&self, offset: i64) -> bool {
        offset > self.next && self.end != End::Beyond
    }

    /// Adds what a record is, if it is an event.
    pub(super) fn add(&mut self, event: Option<LoggedEvent>, offset: i64) -> Progress {
        if offset >= self.load.range.to {
            return Progress::Done;
        }
        if offset < self.next {
            return Progress::Going;
        }
        self.next = offset + 1;
        self.moved_at = Instant::now();
        self.end = End::Unknown;
        if let Some(event) = event {
            self.bytes += event.size_bytes();
            self.events.push(event);
        }
        if self.is_read() {
            Progress::Done
        } else {
            Progress::Going
        }
    }

    /// Takes notice that the partition has ended, and tells what that means.
    ///
    /// That there is nothing more up to the load's end is believed only of an end that comes after Kafka said that the
    /// partition reaches so far.
    pub(super) fn at_end(&mut self, now: Instant) -> Progress {
        if self.end == End::Beyond || self.is_read() {
            return Progress::Done;
        }
        self.look_into(now);
        Progress::Going
    }

    /// Has Kafka asked about the partition.
    pub(super) fn look_into(&mut self, now: Instant) {
        if !matches!(self.end, End::Early { .. }) {
            let (since, asked) = (now, None);
            self.end = End::Early { since, asked };
        }
    }

    /// Returns whether the partition is to be looked into, and Kafka was not asked about it for `interval`.
    pub(super) fn is_end_due(&self, now: Instant, interval: Duration) -> bool {
        match self.end {
            End::Unknown | End::Beyond => false,
            End::Early { asked, .. } => {
                asked.is_none_or(|asked| now.duration_since(asked) >= interval)
            }
        }
    }

    /// Tells what it means for the load that Kafka says of the partition, at `now`, that it has `kept` so much: its first
    /// offset and its end; `None` where it does not say.
    pub(super) fn meaning(&mut self, kept: Option<(i64, i64)>, now: Instant) -> AtEnd {
        let End::Early { since, asked } = &mut self.end else {
            return AtEnd::Wait;
        };
        *asked = Some(now);
        match kept {
            Some((first, _)) if first > self.next => AtEnd::Deleted(first),
            Some((_, end)) if end >= self.load.range.to => {
                self.end = End::Beyond;
                AtEnd::ReadAgain(self.next)
            }
            Some(_) if now.duration_since(*since) >= LAG => AtEnd::Lost(self.next),
            _ => AtEnd::Wait,
        }
    }

    /// Returns whether all of the load was read.
    pub(super) const fn is_read(&self) -> bool {
        self.next >= self.load.range.to
    }

    pub(super) const fn is_full(&self) -> bool {
        self.bytes >= PAGE_BYTES || self.next - self.from >= PAGE_RECORDS
    }

    /// Hands out the page at hand, and begins the next one.
    pub(super) fn hand_out(&mut self, desk: &Desk) {
        self.hand_out_to(self.next, desk);
    }

    /// Hands out the page at hand as one that reaches to the load's end.
    pub(super) fn hand_out_last(&mut self, desk: &Desk) {
        self.hand_out_to(self.load.range.to, desk);
    }

    fn hand_out_to(&mut self, next: i64, desk: &Desk) {
        if next <= self.from {
            return;
        }
        let page = Page {
            topic: self.load.range.topic,
            partition: self.load.range.partition,
            from: self.from,
            next,
            events: std::mem::take(&mut self.events),
        };
        desk.publish(page, self.load.generation);
        self.from = next;
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Range;

    const INTERVAL: Duration = Duration::from_millis(1);

    /// A load of ten records, of which the first four have come.
    fn four_of_ten() -> Running {
        let range = Range {
            topic: 0,
            partition: 0,
            from: 100,
            to: 110,
        };
        let mut running = Running::new(Load {
            range,
            generation: 0,
        });
        for offset in 100..104 {
            assert!(!running.is_doubtful(offset));
            assert_eq!(running.add(None, offset), Progress::Going);
        }
        running
    }

    #[test]
    fn a_load_is_done_with_its_last_record_or_one_behind_it() {
        let mut running = four_of_ten();
        assert_eq!(running.add(None, 103), Progress::Going, "once more");
        assert!(running.is_doubtful(107));
        assert_eq!(running.add(None, 107), Progress::Going);
        assert_eq!(running.add(None, 109), Progress::Done);
        assert_eq!(four_of_ten().add(None, 115), Progress::Done);
    }

    #[test]
    fn the_rest_of_a_load_is_a_hole_only_if_its_partition_was_known_to_reach_so_far() {
        let mut running = four_of_ten();
        let now = Instant::now();
        assert_eq!(running.at_end(now), Progress::Going);
        assert!(running.is_end_due(now, INTERVAL));
        let meaning = running.meaning(Some((0, 110)), now);
        assert_eq!(meaning, AtEnd::ReadAgain(104));
        assert!(!running.is_doubtful(107));
        assert!(!running.is_end_due(now + LAG, INTERVAL));
        let mut another = four_of_ten();
        another.end = running.end;
        assert_eq!(running.at_end(now), Progress::Done);
        // It went on, so what was known is of no use for the next end.
        another.add(None, 104);
        assert_eq!(another.at_end(now), Progress::Going);
    }

    #[test]
    fn a_leader_that_lags_behind_has_time_to_learn_what_the_others_have() {
        let mut running = four_of_ten();
        let begun = Instant::now();
        assert_eq!(running.at_end(begun), Progress::Going);
        assert_eq!(running.meaning(Some((0, 104)), begun), AtEnd::Wait);
        assert!(!running.is_end_due(begun, INTERVAL));
        let later = begun + LAG / 2;
        assert!(running.is_end_due(later, INTERVAL));
        assert_eq!(running.meaning(None, later), AtEnd::Wait);
        // It has learned: the records come.
        running.add(None, 104);
        assert!(!running.is_end_due(later + LAG, INTERVAL));
        assert_eq!(running.at_end(later), Progress::Going, "another end");
        let kept = Some((0, 105));
        assert_eq!(running.meaning(kept, later + LAG / 2), AtEnd::Wait);
        assert_eq!(running.meaning(kept, later + LAG), AtEnd::Lost(105));
    }

    #[test]
    fn what_was_deleted_meanwhile_is_known_for_that() {
        let mut running = four_of_ten();
        let now = Instant::now();
        running.look_into(now);
        let meaning = running.meaning(Some((200, 200)), now);
        assert_eq!(meaning, AtEnd::Deleted(200));
    }
}
