//! One alternative of a subscription with those who want it.

use std::hash::{BuildHasher, RandomState};

use super::EntryId;
use super::slots::Member;
use super::table::TableId;
use crate::event::Scalar;
use crate::subscription::{Alternative, FieldId, Subscription};

/// No entry.
pub(super) const NONE: EntryId = EntryId::MAX;

/// One alternative of a subscription with those who want it.
#[derive(Debug)]
pub(super) struct Entry {
    /// The first subscription that had this alternative.
    pub(super) subscription: Subscription,
    pub(super) members: Members,
    /// Which alternative of `subscription` it is.
    pub(super) position: u32,
    pub(super) table: TableId,
    pub(super) access: Access,
    /// The entry before this one in its chain, or [`NONE`].
    pub(super) previous: EntryId,
    /// The entry after this one in its chain, or [`NONE`].
    pub(super) next: EntryId,
}

impl Entry {
    pub(super) fn alternative(&self) -> Alternative<'_> {
        self.subscription.alternative(self.position as usize)
    }
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
    ) -> Option<u64> {
        let position = self.0 as usize;
        if let Some((field, value)) = alternative.constraints.get(position) {
            // A missing value meets the constraint, and there is no key to find it by.
            return (*value != Scalar::Null).then(|| field_key(hasher, table, *field, value));
        }
        let pair = alternative
            .filters
            .iter()
            .flat_map(|filter| filter.exact_pairs())
            .nth(position - alternative.constraints.len());
        pair.map(|(name, value)| attribute_key(hasher, table, name, value))
    }

    pub(super) fn used_by(self, alternative: &Alternative<'_>) -> Used {
        match alternative.constraints.get(self.0 as usize) {
            _ if self == Self::PLAIN => Used::Plain,
            Some((field, _)) => Used::Field(*field),
            None => Used::Attributes,
        }
    }
}

/// Returns the key under which entries of `table` are found that want this value.
pub(super) fn field_key(
    hasher: &RandomState,
    table: TableId,
    field: FieldId,
    value: &Scalar,
) -> u64 {
    hasher.hash_one((table, field, value))
}

/// Returns the key under which entries of `table` are found that want exactly this text.
pub(super) fn attribute_key(hasher: &RandomState, table: TableId, name: &str, value: &str) -> u64 {
    hasher.hash_one((table, name, value))
}

/// The slots that want an entry; one takes no memory of its own.
#[derive(Debug)]
pub(super) enum Members {
    One(Member),
    Many(Vec<Member>),
}

impl Default for Members {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Members {
    pub(super) fn as_slice(&self) -> &[Member] {
        match self {
            Self::One(member) => std::slice::from_ref(member),
            Self::Many(members) => members,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Adds a member and returns its position.
    pub(super) fn push(&mut self, member: Member) -> u32 {
        match self {
            Self::Many(members) if members.is_empty() => {
                *self = Self::One(member);
                0
            }
            Self::Many(members) => {
                members.push(member);
                super::number(members.len() - 1)
            }
            Self::One(first) => {
                *self = Self::Many(vec![*first, member]);
                1
            }
        }
    }

    /// Removes the member at `position` and returns the one that is there now, if any.
    pub(super) fn swap_remove(&mut self, position: u32) -> Option<Member> {
        let Self::Many(members) = self else {
            *self = Self::default();
            return None;
        };
        let position = position as usize;
        if position >= members.len() {
            return None;
        }
        members.swap_remove(position);
        if members.len() * 4 < members.capacity() {
            members.shrink_to(members.len() * 2);
        }
        members.get(position).copied()
    }
}
