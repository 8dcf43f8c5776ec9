//! Where a partition is read from.

/// The offsets that a partition holds: from the first one kept to the one that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) first: i64,
    pub(super) end: i64,
}

/// When a partition was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It existed when the source started.
    AtStart,
    /// It appeared while the source was running.
    Later,
}

/// Why a partition is not read from where the group left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// Kafka has deleted the records in between.
    Expired,
    /// The topic was made anew and is shorter.
    MadeAnew,
}

/// The first offset to read, and why it is not the committed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) offset: i64,
    pub(super) moved: Option<Moved>,
}

impl Start {
    /// Decides where to read from.
    ///
    /// A committed offset over an end of 0 is kept: the embedded broker gives that end also for a
    /// partition whose records have all expired, and Kafka itself would refuse the offset.
    pub(super) const fn new(committed: Option<i64>, kept: Kept, found: Found) -> Self {
        let (offset, moved) = match (committed, found) {
            (Some(committed), _) if committed < kept.first => (kept.first, Some(Moved::Expired)),
            (Some(committed), _) if committed > kept.end && kept.end > 0 => {
                (kept.first, Some(Moved::MadeAnew))
            }
            (Some(committed), _) => (committed, None),
            (None, Found::AtStart) => (kept.end, None),
            (None, Found::Later) => (kept.first, None),
        };
        Self { offset, moved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_the_committed_offset_if_the_log_has_it() {
        use Found::{AtStart, Later};
        use Moved::{Expired, MadeAnew};
        for (committed, first, end, found, offset, moved) in [
            (None, 0, 0, AtStart, 0, None),
            (None, 3, 9, AtStart, 9, None),
            (None, 3, 9, Later, 3, None),
            (None, 0, 0, Later, 0, None),
            (Some(3), 3, 9, AtStart, 3, None),
            (Some(9), 3, 9, AtStart, 9, None),
            (Some(5), 3, 9, Later, 5, None),
            (Some(2), 3, 9, AtStart, 3, Some(Expired)),
            (Some(10), 3, 9, AtStart, 3, Some(MadeAnew)),
            (Some(10), 0, 0, AtStart, 10, None),
            (Some(2), 9, 9, Later, 9, Some(Expired)),
        ] {
            let start = Start::new(committed, Kept { first, end }, found);
            assert_eq!(
                start,
                Start { offset, moved },
                "{committed:?} in {first}..{end}"
            );
        }
    }
}
