//! Which connections of one shard want an event. The cost of a match follows the hits, not the subscriptions.
//!
//! ```text
//! event type ─▶ tables of the patterns that cover it        (one hash look-up for each length of prefix in use)
//!                 ├─▶ chain of entries without an access key
//!                 └─▶ (table, field, value) ─▶ chain of entries ─▶ constraints and filters ─▶ members (slots)
//! ```
//!
//! An *entry* is one alternative of a subscription: pattern, constraints, filters. Equal ones are one entry with many
//! members, so that a filter that 100,000 connections share is evaluated once. An entry is found by one of its
//! constraints, or by one attribute that a filter `exact` names; the one that shared its value with the fewest others
//! when the entry was made. Everything else is verified.
//!
//! # Invariants
//! - Each entry is in exactly one chain, and has at least one member.
//! - Members of entries and memberships of slots point at each other; both are removed in constant time.
//! - A constraint `null` is met by a missing value and is never an access key.
//! - Keys that clients choose are hashed with SipHash under a random key.

mod entry;
mod search;
mod slots;
mod table;

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use slab::Slab;

use self::entry::{Access, Entry, Members, NONE};
use self::slots::{Member, Membership, Slots};
use self::table::{TableId, Tables};
use crate::event::CloudEvent;
use crate::subscription::{Alternative, EventView, Fields, Subscription, Subscriptions};

/// The place of a connection within its shard; dense, from 0.
pub type Slot = u32;

/// The position of an entry in the slab.
type EntryId = u32;

/// Up to this many candidates for the access key of an entry are compared.
const MAX_CANDIDATES: usize = 16;

/// Chains are compared up to this length.
const MAX_COMPARED_LENGTH: usize = 32;

/// Which connections of one shard want an event.
#[derive(Debug, Default)]
pub struct Index {
    hasher: RandomState,
    tables: Tables,
    entries: Slab<Entry>,
    /// The entry of an alternative, by the alternative's hash. Of two with the same hash only one is found, which costs
    /// memory and not correctness.
    interned: HashMap<u64, EntryId, Prehashed>,
    /// The first entry of each chain, by the hash of table and access key.
    chains: HashMap<u64, EntryId, Prehashed>,
    slots: Slots,
    subscriptions: usize,
}

impl Index {
    /// Makes an empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a connection; a slot that is in use is emptied first.
    pub fn insert(&mut self, slot: Slot, subscriptions: &Subscriptions) {
        self.remove(slot);
        let mut memberships = Vec::new();
        for subscription in subscriptions.iter() {
            for (position, alternative) in subscription.alternatives().enumerate() {
                let entry = self.obtain(subscription, position, &alternative);
                let member = Member {
                    slot,
                    index: number(memberships.len()),
                };
                if let Some(found) = self.entries.get_mut(entry as usize) {
                    memberships.push(Membership {
                        entry,
                        position: found.members.push(member),
                    });
                }
            }
        }
        self.subscriptions += subscriptions.len();
        self.slots
            .fill(slot, memberships, number(subscriptions.len()));
    }

    /// Removes a connection; the cost follows its own subscriptions. An empty slot is left as it is.
    pub fn remove(&mut self, slot: Slot) {
        let (mut memberships, subscriptions) = self.slots.empty(slot);
        self.subscriptions -= subscriptions as usize;
        let mut rest = memberships.as_mut_slice();
        while let Some((membership, others)) = rest.split_first_mut() {
            self.leave(slot, *membership, others);
            rest = others;
        }
    }

    /// Adds to `hits` every slot that wants the event, each once, in no order that means anything.
    ///
    /// `fields` are those of [`crate::subscription::Extractors::extract`] for the event.
    pub fn matches(&mut self, event: &CloudEvent, fields: &Fields, hits: &mut Vec<Slot>) {
        let view = EventView::new(event, fields);
        self.search(&view, hits);
    }

