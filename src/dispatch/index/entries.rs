//! All entries of an index, in their chains.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use slab::Slab;

use super::entry::{Access, Chain, Entry, Key, Members, NONE, Wish};
use super::slots::{Member, Membership};
use super::table::{TableId, Tables};
use super::{EntryId, number};
use crate::subscription::{Alternative, Subscription};

/// Up to this many candidates for the access key of an entry are compared.
const MAX_CANDIDATES: usize = 16;

/// Chains are compared up to this length.
const MAX_COMPARED_LENGTH: usize = 32;

/// All entries, in their chains. In front of a chain are its values, which is how these are found again.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) hasher: RandomState,
    pub(super) tables: Tables,
    slab: Slab<Entry>,
    /// The entry of an alternative that is not a value, by the alternative's hash. Of two with the same hash only one is
    /// found, which costs memory and not correctness.
    interned: HashMap<u64, EntryId, Prehashed>,
    /// The first entry of each chain with a key.
    heads: HashMap<Key, EntryId, Prehashed>,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Entry> {
        self.slab.get(id as usize)
    }

    /// Returns the first entry of a chain, or [`NONE`].
    pub(super) fn head(&self, chain: Chain) -> EntryId {
        match chain {
            Chain::Keyed(key) => self.heads.get(&key).copied().unwrap_or(NONE),
            Chain::Plain(table) => self.tables.get(table).map_or(NONE, |table| table.plain),
        }
    }

    /// Adds a member to the entry of the alternative at `position` of `subscription`, which is made when missing.
    /// Returns `None` if the member's slot was the last one that was added and so is there already.
    pub(super) fn join(
        &mut self,
        subscription: &Subscription,
        position: usize,
        alternative: &Alternative<'_>,
        member: Member,
    ) -> Option<Membership> {
        let table = self.tables.obtain(alternative.pattern);
        let known = self.find(table, alternative);
        if let Some(entry) = known.and_then(|id| self.slab.get_mut(id as usize)) {
            let position = entry.members.push(member)?;
            return known.map(|entry| Membership { entry, position });
        }
        let wish = match Wish::value_of(alternative) {
            Some(constraint) => Wish::Value(constraint.clone()),
            None => Wish::Alternative {
                subscription: subscription.clone(),
                position: number(position),
                access: self.choose_access(table, alternative),
            },
        };
        Some(Membership {
            entry: self.add(table, wish, member),
            position: 0,
        })
    }

    /// Removes the member at `position` of an entry, and the entry with its last member. Returns the member that is at
    /// `position` now, if any.
    pub(super) fn leave(&mut self, id: EntryId, position: u32) -> Option<Member> {
        let entry = self.slab.get_mut(id as usize)?;
        if let Members::Many(_) = entry.members {
            return entry.members.swap_remove(position);
        }
        self.remove(id);
        None
    }

    /// Returns the entry of an alternative.
    fn find(&self, table: TableId, alternative: &Alternative<'_>) -> Option<EntryId> {
        let Some(wanted) = Wish::value_of(alternative) else {
            let id = self.interned.get(&self.hasher.hash_one(alternative))?;
            let known = self.get(*id)?.wish.alternative();
            return (known.as_ref() == Some(alternative)).then_some(*id);
        };
        let (field, value) = wanted;
        let key = Key::of_field(&self.hasher, table, *field, value);
        let is_wanted = |entry: &Entry| {
            entry.table == table && matches!(&entry.wish, Wish::Value(value) if value == wanted)
        };
        self.values_of(Chain::Keyed(key))
            .find_map(|(id, entry)| is_wanted(entry).then_some(id))
    }

    fn add(&mut self, table: TableId, wish: Wish, member: Member) -> EntryId {
        self.tables.enter(table, wish.used());
        let id = number(self.slab.insert(Entry {
            wish,
            members: Members::One(member),
            table,
            previous: NONE,
            next: NONE,
        }));
        if let Some(alternative) = self.get(id).and_then(|entry| entry.wish.alternative()) {
            let hash = self.hasher.hash_one(alternative);
            self.interned.entry(hash).or_insert(id);
        }
        self.link(id);
        id
    }

    fn remove(&mut self, id: EntryId) {
        self.unlink(id);
        let Some(entry) = self.slab.try_remove(id as usize) else {
            return;
        };
        if let Some(alternative) = entry.wish.alternative() {
            let hash = self.hasher.hash_one(alternative);
            if self.interned.get(&hash) == Some(&id) {
                self.interned.remove(&hash);
            }
        }
        self.tables.leave(entry.table, entry.wish.used());
    }

    /// Returns the access key whose chain is the shortest now.
    fn choose_access(&self, table: TableId, alternative: &Alternative<'_>) -> Access {
        Access::candidates(alternative)
            .take(MAX_CANDIDATES)
            .filter_map(|access| {
                let key = access.key(&self.hasher, table, alternative)?;
                Some((self.compared_length(key), access))
            })
            .min_by_key(|(length, _)| *length)
            .map_or(Access::PLAIN, |(_, access)| access)
    }

    fn compared_length(&self, key: Key) -> usize {
        self.chain(Chain::Keyed(key))
            .take(MAX_COMPARED_LENGTH)
            .count()
    }

    /// Goes over the entries of a chain.
    fn chain(&self, chain: Chain) -> impl Iterator<Item = (EntryId, &Entry)> {
        let at = |id| Some((id, self.get(id)?));
        std::iter::successors(at(self.head(chain)), move |(_, entry)| at(entry.next))
    }

    /// Goes over the values in front of a chain: one, or a few that share a hash.
    fn values_of(&self, chain: Chain) -> impl Iterator<Item = (EntryId, &Entry)> {
        self.chain(chain)
            .take_while(|(_, entry)| entry.wish.is_value())
    }

    /// Puts an entry in front of its chain, or, if it is not a value, behind the values.
    fn link(&mut self, id: EntryId) {
        let Some(entry) = self.get(id) else {
            return;
        };
        let chain = entry.wish.chain(&self.hasher, entry.table);
        let previous = if entry.wish.is_value() {
            NONE
        } else {
            self.values_of(chain).last().map_or(NONE, |(id, _)| id)
        };
        let next = match self.slab.get_mut(previous as usize) {
            Some(previous) => std::mem::replace(&mut previous.next, id),
            None => {
                let next = self.head(chain);
                self.set_head(chain, id);
                next
            }
        };
        if let Some(next) = self.slab.get_mut(next as usize) {
            next.previous = id;
        }
        if let Some(entry) = self.slab.get_mut(id as usize) {
            (entry.previous, entry.next) = (previous, next);
        }
    }

    /// Takes an entry out of its chain.
    fn unlink(&mut self, id: EntryId) {
        let Some(entry) = self.get(id) else {
            return;
        };
        let (previous, next) = (entry.previous, entry.next);
        if self.get(previous).is_none() {
            let chain = entry.wish.chain(&self.hasher, entry.table);
            self.set_head(chain, next);
        }
        if let Some(previous) = self.slab.get_mut(previous as usize) {
            previous.next = next;
        }
        if let Some(next) = self.slab.get_mut(next as usize) {
            next.previous = previous;
        }
    }

    fn set_head(&mut self, chain: Chain, first: EntryId) {
        match chain {
            Chain::Keyed(key) if first == NONE => drop(self.heads.remove(&key)),
            Chain::Keyed(key) => drop(self.heads.insert(key, first)),
            Chain::Plain(table) => self.tables.set_plain(table, first),
        }
    }

    /// Returns whether nothing is left of all that was added.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty() && self.interned.is_empty() && self.heads.is_empty()
    }

    /// Returns the length of the longest chain with a key.
    #[cfg(test)]
    pub(super) fn longest_chain(&self) -> usize {
        let lengths = self.heads.keys().map(|key| self.compared_length(*key));
        lengths.max().unwrap_or(0)
    }
}

/// Takes keys that are SipHashes already as they are. A table uses both ends of a hash, so half of one stands at both.
#[derive(Debug, Default, Clone, Copy)]
struct TakeHash(u64);

type Prehashed = BuildHasherDefault<TakeHash>;

impl Hasher for TakeHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u32(&mut self, half: u32) {
        self.0 = u64::from(half) << 32 | u64::from(half);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
