//! How far somebody has seen every partition: [`Positions`].

use super::cursor::{Cursor, encode};
use super::epoch::Epoch;

/// Which topic a part of a cursor is about: a hash of its name, equal on all instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicHash(pub(super) u32);

impl TopicHash {
    /// Hashes a topic's name (FNV-1a, 32 bits: stable over versions and instances).
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(name.bytes().fold(0x811c_9dc5, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        }))
    }
}

/// The partition `.1` of the topic `.0`, where the records from offset `.2` to before `.3` are missed;
/// to 0 where the topic was made anew and is read from its beginning.
pub type Missed = (u16, u32, i64, i64);

/// The next offset of every partition of every source topic, topics in their configured order.
///
/// A partition that is not known counts as standing at offset 0: whatever it holds is still to come.
/// A topic that was made anew begins again at 0, and every place in it is after those in the old one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions {
    topics: Vec<TopicPositions>,
}

/// Where the partitions of one topic stand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TopicPositions {
    hash: TopicHash,
    epoch: Epoch,
    /// How often this instance saw the topic made anew; orders what epochs only tell apart.
    remade: u32,
    offsets: Vec<i64>,
}

/// Where a client stands, as [`Positions::resolve`] found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Its positions: 0 in each topic that was made anew since.
    pub positions: Positions,
    /// The partitions of these topics, from where the client had seen them to 0.
    pub made_anew: Vec<Missed>,
}

