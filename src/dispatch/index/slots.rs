//! The connections of a shard as the index sees them.

use super::{EntryId, Slot};

/// One slot in the list of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) slot: Slot,
    /// The position in the slot's memberships.
    pub(super) index: u32,
}

/// One entry in the list of a slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Membership {
    pub(super) entry: EntryId,
    /// The position in the entry's members.
    pub(super) position: u32,
}

/// The memberships of one slot; one takes no memory of its own.
#[derive(Debug)]
pub(super) enum Memberships {
    One(Membership),
    Many(Box<[Membership]>),
}

#[derive(Debug, Default)]
struct Connection {
    memberships: Memberships,
    subscriptions: u32,
}

/// All slots by their numbers.
#[derive(Debug, Default)]
pub(super) struct Slots {
    connections: Vec<Connection>,
    /// For each slot the search in which it was hit last.
    last_hits: Vec<u32>,
    /// Counts the searches, so that each reports a slot once. 0 is no search.
    search: u32,
}

impl Default for Memberships {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl Memberships {
    pub(super) fn as_slice(&self) -> &[Membership] {
        match self {
            Self::One(membership) => std::slice::from_ref(membership),
            Self::Many(memberships) => memberships,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Membership] {
        match self {
            Self::One(membership) => std::slice::from_mut(membership),
            Self::Many(memberships) => memberships,
        }
    }
}

impl Slots {
    /// Gives a slot its memberships; makes room for it if needed.
    pub(super) fn fill(&mut self, slot: Slot, memberships: Vec<Membership>, subscriptions: u32) {
        let place = slot as usize;
        if place >= self.connections.len() {
            self.connections.resize_with(place + 1, Connection::default);
            self.last_hits.resize(place + 1, 0);
        }
        if let Some(connection) = self.connections.get_mut(place) {
            connection.memberships = match memberships.as_slice() {
                [one] => Memberships::One(*one),
                _ => Memberships::Many(memberships.into_boxed_slice()),
            };
            connection.subscriptions = subscriptions;
        }
    }

    /// Takes the memberships and the number of subscriptions of a slot away.
    pub(super) fn empty(&mut self, slot: Slot) -> (Memberships, u32) {
        match self.connections.get_mut(slot as usize) {
            None => (Memberships::default(), 0),
            Some(connection) => (
                std::mem::take(&mut connection.memberships),
                std::mem::take(&mut connection.subscriptions),
            ),
        }
    }

    /// Notes that `member` is at `position` of its entry now.
    pub(super) fn relocate(&mut self, member: Member, position: u32) {
        let connection = self.connections.get_mut(member.slot as usize);
        let memberships = connection.map(|connection| connection.memberships.as_mut_slice());
        if let Some(membership) = memberships.and_then(|all| all.get_mut(member.index as usize)) {
            membership.position = position;
        }
    }

    /// Begins a search, in which no slot is hit yet.
    pub(super) fn begin_search(&mut self) {
        self.search = self.search.wrapping_add(1);
        if self.search == 0 {
            self.last_hits.fill(0);
            self.search = 1;
        }
    }

    /// Returns whether this is the first hit of `slot` in the search.
    pub(super) fn hit(&mut self, slot: Slot) -> bool {
        let last_hit = self.last_hits.get_mut(slot as usize);
        last_hit.is_some_and(|last| std::mem::replace(last, self.search) != self.search)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_search_hits_a_slot_once_also_when_the_counter_starts_over() {
        let mut slots = Slots::default();
        slots.fill(1, Vec::new(), 0);
        for start in [0, 7, u32::MAX - 1, u32::MAX] {
            slots.search = start;
            slots.begin_search();
            assert!(slots.hit(1), "{start}");
            assert!(!slots.hit(1), "{start}");
            slots.begin_search();
            assert!(slots.hit(1), "{start}");
        }
        assert!(!slots.hit(2));
    }
}
