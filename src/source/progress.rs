//! How far each partition has been read.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::kafka::Step;

/// A partition of a source topic: the topic's index and the partition's number.
pub(super) type PartitionId = (u16, i32);

/// The state of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The offset of the next record to read.
    pub(super) next: i64,
    /// What of it the client has been told to commit.
    stored: Option<i64>,
    /// The end seen at start, until it is reached.
    awaited_end: Option<i64>,
    /// When its newest record was read.
    read_at: Option<Instant>,
}

/// The state of all partitions.
#[derive(Debug, Default)]
pub(super) struct Progress {
    positions: BTreeMap<PartitionId, Position>,
    /// See [`Step::of`].
    trusts_order: bool,
}

impl Progress {
    /// Starts without partitions; for `trusts_order` see [`Step::of`].
    pub(super) fn new(trusts_order: bool) -> Self {
        Self {
            positions: BTreeMap::new(),
            trusts_order,
        }
    }

    /// Adds a partition, or moves it to `next`. `awaited_end` is the end seen at start.
    pub(super) fn place(&mut self, id: PartitionId, next: i64, awaited_end: Option<i64>) {
        let awaited_end = awaited_end.filter(|end| next < *end);
        self.positions.insert(
            id,
            Position {
                next,
                stored: None,
                awaited_end,
                read_at: None,
            },
        );
    }

    /// Forgets the partitions of a topic.
    pub(super) fn forget_topic(&mut self, topic: u16) {
        self.positions.retain(|(known, _), _| *known != topic);
    }

    /// Notes that the record at `offset` came. Only a [`Step::Forward`] moves the position; what comes of a partition
    /// that is not ours is [`Step::Repeated`].
    pub(super) fn step(&mut self, id: PartitionId, offset: i64) -> Step {
        let Some(position) = self.positions.get_mut(&id) else {
            return Step::Repeated;
        };
        let step = Step::of(offset, position.next, self.trusts_order);
        if step == Step::Forward {
            position.next = offset + 1;
            position.read_at = Some(Instant::now());
            position.awaited_end = position.awaited_end.filter(|end| offset + 1 < *end);
        }
        step
    }

    /// Notes that all up to `fetched` was read, also where no records are, as after a transaction.
    pub(super) fn reached(&mut self, id: PartitionId, fetched: i64) {
        if let Some(position) = self.positions.get_mut(&id) {
            position.awaited_end = position.awaited_end.filter(|end| fetched < *end);
        }
    }

    /// Returns whether every partition was read up to the end seen at start.
    pub(super) fn has_caught_up(&self) -> bool {
        self.positions
            .values()
            .all(|position| position.awaited_end.is_none())
    }

    /// Returns whether a partition that ended at `end` when somebody asked for it, not before `asked`,
    /// is another one than that which was read.
    ///
    /// What was read since may have been written since, so it proves nothing.
    pub(super) fn is_another(&self, id: PartitionId, end: i64, asked: Instant) -> bool {
        self.positions
            .get(&id)
            .is_some_and(|known| known.next > end && known.read_at.is_none_or(|read| read < asked))
    }

    /// Returns the next offset of a partition.
    pub(super) fn next(&self, id: PartitionId) -> Option<i64> {
        self.positions.get(&id).map(|position| position.next)
    }

    /// Returns all partitions with their next offsets.
    pub(super) fn all(&self) -> impl Iterator<Item = (PartitionId, i64)> {
        self.positions
            .iter()
            .map(|(id, position)| (*id, position.next))
    }

    /// Returns the partitions whose next offset was not yet given to the client to commit.
    pub(super) fn unstored(&self) -> impl Iterator<Item = (PartitionId, i64)> {
        self.positions
            .iter()
            .filter(|(_, position)| position.stored != Some(position.next))
            .map(|(id, position)| (*id, position.next))
    }

    /// Notes that `offset` of a partition was given to the client to commit.
    pub(super) fn stored(&mut self, id: PartitionId, offset: i64) {
        if let Some(position) = self.positions.get_mut(&id) {
            position.stored = Some(offset);
        }
    }

    /// Forgets what was given to the client, which forgets it with each new assignment.
    pub(super) fn forget_stored(&mut self) {
        for position in self.positions.values_mut() {
            position.stored = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was read between the question and the hearing of its answer once made a partition begin
    /// anew, and every event of it came twice.
    #[test]
    fn a_partition_is_another_one_only_if_nothing_was_read_since_its_end_was_asked_for() {
        let mut progress = Progress::new(false);
        progress.place((0, 0), 0, None);
        progress.step((0, 0), 7);
        let asked = Instant::now();
        assert!(progress.is_another((0, 0), 5, asked));
        assert!(!progress.is_another((0, 0), 8, asked));
        progress.step((0, 0), 8);
        assert!(!progress.is_another((0, 0), 5, asked));
        assert!(!progress.is_another((0, 1), 5, asked));
    }

    #[test]
    fn has_caught_up_when_each_partition_reached_the_end_seen_at_start() {
        let mut progress = Progress::new(true);
        assert!(progress.has_caught_up());
        progress.place((0, 0), 5, Some(5));
        assert!(progress.has_caught_up());
        progress.place((0, 1), 3, Some(5));
        progress.place((1, 0), 0, Some(9));
        assert_eq!(progress.step((0, 1), 3), Step::Forward);
        assert!(!progress.has_caught_up());
        assert_eq!(progress.step((0, 1), 4), Step::Forward);
        assert!(!progress.has_caught_up());
        progress.reached((1, 0), 8);
        assert!(!progress.has_caught_up());
        progress.reached((1, 0), 9);
        assert!(progress.has_caught_up());
    }

    #[test]
    fn an_offset_that_goes_back_is_a_restart_only_where_the_order_can_be_trusted() {
        for (trusts_order, expected) in [(true, Step::Restarted), (false, Step::Repeated)] {
            let mut progress = Progress::new(trusts_order);
            progress.place((0, 0), 0, None);
            assert_eq!(progress.step((0, 0), 7), Step::Forward);
            assert_eq!(progress.step((0, 0), 0), expected);
            assert_eq!(progress.next((0, 0)), Some(8));
        }
    }

    #[test]
    fn records_of_unknown_partitions_are_not_taken() {
        assert_eq!(Progress::new(true).step((0, 0), 0), Step::Repeated);
    }

    #[test]
    fn what_was_stored_is_not_stored_again_until_it_moves_or_is_forgotten() {
        let mut progress = Progress::new(true);
        progress.place((0, 0), 4, None);
        assert_eq!(progress.unstored().collect::<Vec<_>>(), [((0, 0), 4)]);
        progress.stored((0, 0), 4);
        assert_eq!(progress.unstored().count(), 0);
        assert_eq!(progress.step((0, 0), 4), Step::Forward);
        assert_eq!(progress.unstored().collect::<Vec<_>>(), [((0, 0), 5)]);
        progress.stored((0, 0), 5);
        progress.forget_stored();
        assert_eq!(progress.unstored().count(), 1);
    }
}