impl Positions {
    /// Starts with no partition known of `topics`, given in their configured order.
    #[must_use]
    pub fn of_topics<'a>(topics: impl IntoIterator<Item = &'a str>) -> Self {
        let topics = topics.into_iter().map(|name| TopicPositions {
            hash: TopicHash::of(name),
            epoch: Epoch::UNKNOWN,
            remade: 0,
            offsets: Vec::new(),
        });
        Self {
            topics: topics.collect(),
        }
    }

    /// Returns the next offset of a partition, 0 when it is not known.
    #[must_use]
    pub fn next_offset(&self, topic: u16, partition: u32) -> i64 {
        self.topics
            .get(usize::from(topic))
            .and_then(|topic| topic.offsets.get(partition as usize))
            .copied()
            .unwrap_or(0)
    }

    /// Sets the next offset of a partition, forwards or backwards; unknown topics are ignored.
    pub fn set(&mut self, topic: u16, partition: u32, next_offset: i64) {
        let Some(topic) = self.topics.get_mut(usize::from(topic)) else {
            return;
        };
        let partition = partition as usize;
        if topic.offsets.len() <= partition {
            topic.offsets.resize(partition + 1, 0);
        }
        if let Some(offset) = topic.offsets.get_mut(partition) {
            *offset = next_offset.max(0);
        }
    }

    /// Returns which topic of its name a topic is; unknown for a topic that is not there.
    #[must_use]
    pub fn epoch(&self, topic: u16) -> Epoch {
        self.topics
            .get(usize::from(topic))
            .map_or(Epoch::UNKNOWN, |topic| topic.epoch)
    }

    /// Sets which topic of its name a topic is, without moving in it.
    pub fn learn(&mut self, topic: u16, epoch: Epoch) {
        if let Some(topic) = self.topics.get_mut(usize::from(topic)) {
            topic.epoch = epoch;
        }
    }

    /// Goes on to the beginning of the topic that was made anew under the same name.
    ///
    /// Returns what was known of the old one, from where each partition stood to 0.
    pub fn begin_anew(&mut self, topic: u16, epoch: Epoch) -> Vec<Missed> {
        let Some(topics) = self.topics.get_mut(usize::from(topic)) else {
            return Vec::new();
        };
        topics.epoch = epoch;
        topics.remade += 1;
        to_zero(topic, &std::mem::take(&mut topics.offsets)).collect()
    }

    /// Returns whether a topic is the same one here and in `other`, not one made anew between them.
    #[must_use]
    pub fn is_same_topic(&self, topic: u16, other: &Self) -> bool {
        let remade = |positions: &Self| {
            let topic = positions.topics.get(usize::from(topic));
            topic.map(|topic| topic.remade)
        };
        remade(self) == remade(other)
    }

    /// Returns whether a topic was made anew in `other` and not here.
    #[must_use]
    pub fn is_of_older_topic(&self, other: &Self) -> bool {
        let mut pairs = self.topics.iter().zip(&other.topics);
        pairs.any(|(own, other)| own.remade < other.remade)
    }

    /// Returns whether every partition stands at or after where it stands in `other`.
    #[must_use]
    pub fn reached(&self, other: &Self) -> bool {
        let mut pairs = self.topics.iter().zip(&other.topics);
        pairs.all(|(own, other)| own.reached(other))
    }

    /// Moves every partition forward to where it stands in `other`, where that is further on.
    pub fn advance_to(&mut self, other: &Self) {
        for (own, other) in self.topics.iter_mut().zip(&other.topics) {
            own.advance_to(other);
        }
    }

    /// Goes on to the beginning of each topic that is a newer one in `other`, and takes over what
    /// `other` knows of which topics they are.
    pub fn enter(&mut self, other: &Self) {
        for (own, other) in self.topics.iter_mut().zip(&other.topics) {
            if own.remade < other.remade {
                own.offsets.clear();
                own.remade = other.remade;
                own.epoch = other.epoch;
            } else if own.remade == other.remade && other.epoch.is_known() {
                own.epoch = other.epoch;
            }
        }
    }

    /// Returns the records between here and `kept`, partition by partition.
    ///
    /// In a topic that is another one in `kept` nothing is missed: it is told when it begins.
    #[must_use]
    pub fn missed_before(&self, kept: &Self) -> Vec<Missed> {
        kept.iter()
            .filter(|(topic, ..)| self.is_same_topic(*topic, kept))
            .map(|(topic, partition, to)| {
                (topic, partition, self.next_offset(topic, partition), to)
            })
            .filter(|(_, _, from, to)| from < to)
            .collect()
    }

    /// Returns all known partitions as (topic, partition, next offset), in order.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u32, i64)> + '_ {
        (0_u16..).zip(&self.topics).flat_map(|(number, topic)| {
            (0_u32..)
                .zip(&topic.offsets)
                .map(move |(partition, offset)| (number, partition, *offset))
        })
    }

    /// Returns where a client with `cursor` stands.
    ///
    /// Partitions that were added after the cursor was made stand at 0. Topics that the cursor does
    /// not know stand where `self` stands: they are new to the client, and start live. A topic that
    /// was made anew after the cursor was made stands at 0 and is named as such; where the epoch is
    /// unknown, here or there, the cursor is trusted.
    #[must_use]
    pub fn resolve(&self, cursor: &Cursor) -> Resolved {
        let mut made_anew = Vec::new();
        let topics = (0_u16..).zip(&self.topics).map(|(number, here)| {
            let Some((epoch, seen)) = cursor.topics.get(&here.hash) else {
                return here.clone();
            };
            let mut offsets = if epoch.differs_from(here.epoch) {
                made_anew.extend(to_zero(number, seen));
                Vec::new()
            } else {
                seen.clone()
            };
            offsets.resize(offsets.len().max(here.offsets.len()), 0);
            TopicPositions {
                offsets,
                ..here.clone()
            }
        });
        let positions = Self {
            topics: topics.collect(),
        };
        Resolved {
            positions,
            made_anew,
        }
    }

    /// Returns the cursor of a client that has seen everything before these positions.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let topics = self.topics.iter().cloned();
        Cursor {
            topics: topics
                .map(|topic| (topic.hash, (topic.epoch, topic.offsets)))
                .collect(),
        }
    }

    /// Writes the text of [`Positions::cursor`] without building it.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut order: Vec<&TopicPositions> = self.topics.iter().collect();
        order.sort_unstable_by_key(|topic| topic.hash);
        encode(
            order
                .iter()
                .map(|topic| (topic.hash, topic.epoch, topic.offsets.as_slice())),
        )
    }
}

impl TopicPositions {
    fn reached(&self, other: &Self) -> bool {
        let has_reached = |(partition, offset): (usize, &i64)| {
            self.offsets.get(partition).copied().unwrap_or(0) >= *offset
        };
        match self.remade.cmp(&other.remade) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => other.offsets.iter().enumerate().all(has_reached),
            std::cmp::Ordering::Greater => true,
        }
    }

    fn advance_to(&mut self, other: &Self) {
        match self.remade.cmp(&other.remade) {
            std::cmp::Ordering::Less => self.clone_from(other),
            std::cmp::Ordering::Greater => {}
            std::cmp::Ordering::Equal => {
                let known = self.offsets.len().max(other.offsets.len());
                self.offsets.resize(known, 0);
                for (own, other) in self.offsets.iter_mut().zip(&other.offsets) {
                    *own = (*own).max(*other);
                }
            }
        }
    }
}

