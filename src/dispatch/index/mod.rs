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
//! when the entry was made. Everything else is verified: a hash only ever says where to look.
//!
//! In a large index a look-up waits for memory most of the time. So the usual entry, one value of one field, is one line of
//! the processor's cache that has all there is to verify and its only member, and a shard looks up to 64 events up at the
//! same time, step by step ([`Index::matches_all`]). A slot is marked as hit only where several entries hit.
//!
//! # Invariants
//! - Each entry is in exactly one chain, and has at least one member.
//! - Members of entries and memberships of slots point at each other; both are removed in constant time.
//! - A slot is a member of an entry at most once.
//! - In front of a chain are the entries of one value, which are found again by that.
//! - A constraint `null` is met by a missing value and is never an access key.
//! - Keys that clients choose are hashed with SipHash under a random key.

mod entries;
mod entry;
mod hits;
mod search;
mod slots;
mod table;

use self::entries::Entries;
pub use self::hits::Hits;
use self::search::Lookups;
use self::slots::{Member, Slots};
use crate::event::CloudEvent;
use crate::subscription::{EventView, Fields, Subscriptions};

/// The place of a connection within its shard; dense, from 0.
pub type Slot = u32;

/// The position of an entry in the slab.
type EntryId = u32;

/// Up to this many events are looked up together.
const MAX_EVENTS: usize = 64;

/// When so many slots were hit, no further event is looked up.
const ENOUGH_HITS: usize = 65_536;

/// Which connections of one shard want an event.
#[derive(Debug, Default)]
pub struct Index {
    entries: Entries,
    slots: Slots,
    lookups: Lookups,
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
                let member = Member {
                    slot,
                    index: number(memberships.len()),
                };
                let joined = self
                    .entries
                    .join(subscription, position, &alternative, member);
                memberships.extend(joined);
            }
        }
        self.subscriptions += subscriptions.len();
        self.slots
            .fill(slot, memberships, number(subscriptions.len()));
    }

    /// Removes a connection; the cost follows its own subscriptions. An empty slot is left as it is.
    pub fn remove(&mut self, slot: Slot) {
        let (memberships, subscriptions) = self.slots.empty(slot);
        self.subscriptions -= subscriptions as usize;
        for ended in memberships.as_slice() {
            if let Some(moved) = self.entries.leave(ended.entry, ended.position) {
                self.slots.relocate(moved, ended.position);
            }
        }
    }

    /// Adds to `hits` every slot that wants the event, each once, in no order that means anything.
    ///
    /// `fields` are those of [`crate::subscription::Extractors::extract`] for the event. For more than one event,
    /// [`Self::matches_all`] takes less time.
    pub fn matches(&mut self, event: &CloudEvent, fields: &Fields, hits: &mut Vec<Slot>) {
        let view = EventView::new(event, fields);
        self.lookups
            .collect(&self.entries, std::slice::from_ref(&view));
        let expected = self.lookups.look_up(&self.entries);
        hits.reserve(expected.min(ENOUGH_HITS));
        self.lookups
            .finish(&self.entries, &mut self.slots, (0, &view), hits);
    }

    /// Replaces `hits` by the slots that want the next events: for the first 64 of `events`, or for fewer, so that the
    /// slots do not take more memory than those of one event and 256 KiB. [`Hits::len`] says for how many events; it is 0
    /// only without events.
    ///
    /// The hits are those of the index as it is now. An event and its fields are as for [`Self::matches`].
    pub fn matches_all<'a>(
        &mut self,
        events: impl IntoIterator<Item = (&'a CloudEvent, &'a Fields)>,
        hits: &mut Hits,
    ) {
        hits.clear();
        let events = events.into_iter().take(MAX_EVENTS);
        let views: Vec<_> = events
            .map(|(event, fields)| EventView::new(event, fields))
            .collect();
        let count = self.lookups.collect(&self.entries, &views);
        let expected = self.lookups.look_up(&self.entries);
        hits.slots.reserve(expected.min(ENOUGH_HITS));
        for (position, view) in views.iter().take(count).enumerate() {
            self.lookups.finish(
                &self.entries,
                &mut self.slots,
                (position, view),
                &mut hits.slots,
            );
            hits.end_event();
            if hits.slots.len() >= ENOUGH_HITS {
                break;
            }
        }
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

    /// Returns how often an event was compared with an alternative until now.
    #[must_use]
    pub fn comparisons(&self) -> u64 {
        self.lookups.comparisons
    }
}

/// Narrows a count; entries, slots and subscriptions of one shard stay far below 2^32.
fn number(count: usize) -> u32 {
    u32::try_from(count).expect("one shard has fewer than 2^32 entries")
}

#[cfg(test)]
mod tests;
