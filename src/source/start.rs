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
    /// Its topic was made anew while the source was running.
    Anew,
}

/// Why a partition is not read from where the group left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// The records in between are deleted, or older than what the replay log is filled with.
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
    /// What existed at start is read from `rewind` records before its end, whatever was read before:
    /// that fills the replay log. Where the group stands decides only for what appears later.
    ///
    /// A committed offset over an end of 0 is kept: the embedded broker gives that end also for a
    /// partition whose records have all expired, and Kafka itself would refuse the offset.
    pub(super) fn new(committed: Option<i64>, kept: Kept, found: Found, rewind: i64) -> Self {
        let edge = kept.first.max(kept.end - rewind);
        let (offset, moved) = match (committed, found) {
            (Some(committed), Found::AtStart | Found::Later) if committed > 0 && kept.end == 0 => {
                (committed, None)
            }
            (Some(committed), Found::AtStart) if committed > kept.end => {
                (edge, Some(Moved::MadeAnew))
            }
            (Some(committed), Found::AtStart) if committed < edge => (edge, Some(Moved::Expired)),
            (_, Found::AtStart) => (edge, None),
            (Some(committed), Found::Later) if committed > kept.end => {
                (kept.first, Some(Moved::MadeAnew))
            }
            (Some(committed), Found::Later) if committed < kept.first => {
                (kept.first, Some(Moved::Expired))
            }
            (Some(committed), Found::Later) => (committed, None),
            (None, Found::Later) => (kept.first, None),
            // What the group has committed may be about the topic before.
            (_, Found::Anew) => (kept.first, None),
        };
        Self { offset, moved }
    }

    /// Logs from where a partition is read, and why not from where the group left it.
    pub(super) fn log(self, topic: &str, partition: i32, committed: Option<i64>, kept: Kept) {
        let (offset, end) = (self.offset, kept.end);
        match self.moved {
            None => tracing::info!(topic, partition, offset, end, "reading a partition"),
            Some(Moved::Expired) => tracing::warn!(
                topic,
                partition,
                offset,
                committed,
                "records expired before they were read, going on at the first one kept"
            ),
            Some(Moved::MadeAnew) => tracing::warn!(
                topic,
                partition,
                offset,
                committed,
                "the partition ends before the committed offset, reading it from its beginning"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_existed_is_read_from_the_edge_of_the_window_and_what_appears_from_its_beginning() {
        use Found::{Anew, AtStart, Later};
        use Moved::{Expired, MadeAnew};
        for (committed, first, end, found, offset, moved) in [
            (None, 0, 0, AtStart, 0, None),
            (None, 3, 9, AtStart, 3, None),
            (None, 3, 90, AtStart, 80, None),
            (None, 3, 9, Later, 3, None),
            (None, 0, 0, Later, 0, None),
            (Some(85), 3, 90, AtStart, 80, None),
            (Some(90), 3, 90, AtStart, 80, None),
            (Some(50), 3, 90, AtStart, 80, Some(Expired)),
            (Some(5), 3, 90, Later, 5, None),
            (Some(2), 3, 9, AtStart, 3, Some(Expired)),
            (Some(10), 3, 9, AtStart, 3, Some(MadeAnew)),
            (Some(10), 0, 0, AtStart, 10, None),
            (Some(2), 9, 9, Later, 9, Some(Expired)),
            (Some(20), 0, 0, Anew, 0, None),
            (Some(20), 3, 90, Anew, 3, None),
        ] {
            let start = Start::new(committed, Kept { first, end }, found, 10);
            assert_eq!(
                start,
                Start { offset, moved },
                "{committed:?} in {first}..{end}"
            );
        }
    }
}
