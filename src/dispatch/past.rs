//! How connections catch up that are further behind than the log reaches: page by page from Kafka.
//!
//! Some connections of a shard read at a time; the others wait for a place. So the pages in use are
//! bounded, and of a crowd that comes back most find the pages that the first ones asked for.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::catch_up::{CatchUp, EVENTS_PER_CATCH_UP};
use super::connection::{Reading, Replay};
use super::shard::{Shard, Slot};
use crate::replay::{Found, Page, Range, Turn};

/// How many connections of a shard read pages at a time.
const PLACES: usize = 16;

/// Who reads pages, and who waits for a place to.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: HashSet<Slot>,
    queue: VecDeque<Slot>,
    queued: HashSet<Slot>,
}

impl Places {
    /// Takes a place, or waits for one in the queue. Returns whether it has one.
    fn enter(&mut self, slot: Slot) -> bool {
        if self.taken.contains(&slot) {
            return true;
        }
        let is_next = self.queue.front().is_none_or(|first| *first == slot);
        if self.taken.len() < PLACES && is_next {
            if self.queued.remove(&slot) {
                self.queue.pop_front();
            }
            return self.taken.insert(slot);
        }
        if self.queued.insert(slot) {
            self.queue.push_back(slot);
        }
        false
    }

    /// Leaves place and queue. Returns who may look again now.
    fn leave(&mut self, slot: Slot) -> Option<Slot> {
        if self.queued.remove(&slot) {
            self.queue.retain(|other| *other != slot);
        }
        self.taken.remove(&slot);
        self.next()
    }

    /// Returns who may take a place now.
    fn next(&self) -> Option<Slot> {
        let has_room = self.taken.len() < PLACES;
        self.queue.front().copied().filter(|_| has_room)
    }
}

/// The pages that a connection needs at a time, one for each partition that it is behind in.
#[derive(Debug, Default)]
struct Needed {
    pages: Vec<(Range, Arc<Page>)>,
    /// What Kafka has deleted.
    gone: Vec<Range>,
    is_loading: bool,
}

impl Shard {
    /// There are new pages: those who wait for some look again.
    pub(super) fn on_pages(&mut self) {
        for slot in self.places.taken.iter().copied().collect::<Vec<_>>() {
            self.mark_catching_up(slot);
        }
    }

    /// Gives up a place among those who read pages, for the next in the queue.
    pub(super) fn leave_past(&mut self, slot: Slot) {
        if let Some(next) = self.places.leave(slot) {
            self.mark_catching_up(next);
        }
    }

    /// Reads on for one connection, in the order of time, as far as all the pages at hand go.
    pub(super) fn read_past(&mut self, slot: Slot, mut replay: Box<Replay>) -> CatchUp {
        let ranges = match self.setup.log.find(&replay.position) {
            Found::Here(sequence) => {
                replay.reading = Reading::Ring(sequence.min(self.next));
                self.leave_past(slot);
                return self.go_on_later(slot, replay, CatchUp::Working);
            }
            Found::Before(ranges) => ranges,
            // The shard will hear of it, and have this connection look again.
            Found::MadeAnew => return self.go_on_later(slot, replay, CatchUp::Waiting),
        };
        if !self.places.enter(slot) {
            replay.reading = Reading::Kafka(Vec::new());
            return self.go_on_later(slot, replay, CatchUp::Waiting);
        }
        if let Some(next) = self.places.next() {
            self.mark_catching_up(next);
        }
        let needed = self.needed(&replay, ranges);
        for gone in &needed.gone {
            replay.position.set(gone.topic, gone.partition, gone.to);
        }
        let pages = needed.pages.iter().map(|(_, page)| Arc::clone(page));
        replay.reading = Reading::Kafka(pages.collect());
        if !needed.gone.is_empty() {
            // First put back: the cursor of what is told is that of the replay, not of the shard.
            let outcome = self.go_on_later(slot, replay, CatchUp::Working);
            self.tell_gap(slot, &needed.gone);
            return outcome;
        }
        if needed.is_loading {
            return self.go_on_later(slot, replay, CatchUp::Waiting);
        }
        self.merge(slot, &mut replay, &needed.pages);
        self.end_turn(slot, &mut replay);
        self.go_on_later(slot, replay, CatchUp::Working)
    }

    /// Gets the next page of each range: one that the connection holds, or has held for all.
    fn needed(&self, replay: &Replay, ranges: Vec<Range>) -> Needed {
        let mut needed = Needed::default();
        for range in ranges {
            if let Some(page) = replay.page(range) {
                needed.pages.push((range, page));
                continue;
            }
            match self.setup.history.page(range) {
                Turn::Page(page) => needed.pages.push((range, page)),
                Turn::Loading => needed.is_loading = true,
                Turn::Expired(oldest) => needed.gone.push(Range {
                    to: oldest.min(range.to),
                    ..range
                }),
            }
        }
        needed
    }

    /// Replays the events of several partitions, always the oldest one next, until the next page of
    /// one of them is needed or the turn is over.
    fn merge(&mut self, slot: Slot, replay: &mut Replay, pages: &[(Range, Arc<Page>)]) {
        let mut rests: Vec<_> = pages
            .iter()
            .map(|(range, page)| (range, page, page.events_from(range.from).iter()))
            .collect();
        let mut looked_at = 0;
        while looked_at < EVENTS_PER_CATCH_UP {
            // A page that is read to its end moves its partition on, over what is no event as well.
            if let Some(done) = rests.iter_mut().position(|(_, _, rest)| rest.len() == 0) {
                let (range, page, _) = rests.swap_remove(done);
                replay.position.set(page.topic, page.partition, page.next);
                if page.next < range.to {
                    return;
                }
                continue;
            }
            let oldest = rests.iter_mut().min_by_key(|(_, _, rest)| {
                rest.as_slice()
                    .first()
                    .map_or(i64::MAX, |event| event.timestamp_ms)
            });
            let Some(event) = oldest.and_then(|(_, _, rest)| rest.next()) else {
                return;
            };
            looked_at += 1;
            if !self.replay_event(slot, replay, event) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_wait_for_a_place_get_it_in_turn() {
        let mut places = Places::default();
        let count = Slot::try_from(PLACES).unwrap();
        assert!((0..count).all(|slot| places.enter(slot)));
        assert!(!places.enter(100) && !places.enter(101) && !places.enter(100));
        assert_eq!(places.leave(3), Some(100));
        assert!(!places.enter(101), "it is not its turn");
        assert!(places.enter(100));
        assert_eq!(places.leave(101), None);
        assert_eq!(places.leave(5), None);
        assert!(places.enter(3) && places.queue.is_empty() && places.queued.is_empty());
    }
}
