//! One alternative of a subscription with those who want it.

use std::hash::{BuildHasher, RandomState};

use super::EntryId;
use super::slots::Member;
use super::table::TableId;
use crate::event::Scalar;
use crate::subscription::{Alternative, Constraint, EventView, FieldId, Subscription};

/// No entry.
pub(super) const NONE: EntryId = EntryId::MAX;

/// One alternative of a subscription with those who want it: one line of the processor's cache.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Entry {
    pub(super) wish: Wish,
    pub(super) members: Members,
    pub(super) table: TableId,
    /// The entry before this one in its chain, or [`NONE`].
    pub(super) previous: EntryId,
    /// The entry after this one in its chain, or [`NONE`].
    pub(super) next: EntryId,
}

/// What an event of the table's types has to be like.
#[derive(Debug)]
pub(super) enum Wish {
    /// One field has this value, never `null`, and there are no filters. It is here so that a hit needs nothing but the
    /// entry.
    Value(Constraint),
    /// Anything else.
    Alternative {
        /// The first subscription that had this alternative.
        subscription: Subscription,
        /// Which alternative of `subscription` it is.
        position: u32,
        access: Access,
    },
}

/// By what an entry is found: the position of a constraint, or, counted on, of an attribute in a filter `exact`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access(u32);

/// What the table of an entry has to look up so that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Used {
    /// Nothing: the chain of entries without a key.
    Plain,
    /// The value of this field.
    Field(FieldId),
    /// All attributes of the event.
    Attributes,
}

/// The hash of a table and a value, under a random key. Of two with the same hash the entries are in one chain, which
/// costs time and not correctness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(u32);

/// Where an entry is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chain {
    /// Among those of the table without a key.
    Plain(TableId),
    /// Among those with this key.
    Keyed(Key),
}

impl Wish {
    /// Returns the constraint of an alternative that is nothing but one value.
    pub(super) fn value_of<'a>(alternative: &Alternative<'a>) -> Option<&'a Constraint> {
        match (alternative.constraints, alternative.filters) {
            ([constraint @ (_, value)], []) if *value != Scalar::Null => Some(constraint),
            _ => None,
        }
    }

    pub(super) fn is_value(&self) -> bool {
        matches!(self, Self::Value(_))
    }

    /// Returns whether an event of the table's types is wanted.
    pub(super) fn is_met(&self, view: &EventView<'_>) -> bool {
        match self {
            Self::Value((field, value)) => view.fields().get(*field) == Some(value),
            Self::Alternative { .. } => self
                .alternative()
                .is_some_and(|alternative| alternative.is_met(view)),
        }
    }

    /// Returns the alternative, if this is not a value.
    pub(super) fn alternative(&self) -> Option<Alternative<'_>> {
        match self {
            Self::Value(_) => None,
            Self::Alternative {
                subscription,
                position,
                ..
            } => subscription.alternative(*position as usize),
        }
    }

    /// Returns what `table` has to look up so that this is found.
    pub(super) fn used(&self) -> Used {
        match (self, self.alternative()) {
            (Self::Value((field, _)), _) => Used::Field(*field),
            (Self::Alternative { access, .. }, Some(alternative)) => access.used_by(&alternative),
            (Self::Alternative { .. }, None) => Used::Plain,
        }
    }

    /// Returns where in `table` this is found.
    pub(super) fn chain(&self, hasher: &RandomState, table: TableId) -> Chain {
        let key = match (self, self.alternative()) {
            (Self::Value((field, value)), _) => Some(Key::of_field(hasher, table, *field, value)),
            (Self::Alternative { access, .. }, Some(alternative)) => {
                access.key(hasher, table, &alternative)
            }
            (Self::Alternative { .. }, None) => None,
        };
        key.map_or(Chain::Plain(table), Chain::Keyed)
    }
}

impl Access {
    /// By nothing but the event type.
    pub(super) const PLAIN: Self = Self(u32::MAX);

