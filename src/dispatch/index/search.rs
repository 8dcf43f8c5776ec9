//! Follows an event through the index.

use slab::Slab;

use super::entry::{Entry, attribute_key, field_key};
use super::slots::Slots;
use super::table::TableId;
use super::{EntryId, Index, Slot};
use crate::subscription::EventView;

impl Index {
    pub(super) fn search(&mut self, view: &EventView<'_>, hits: &mut Vec<Slot>) {
        let Self {
            hasher,
            tables,
            entries,
            chains,
            slots,
            ..
        } = self;
        slots.begin_search();
        let mut search = Search {
            entries,
            slots,
            view,
            hits,
        };
        for id in tables.covering(view.event_type()) {
            let Some(table) = tables.get(id) else {
                continue;
            };
            search.follow(table.plain, id);
            for field in table.fields() {
                let Some(value) = view.fields().get(field) else {
                    continue;
                };
                if let Some(first) = chains.get(&field_key(hasher, id, field, value)) {
                    search.follow(*first, id);
                }
            }
            if table.uses_attributes() {
                for (name, value) in view.attributes().iter() {
                    if let Some(first) = chains.get(&attribute_key(hasher, id, name, value)) {
                        search.follow(*first, id);
                    }
                }
            }
        }
    }
}

/// One event on its way through the chains.
struct Search<'a, 'e> {
    entries: &'a Slab<Entry>,
    slots: &'a mut Slots,
    view: &'a EventView<'e>,
    hits: &'a mut Vec<Slot>,
}

impl Search<'_, '_> {
    /// Reports the members of all entries from `first` on that are met; those of other tables share a hash only.
    fn follow(&mut self, first: EntryId, table: TableId) {
        let mut next = first;
        while let Some(entry) = self.entries.get(next as usize) {
            next = entry.next;
            if entry.table == table && entry.alternative().is_met(self.view) {
                let wanting = entry.members.as_slice().iter().map(|member| member.slot);
                self.hits
                    .extend(wanting.filter(|slot| self.slots.hit(*slot)));
            }
        }
    }
}