/// Names the partitions of a topic that is gone.
fn to_zero(topic: u16, offsets: &[i64]) -> impl Iterator<Item = Missed> {
    (0_u32..)
        .zip(offsets)
        .map(move |(partition, from)| (topic, partition, *from, 0))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn positions(topics: &[(&str, &[i64])]) -> Positions {
        let mut positions = Positions::of_topics(topics.iter().map(|(name, _)| *name));
        for (topic, (_, offsets)) in (0_u16..).zip(topics) {
            for (partition, offset) in (0_u32..).zip(*offsets) {
                positions.set(topic, partition, *offset);
            }
        }
        positions
    }

    /// Returns positions in a topic `a` of this epoch.
    fn in_epoch(epoch: Epoch, offsets: &[i64]) -> Positions {
        let mut positions = positions(&[("a", offsets)]);
        positions.learn(0, epoch);
        positions
    }

    #[test]
    fn the_cursor_is_the_same_whatever_the_order_of_the_configured_topics() {
        let one = positions(&[("a", &[1, 2]), ("b", &[3])]);
        let two = positions(&[("b", &[3]), ("a", &[1, 2])]);
        assert_eq!(one.encode(), two.encode());
        assert_eq!(one.resolve(&two.cursor()).positions, one);
    }

    #[test]
    fn a_partition_added_later_is_read_from_its_start_and_a_new_topic_from_now() {
        let here = positions(&[("a", &[10, 20]), ("b", &[30])]);
        let cursor = positions(&[("a", &[7])]).cursor();
        assert_eq!(
            here.resolve(&cursor).positions,
            positions(&[("a", &[7, 0]), ("b", &[30])])
        );
    }

    #[test]
    fn a_cursor_of_the_same_topic_is_taken_and_of_another_one_told() {
        let (one, two) = (Epoch(1), Epoch(2));
        let here = in_epoch(two, &[10, 20]);
        for epoch in [two, Epoch::UNKNOWN] {
            let resolved = here.resolve(&in_epoch(epoch, &[7, 8]).cursor());
            assert_eq!(resolved.positions, in_epoch(two, &[7, 8]), "{epoch:?}");
            assert_eq!(resolved.made_anew, []);
        }
        let resolved = here.resolve(&in_epoch(one, &[7, 8, 9]).cursor());
        assert_eq!(resolved.positions, in_epoch(two, &[0, 0]));
        assert_eq!(
            resolved.made_anew,
            [(0, 0, 7, 0), (0, 1, 8, 0), (0, 2, 9, 0)]
        );
        let nobody_told = in_epoch(Epoch::UNKNOWN, &[10]);
        let resolved = nobody_told.resolve(&in_epoch(one, &[7]).cursor());
        assert_eq!(resolved.positions, in_epoch(Epoch::UNKNOWN, &[7]));
        assert_eq!(resolved.made_anew, []);
    }

    #[test]
    fn every_place_in_a_topic_made_anew_is_after_those_in_the_old_one() {
        let old = positions(&[("a", &[50, 60]), ("b", &[5])]);
        let mut new = old.clone();
        assert_eq!(new.begin_anew(0, Epoch(9)), [(0, 0, 50, 0), (0, 1, 60, 0)]);
        assert_eq!((new.epoch(0), new.next_offset(0, 1)), (Epoch(9), 0));
        assert!(new.reached(&old) && !old.reached(&new));
        assert!(!new.is_same_topic(0, &old) && new.is_same_topic(1, &old));
        new.set(0, 0, 3);
        new.set(1, 0, 8);
        assert_eq!(old.missed_before(&new), [(1, 0, 5, 8)]);
        let mut moved = old.clone();
        moved.advance_to(&new);
        assert_eq!(moved, new);
        moved.advance_to(&old);
        assert_eq!(moved, new);
        let mut entered = old.clone();
        entered.enter(&new);
        assert_eq!(
            (entered.next_offset(0, 0), entered.next_offset(1, 0)),
            (0, 5)
        );
        assert!(entered.is_same_topic(0, &new) && entered.epoch(0) == Epoch(9));
    }

    #[test]
    fn positions_reach_others_only_when_every_partition_does() {
        let behind = positions(&[("a", &[5, 5])]);
        let ahead = positions(&[("a", &[6, 5])]);
        assert!(ahead.reached(&behind) && !behind.reached(&ahead));
        let mut moved = positions(&[("a", &[1, 9])]);
        moved.advance_to(&ahead);
        assert_eq!(moved, positions(&[("a", &[6, 9])]));
    }
}
