//! What is wrong, and with whom.

use std::fmt;

/// What kind of wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A client did not get an event that it wanted.
    Lost,
    /// A client got an event again, or one from before it began.
    Duplicated,
    /// A client got an event after a later one of the same partition.
    OutOfOrder,
    /// A client got an event that its filters do not match, or that Kafka does not have.
    Foreign,
    /// An event arrived with other contents than it was sent with.
    Damaged,
    /// A client was told of events that it missed.
    ResumeGap,
    /// A good request was answered with a status that no fault explains.
    Refused,
    /// A client that polls was treated as a new one.
    BegunAnew,
    /// A client did not reach the end after everything was healed.
    Unfinished,
    /// An event was acknowledged and Kafka does not have it where it should be.
    NotWritten,
    /// An instance ended by itself, or did not heal.
    Instance,
}

impl Kind {
    /// All kinds, in the order of the report.
    pub const ALL: [Self; 11] = [
        Self::Lost,
        Self::Duplicated,
        Self::OutOfOrder,
        Self::Foreign,
        Self::Damaged,
        Self::ResumeGap,
        Self::Refused,
        Self::BegunAnew,
        Self::Unfinished,
        Self::NotWritten,
        Self::Instance,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::OutOfOrder => "out of order",
            Self::Foreign => "foreign",
            Self::Damaged => "damaged",
            Self::ResumeGap => "resume gaps",
            Self::Refused => "refused",
            Self::BegunAnew => "begun anew",
            Self::Unfinished => "unfinished",
            Self::NotWritten => "not written",
            Self::Instance => "instance failures",
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Finding {
    pub kind: Kind,
    /// Who, what, and between which cursors.
    pub what: String,
}

impl Finding {
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
        }
    }
}
