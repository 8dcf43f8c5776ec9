//! A set of members that is mostly of one.

use std::collections::BTreeSet;

use super::members::Number;

/// Numbers of members; one of them takes no memory of its own, and none of many costs more than a few steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Numbers {
    One(Number),
    Many(BTreeSet<Number>),
}

impl Numbers {
    pub(super) fn insert(&mut self, number: Number) {
        match self {
            Self::One(known) => *self = Self::Many(BTreeSet::from([*known, number])),
            Self::Many(numbers) => {
                numbers.insert(number);
            }
        }
    }

    /// Removes a number; returns whether none is left, and then the set is of no use any more.
    pub(super) fn remove(&mut self, number: Number) -> bool {
        match self {
            Self::One(known) => *known == number,
            Self::Many(numbers) => {
                numbers.remove(&number);
                numbers.is_empty()
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(numbers) => numbers.len(),
        }
    }

    /// Goes over the numbers, the oldest member first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Number> {
        let (one, many) = match self {
            Self::One(number) => (Some(*number), None),
            Self::Many(numbers) => (None, Some(numbers)),
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_each_number_once_and_says_when_none_is_left() {
        let mut numbers = Numbers::One(7);
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [7]);
        for number in [3, 9, 3] {
            numbers.insert(number);
        }
        assert_eq!(
            (numbers.len(), numbers.iter().collect::<Vec<_>>()),
            (3, vec![3, 7, 9])
        );
        assert!(!numbers.remove(7));
        assert!(!numbers.remove(8));
        assert!(!numbers.remove(3));
        assert!(numbers.remove(9));
        assert!(!Numbers::One(1).remove(2));
        assert!(Numbers::One(1).remove(1));
    }
}
