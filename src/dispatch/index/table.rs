//! The patterns in use and what has to be looked up for each.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use slab::Slab;

use super::EntryId;
use super::entry::{NONE, Used};
use super::number;
use crate::subscription::{FieldId, TypePattern};

/// The position of a table in the slab.
pub(super) type TableId = u32;

/// What is known about one pattern.
#[derive(Debug)]
pub(super) struct Table {
    pattern: TypePattern,
    entries: usize,
    /// The first entry that is found by the event type alone, or [`NONE`].
    pub(super) plain: EntryId,
    /// The fields by which entries are found, with the number of these entries.
    fields: Vec<(FieldId, usize)>,
    /// How many entries are found by an attribute.
    by_attribute: usize,
}

impl Table {
    /// Goes over the fields by which entries are found.
    pub(super) fn fields(&self) -> impl Iterator<Item = FieldId> {
        self.fields.iter().map(|(field, _)| *field)
    }

    /// Returns whether entries are found by attributes.
    pub(super) fn uses_attributes(&self) -> bool {
        self.by_attribute > 0
    }
}

/// The tables of all patterns in use.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: Slab<Table>,
    exact: HashMap<Arc<str>, TableId>,
    prefixes: HashMap<Arc<str>, TableId>,
    /// The lengths of the prefixes in use, with the number of prefixes.
    prefix_lengths: BTreeMap<usize, usize>,
    all: Option<TableId>,
}

impl Tables {
    pub(super) fn get(&self, id: TableId) -> Option<&Table> {
        self.tables.get(id as usize)
    }

    /// Returns the table of `pattern`; makes it when missing.
    pub(super) fn obtain(&mut self, pattern: &TypePattern) -> TableId {
        let known = match pattern {
            TypePattern::All => self.all,
            TypePattern::Prefix(prefix) => self.prefixes.get(prefix).copied(),
            TypePattern::Exact(exact) => self.exact.get(exact).copied(),
        };
        known.unwrap_or_else(|| self.add(pattern))
    }

    fn add(&mut self, pattern: &TypePattern) -> TableId {
        let id = number(self.tables.insert(Table {
            pattern: pattern.clone(),
            entries: 0,
            plain: NONE,
            fields: Vec::new(),
            by_attribute: 0,
        }));
        match pattern {
            TypePattern::All => self.all = Some(id),
            TypePattern::Prefix(prefix) => {
                self.prefixes.insert(Arc::clone(prefix), id);
                *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
            }
            TypePattern::Exact(exact) => {
                self.exact.insert(Arc::clone(exact), id);
            }
        }
        id
    }

    /// Counts one more entry of a table.
    pub(super) fn enter(&mut self, id: TableId, used: Used) {
        let Some(table) = self.tables.get_mut(id as usize) else {
            return;
        };
        table.entries += 1;
        match used {
            Used::Plain => {}
            Used::Attributes => table.by_attribute += 1,
            Used::Field(field) => {
                match table.fields.iter_mut().find(|(known, _)| *known == field) {
                    Some((_, count)) => *count += 1,
                    None => table.fields.push((field, 1)),
                }
            }
        }
    }

    /// Counts one entry of a table less; an empty table is dropped.
    pub(super) fn leave(&mut self, id: TableId, used: Used) {
        let Some(table) = self.tables.get_mut(id as usize) else {
            return;
        };
        table.entries -= 1;
        match used {
            Used::Plain => {}
            Used::Attributes => table.by_attribute -= 1,
            Used::Field(field) => {
                if let Some((_, count)) = table.fields.iter_mut().find(|(known, _)| *known == field)
                {
                    *count -= 1;
                }
                table.fields.retain(|(_, count)| *count > 0);
            }
        }
        if table.entries == 0 {
            self.drop_table(id);
        }
    }

    fn drop_table(&mut self, id: TableId) {
        let Some(table) = self.tables.try_remove(id as usize) else {
            return;
        };
        match &table.pattern {
            TypePattern::All => self.all = None,
            TypePattern::Exact(exact) => drop(self.exact.remove(exact)),
            TypePattern::Prefix(prefix) => {
                self.prefixes.remove(prefix);
                if let Some(count) = self.prefix_lengths.get_mut(&prefix.len()) {
                    *count -= 1;
                    if *count == 0 {
                        self.prefix_lengths.remove(&prefix.len());
                    }
                }
            }
        }
    }

    /// Sets the first entry of the plain chain.
    pub(super) fn set_plain(&mut self, id: TableId, first: EntryId) {
        if let Some(table) = self.tables.get_mut(id as usize) {
            table.plain = first;
        }
    }

    /// Goes over the tables whose patterns cover `event_type`.
    pub(super) fn covering<'a>(
        &'a self,
        event_type: &'a str,
    ) -> impl Iterator<Item = TableId> + 'a {
        let prefixes = self
            .prefix_lengths
            .keys()
            .map_while(|length| event_type.as_bytes().get(..*length));
        let by_prefix = prefixes
            .filter(|start| start.ends_with(b"."))
            .filter_map(|start| std::str::from_utf8(start).ok())
            .filter_map(|start| self.prefixes.get(start).copied());
        self.exact
            .get(event_type)
            .copied()
            .into_iter()
            .chain(by_prefix)
            .chain(self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_by_every_pattern_that_covers_the_type() {
        let mut tables = Tables::default();
        let patterns = [
            "orders.created",
            "orders.*",
            "orders.eu.*",
            "invoices.*",
            "ä.*",
            "*",
        ];
        let ids: Vec<TableId> = patterns
            .iter()
            .map(|text| {
                let id = tables.obtain(&TypePattern::parse(text).unwrap());
                tables.enter(id, Used::Plain);
                id
            })
            .collect();
        for (event_type, covering) in [
            ("orders.created", &[0, 1, 5][..]),
            ("orders.eu.created", &[1, 2, 5]),
            ("orders.", &[1, 5]),
            ("orders", &[5]),
            ("ordersXeu.", &[5]),
            ("ä.x", &[4, 5]),
            ("ää", &[5]),
            ("", &[5]),
        ] {
            let expected: Vec<TableId> = covering.iter().map(|position| ids[*position]).collect();
            assert_eq!(
                tables.covering(event_type).collect::<Vec<_>>(),
                expected,
                "{event_type}"
            );
        }
        for id in ids {
            tables.leave(id, Used::Plain);
        }
        assert_eq!(tables.covering("orders.created").count(), 0);
        assert!(tables.prefix_lengths.is_empty() && tables.tables.is_empty());
    }
}