    /// Returns how many subscriptions the connections have together.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// Returns how many different alternatives there are.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Returns the entry of an alternative, which is the one at `position` of `subscription`; makes it when missing.
    fn obtain(
        &mut self,
        subscription: &Subscription,
        position: usize,
        alternative: &Alternative<'_>,
    ) -> EntryId {
        let hash = self.hasher.hash_one(alternative);
        if let Some(id) = self.interned.get(&hash) {
            let known = self.entries.get(*id as usize);
            if known.is_some_and(|entry| entry.alternative() == *alternative) {
                return *id;
            }
        }
        let table = self.tables.obtain(alternative.pattern);
        let access = self.choose_access(table, alternative);
        let entry = Entry {
            subscription: subscription.clone(),
            position: number(position),
            members: Members::default(),
            table,
            access,
            previous: NONE,
            next: NONE,
        };
        let id = number(self.entries.insert(entry));
        self.interned.entry(hash).or_insert(id);
        self.tables.enter(table, access.used_by(alternative));
        self.link(id);
        id
    }

    /// Returns the access key whose chain is the shortest now.
    fn choose_access(&self, table: TableId, alternative: &Alternative<'_>) -> Access {
        Access::candidates(alternative)
            .take(MAX_CANDIDATES)
            .filter_map(|access| {
                Some((
                    self.chain_length(access.key(&self.hasher, table, alternative)?),
                    access,
                ))
            })
            .min_by_key(|(length, _)| *length)
            .map_or(Access::PLAIN, |(_, access)| access)
    }

    fn chain_length(&self, key: u64) -> usize {
        let head = self.chains.get(&key).copied().unwrap_or(NONE);
        std::iter::successors(self.entries.get(head as usize), |entry| {
            self.entries.get(entry.next as usize)
        })
        .take(MAX_COMPARED_LENGTH)
        .count()
    }

    /// Puts an entry in front of its chain.
    fn link(&mut self, id: EntryId) {
        let Some((key, table)) = self.chain_of(id) else {
            return;
        };
        let next = match key {
            Some(key) => self.chains.insert(key, id).unwrap_or(NONE),
            None => self.tables.replace_plain(table, id),
        };
        if let Some(entry) = self.entries.get_mut(id as usize) {
            entry.next = next;
        }
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.previous = id;
        }
    }

    /// Takes an entry out of its chain.
    fn unlink(&mut self, id: EntryId) {
        let Some((key, table)) = self.chain_of(id) else {
            return;
        };
        let Some(entry) = self.entries.get(id as usize) else {
            return;
        };
        let (previous, next) = (entry.previous, entry.next);
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.previous = previous;
        }
        if let Some(previous) = self.entries.get_mut(previous as usize) {
            previous.next = next;
            return;
        }
        match key {
            Some(key) if next == NONE => drop(self.chains.remove(&key)),
            Some(key) => drop(self.chains.insert(key, next)),
            None => drop(self.tables.replace_plain(table, next)),
        }
    }

    /// Returns the key of the chain that an entry is in, `None` for the plain chain of its table.
    fn chain_of(&self, id: EntryId) -> Option<(Option<u64>, TableId)> {
        let entry = self.entries.get(id as usize)?;
        Some((
            entry
                .access
                .key(&self.hasher, entry.table, &entry.alternative()),
            entry.table,
        ))
    }

    /// Ends one membership of `slot`; `others` are those of the same slot that have not ended yet.
    fn leave(&mut self, slot: Slot, ended: Membership, others: &mut [Membership]) {
        let Some(entry) = self.entries.get_mut(ended.entry as usize) else {
            return;
        };
        if let Some(moved) = entry.members.swap_remove(ended.position) {
            let was_last = number(entry.members.as_slice().len());
            let same =
                |other: &&mut Membership| other.entry == ended.entry && other.position == was_last;
            if moved.slot != slot {
                self.slots.relocate(moved, ended.position);
            } else if let Some(moved) = others.iter_mut().find(same) {
                moved.position = ended.position;
            }
        }
        if entry.members.is_empty() {
            self.discard(ended.entry);
        }
    }

    fn discard(&mut self, id: EntryId) {
        self.unlink(id);
        let Some(entry) = self.entries.try_remove(id as usize) else {
            return;
        };
        let alternative = entry.alternative();
        let hash = self.hasher.hash_one(alternative);
        if self.interned.get(&hash) == Some(&id) {
            self.interned.remove(&hash);
        }
        self.tables
            .leave(entry.table, entry.access.used_by(&alternative));
    }
}

/// Narrows a count; entries, slots and subscriptions of one shard stay far below 2^32.
fn number(count: usize) -> u32 {
    u32::try_from(count).expect("one shard has fewer than 2^32 entries")
}

/// Takes keys that are SipHashes already as they are.
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

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;
