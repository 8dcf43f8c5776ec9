//! The newest matches of several partitions, found by looking further and further back.

use std::collections::HashMap;
use std::sync::Arc;

use super::log::{Batch, LoggedEvent};
use crate::event::{Positions, Range};
use crate::subscription::Subscriptions;

/// A topic's index, a partition and its next offset.
pub(super) type Place = (u16, u32, i64);

/// What a partition keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) topic: u16,
    pub(super) partition: u32,
    pub(super) first: i64,
    pub(super) end: i64,
}

/// What was found in a range.
#[derive(Debug)]
pub(super) struct Seen {
    /// Offsets and timestamps of what matches, oldest first.
    matches: Vec<(i64, i64)>,
    /// The oldest timestamp of all events.
    oldest_ms: i64,
}

impl Seen {
    pub(super) fn add(&mut self, event: &LoggedEvent, wanted: &Subscriptions) {
        self.oldest_ms = self.oldest_ms.min(event.timestamp_ms);
        if wanted.matches(&event.event, &event.fields) {
            self.matches.push((event.offset, event.timestamp_ms));
        }
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            matches: Vec::new(),
            oldest_ms: i64::MAX,
        }
    }
}

/// The part of a partition that was looked at, from its end backwards.
#[derive(Debug)]
pub(super) struct Window {
    kept: Kept,
    begin: i64,
    /// The oldest timestamp in the window.
    oldest_ms: i64,
    /// Offsets and timestamps of what matches, newest first. The timestamps are made to fall, so that
    /// the newest matches of a partition are always the last ones.
    matches: Vec<(i64, i64)>,
}

impl Window {
    pub(super) fn new(kept: Kept, end: i64) -> Self {
        Self {
            kept,
            begin: end.max(kept.first),
            oldest_ms: i64::MAX,
            matches: Vec::new(),
        }
    }

    /// Returns whether nothing further back can be among the matches, of which the oldest has this
    /// timestamp; `None` while there are too few.
    pub(super) fn is_settled(&self, oldest_ms: Option<i64>) -> bool {
        oldest_ms.is_some_and(|oldest_ms| self.oldest_ms <= oldest_ms)
    }

    /// Returns what to look at next, unless everything was.
    pub(super) fn further(&self, step: i64) -> Option<Range> {
        let from = self.begin.saturating_sub(step).max(self.kept.first);
        (from < self.begin).then_some(Range {
            topic: self.kept.topic,
            partition: self.kept.partition,
            from,
            to: self.begin,
        })
    }

    pub(super) fn add(&mut self, begin: i64, seen: Seen) {
        self.begin = begin;
        self.oldest_ms = self.oldest_ms.min(seen.oldest_ms);
        for (offset, timestamp_ms) in seen.matches.into_iter().rev() {
            let newer_ms = self
                .matches
                .last()
                .map_or(i64::MAX, |(_, newer_ms)| *newer_ms);
            self.matches.push((offset, timestamp_ms.min(newer_ms)));
        }
    }
}

/// Looks through batches of the log, newest first, and widens the windows by them.
pub(super) fn look_through(
    batches: &[Arc<Batch>],
    begin: &Positions,
    wanted: &Subscriptions,
    windows: &mut [Window],
) {
    let mut seen: HashMap<(u16, u32), Seen> = HashMap::new();
    for batch in batches.iter().rev() {
        // Of a topic that was made anew, only the new one counts.
        let is_current = |event: &&LoggedEvent| batch.start.is_same_topic(event.topic, begin);
        for event in batch.events.iter().filter(is_current) {
            let seen = seen.entry((event.topic, event.partition)).or_default();
            seen.add(event, wanted);
        }
    }
    let Some(oldest) = batches.last() else { return };
    for window in windows {
        let Kept {
            topic, partition, ..
        } = window.kept;
        let of = if oldest.start.is_same_topic(topic, begin) {
            &oldest.start
        } else {
            begin
        };
        let seen = seen.remove(&(topic, partition)).unwrap_or_default();
        window.add(of.next_offset(topic, partition), seen);
    }
}

/// Returns the timestamp of the oldest of the newest `count` matches, if there are so many.
pub(super) fn oldest_of(windows: &[Window], count: usize) -> Option<i64> {
    let mut all: Vec<i64> = windows
        .iter()
        .flat_map(|window| window.matches.iter().take(count))
        .map(|(_, timestamp_ms)| *timestamp_ms)
        .collect();
    let place = count.checked_sub(1)?;
    if place >= all.len() {
        return None;
    }
    let (_, oldest, _) = all.select_nth_unstable_by(place, |one, other| other.cmp(one));
    Some(*oldest)
}

/// Returns the newest `count` matches of all partitions, newest first.
pub(super) fn newest(windows: &[Window], count: usize) -> impl Iterator<Item = Place> {
    let mut all: Vec<(i64, i64, u16, u32)> = windows
        .iter()
        .flat_map(|window| {
            let of_window = window.matches.iter().take(count);
            of_window.map(|(offset, timestamp_ms)| {
                (
                    *timestamp_ms,
                    *offset,
                    window.kept.topic,
                    window.kept.partition,
                )
            })
        })
        .collect();
    all.sort_unstable_by(|one, other| other.cmp(one));
    all.truncate(count);
    all.into_iter()
        .map(|(_, offset, topic, partition)| (topic, partition, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(partition: u32, matches: &[(i64, i64)]) -> Window {
        let kept = Kept {
            topic: 0,
            partition,
            first: 0,
            end: 100,
        };
        let mut window = Window::new(kept, 100);
        let oldest_ms = matches.iter().map(|(_, ms)| *ms).min().unwrap_or(i64::MAX);
        let matches = matches.to_vec();
        window.add(50, Seen { matches, oldest_ms });
        window
    }

    #[test]
    fn the_newest_matches_are_the_last_ones_of_their_partitions_whatever_their_timestamps() {
        let windows = [
            window(0, &[(60, 900), (61, 5), (62, 6)]),
            window(1, &[(70, 4), (71, 7)]),
        ];
        let found: Vec<Place> = newest(&windows, 4).collect();
        assert_eq!(found, [(0, 1, 71), (0, 0, 62), (0, 0, 61), (0, 0, 60)]);
    }

    #[test]
    fn a_window_is_widened_only_where_it_can_hold_something_newer() {
        let window = window(0, &[(60, 10)]);
        let settled = |oldest_ms| window.is_settled(oldest_ms);
        assert_eq!(
            (settled(Some(10)), settled(Some(9)), settled(None)),
            (true, false, false)
        );
        let range = Range {
            topic: 0,
            partition: 0,
            from: 30,
            to: 50,
        };
        assert_eq!(window.further(20), Some(range));
        assert_eq!(window.further(200).map(|range| range.from), Some(0));
        let windows = [window];
        assert_eq!(
            (oldest_of(&windows, 1), oldest_of(&windows, 2)),
            (Some(10), None)
        );
    }
}