    /// Goes over all positions; not all of them can be a key.
    pub(super) fn candidates(alternative: &Alternative<'_>) -> impl Iterator<Item = Self> {
        let attributes: usize = alternative
            .filters
            .iter()
            .map(|filter| filter.exact_pairs().len())
            .sum();
        (0..)
            .map(Self)
            .take(alternative.constraints.len() + attributes)
    }

    /// Returns the key of the chain, `None` if the position cannot be one.
    pub(super) fn key(
        self,
        hasher: &RandomState,
        table: TableId,
        alternative: &Alternative<'_>,
    ) -> Option<Key> {
        let position = self.0 as usize;
        if let Some((field, value)) = alternative.constraints.get(position) {
            // A missing value meets the constraint, and there is no key to find it by.
            return (*value != Scalar::Null).then(|| Key::of_field(hasher, table, *field, value));
        }
        let pair = alternative
            .filters
            .iter()
            .flat_map(|filter| filter.exact_pairs())
            .nth(position - alternative.constraints.len());
        pair.map(|(name, value)| Key::of_attribute(hasher, table, name, value))
    }

    fn used_by(self, alternative: &Alternative<'_>) -> Used {
        match alternative.constraints.get(self.0 as usize) {
            _ if self == Self::PLAIN => Used::Plain,
            Some((field, _)) => Used::Field(*field),
            None => Used::Attributes,
        }
    }
}

impl Key {
    /// Returns the key under which entries of `table` are found that want this value.
    pub(super) fn of_field(
        hasher: &RandomState,
        table: TableId,
        field: FieldId,
        value: &Scalar,
    ) -> Self {
        Self::narrow(hasher.hash_one((table, field, value)))
    }

    /// Returns the key under which entries of `table` are found that want exactly this text.
    pub(super) fn of_attribute(
        hasher: &RandomState,
        table: TableId,
        name: &str,
        value: &str,
    ) -> Self {
        Self::narrow(hasher.hash_one((table, name, value)))
    }

    fn narrow(hash: u64) -> Self {
        Self(u32::try_from(hash >> 32).unwrap_or_default())
    }
}

/// The slots that want an entry, each once; one takes no memory of its own.
#[derive(Debug)]
pub(super) enum Members {
    One(Member),
    /// Several.
    #[expect(
        clippy::box_collection,
        reason = "a vector of 24 bytes does not fit into the line of an entry, most of which have one member"
    )]
    Many(Box<Vec<Member>>),
}

impl Members {
    pub(super) fn as_slice(&self) -> &[Member] {
        match self {
            Self::One(member) => std::slice::from_ref(member),
            Self::Many(members) => members,
        }
    }

    /// Adds a member and returns its position; `None` if its slot came last and so is there already.
    pub(super) fn push(&mut self, member: Member) -> Option<u32> {
        let last = self.as_slice().last();
        if last.is_some_and(|last| last.slot == member.slot) {
            return None;
        }
        match self {
            Self::Many(members) => members.push(member),
            Self::One(first) => *self = Self::Many(Box::new(vec![*first, member])),
        }
        Some(super::number(self.as_slice().len() - 1))
    }

    /// Removes the member at `position`, unless it is the only one. Returns the member that is there now, if any.
    pub(super) fn swap_remove(&mut self, position: u32) -> Option<Member> {
        let Self::Many(members) = self else {
            return None;
        };
        let position = position as usize;
        if position >= members.len() {
            return None;
        }
        members.swap_remove(position);
        let moved = members.get(position).copied();
        if members.len() * 4 < members.capacity() {
            members.shrink_to(members.len() * 2);
        }
        if let [only] = members.as_slice() {
            *self = Self::One(*only);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_of_the_cache() {
        assert_eq!(size_of::<Entry>(), 64);
        assert_eq!(size_of::<Option<Entry>>(), 64);
    }
}
