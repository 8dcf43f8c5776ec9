//! Follows events through the index, several at a time.
//!
//! In a large index nearly every step of a look-up waits for memory. So a step is done for all events before the next one
//! begins: the processor waits for many lines of its cache at the same time. Nothing is carried from one search to another.

use super::entries::Entries;
use super::entry::{Chain, Key, Members, NONE};
use super::slots::Slots;
use super::table::TableId;
use super::{EntryId, Slot};
use crate::subscription::EventView;

/// Up to this many chains are looked up together, and those of one event in any case.
const MAX_LOOKUPS: usize = 1024;

/// One chain in which an event has to be looked for.
#[derive(Debug)]
pub(super) struct Lookup {
    chain: Chain,
    table: TableId,
    /// The first entry of the chain; [`NONE`] before it was looked up.
    first: EntryId,
}

/// What a search needs for a while; keeps its memory from one search to the next.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    all: Vec<Lookup>,
    /// Where the look-ups of each event end.
    ends: Vec<usize>,
    /// The tables that cover the type of the event at hand.
    covering: Vec<TableId>,
    /// How often an event was compared with an entry, in all searches.
    pub(super) comparisons: u64,
}

impl Lookups {
    /// Collects the chains for the first events, as many as fit; returns for how many events, at least one.
    pub(super) fn collect(&mut self, entries: &Entries, views: &[EventView<'_>]) -> usize {
        self.all.clear();
        self.all.shrink_to(MAX_LOOKUPS);
        self.ends.clear();
        let mut covered_type = None;
        for view in views {
            let event_type = view.event_type();
            if covered_type != Some(event_type) {
                covered_type = Some(event_type);
                self.covering.clear();
                self.covering.extend(entries.tables.covering(event_type));
            }
            self.collect_one(entries, view);
            self.ends.push(self.all.len());
            if self.all.len() >= MAX_LOOKUPS {
                break;
            }
        }
        self.ends.len()
    }

    fn collect_one(&mut self, entries: &Entries, view: &EventView<'_>) {
        let hasher = &entries.hasher;
        for id in &self.covering {
            let Some(table) = entries.tables.get(*id) else {
                continue;
            };
            let mut add = |chain| {
                self.all.push(Lookup {
                    chain,
                    table: *id,
                    first: NONE,
                });
            };
            if table.plain != NONE {
                add(Chain::Plain(*id));
            }
            for field in table.fields() {
                if let Some(value) = view.fields().get(field) {
                    add(Chain::Keyed(Key::of_field(hasher, *id, field, value)));
                }
            }
            if table.uses_attributes() {
                for (name, value) in view.attributes().iter() {
                    add(Chain::Keyed(Key::of_attribute(hasher, *id, name, value)));
                }
            }
        }
    }

    /// Looks the first entries of all chains up, then looks at these entries. Returns how many members they have, which is
    /// about the number of hits.
    #[must_use]
    pub(super) fn look_up(&mut self, entries: &Entries) -> usize {
        for lookup in &mut self.all {
            lookup.first = entries.head(lookup.chain);
        }
        let first = self.all.iter().map(|lookup| entries.get(lookup.first));
        first
            .map(|entry| match entry.map(|entry| &entry.members) {
                None => 0,
                Some(Members::One(_)) => 1,
                Some(Members::Many(members)) => members.len(),
            })
            .sum()
    }

    /// Adds to `hits` each slot once that wants the event at `position`.
    pub(super) fn finish(
        &mut self,
        entries: &Entries,
        slots: &mut Slots,
        (position, view): (usize, &EventView<'_>),
        hits: &mut Vec<Slot>,
    ) {
        let start = position
            .checked_sub(1)
            .map_or(Some(&0), |before| self.ends.get(before));
        let range = start.zip(self.ends.get(position));
        let lookups = range.and_then(|(start, end)| self.all.get(*start..*end));
        let mut found = Found {
            slots,
            begin: hits.len(),
            hits,
            is_noted: false,
        };
        for lookup in lookups.unwrap_or_default() {
            let mut next = lookup.first;
            while let Some(entry) = entries.get(next) {
                next = entry.next;
                self.comparisons += 1;
                // An entry of another table shares a hash only.
                if entry.table == lookup.table && entry.wish.is_met(view) {
                    found.add(&entry.members);
                }
            }
        }
    }
}

/// The slots that want one event.
struct Found<'a> {
    slots: &'a mut Slots,
    hits: &'a mut Vec<Slot>,
    /// Where in `hits` those of this event begin.
    begin: usize,
    /// Whether the slots know that they are hit.
    is_noted: bool,
}

impl Found<'_> {
    /// Adds the members of one entry, which are distinct, without those of earlier entries.
    fn add(&mut self, members: &Members) {
        let members = members.as_slice().iter().map(|member| member.slot);
        let Some(earlier) = self.hits.get(self.begin..).filter(|all| !all.is_empty()) else {
            self.hits.extend(members);
            return;
        };
        if !self.is_noted {
            self.is_noted = true;
            self.slots.begin_search();
            for slot in earlier {
                self.slots.hit(*slot);
            }
        }
        self.hits
            .extend(members.filter(|slot| self.slots.hit(*slot)));
    }
}
