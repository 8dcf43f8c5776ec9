//! What a subscription wants beside a type, in as little memory as it needs.

use super::filter::Filter;
use super::subscriptions::Constraint;

/// What has to hold beside the type. Each wish has one form only: the first that can say it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    /// Nothing.
    All,
    /// This constraint.
    One(Constraint),
    /// Anything else.
    Any(Box<Conditions>),
}

/// One of several lists of constraints, and filters.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Conditions {
    /// The constraints of all alternatives, one after the other; these are sorted and distinct, and none is empty.
    /// Without a constraint there is one alternative, which is empty.
    constraints: Box<[Constraint]>,
    /// Where each alternative but the last one ends.
    ends: Box<[u32]>,
    /// Sorted and distinct.
    filters: Box<[Filter]>,
}

impl Wanted {
    /// Takes the simplest form; `one_of` is sorted and distinct, and none is empty.
    pub(super) fn new(one_of: Vec<Vec<Constraint>>, filters: Box<[Filter]>) -> Self {
        let mut ends = Vec::new();
        let mut constraints = Vec::new();
        for alternative in one_of {
            if !constraints.is_empty() {
                ends.push(u32::try_from(constraints.len()).expect("a list is shorter than 4 GiB"));
            }
            constraints.extend(alternative);
        }
        if filters.is_empty() && constraints.len() < 2 {
            return constraints.pop().map_or(Self::All, Self::One);
        }
        Self::Any(Box::new(Conditions {
            constraints: constraints.into(),
            ends: ends.into(),
            filters,
        }))
    }

    /// Returns how many alternatives there are; at least one.
    pub(super) fn alternatives(&self) -> usize {
        match self {
            Self::All | Self::One(_) => 1,
            Self::Any(conditions) => conditions.ends.len() + 1,
        }
    }

    /// Returns the constraints of one alternative; `None` beyond the last one.
    pub(super) fn constraints(&self, position: usize) -> Option<&[Constraint]> {
        match self {
            Self::All => (position == 0).then_some(&[]),
            Self::One(constraint) => (position == 0).then(|| std::slice::from_ref(constraint)),
            Self::Any(conditions) => {
                let Conditions {
                    constraints, ends, ..
                } = &**conditions;
                let end_of = |position: usize| ends.get(position).map(|end| *end as usize);
                let start = match position.checked_sub(1) {
                    None => 0,
                    Some(before) => end_of(before)?,
                };
                constraints.get(start..end_of(position).unwrap_or(constraints.len()))
            }
        }
    }

    /// Returns the filters, which belong to all alternatives.
    pub(super) fn filters(&self) -> &[Filter] {
        match self {
            Self::Any(conditions) => &conditions.filters,
            Self::All | Self::One(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::FieldId;
    use super::*;

    #[test]
    fn the_usual_wishes_are_one_piece_of_memory() {
        assert_eq!(size_of::<Wanted>(), size_of::<Constraint>());
        assert_eq!(size_of::<Constraint>(), 32);
    }

    #[test]
    fn each_alternative_has_its_own_constraints() {
        let constraint = |field: u32| (FieldId(field), i64::from(field).into());
        for lengths in [&[][..], &[1], &[2], &[1, 1], &[2, 1, 3]] {
            let one_of: Vec<Vec<Constraint>> = lengths
                .iter()
                .zip([0, 10, 20])
                .map(|(length, first)| (first..first + length).map(constraint).collect())
                .collect();
            let wanted = Wanted::new(one_of.clone(), Box::default());
            let expected = if one_of.is_empty() {
                vec![Vec::new()]
            } else {
                one_of
            };
            assert_eq!(wanted.alternatives(), expected.len());
            for (position, constraints) in expected.iter().enumerate() {
                assert_eq!(wanted.constraints(position), Some(&**constraints));
            }
            assert_eq!(wanted.constraints(expected.len()), None);
        }
    }
}
