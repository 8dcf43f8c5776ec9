//! What the offset of a record says.

/// Where a record stands against those that were read of its partition before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The record is new.
    Forward,
    /// The record was read before.
    Repeated,
    /// The partition begins anew with this record.
    Restarted,
}

impl Step {
    /// Returns the step to the record at `offset` where `next` was expected or one above it.
    ///
    /// `trusts_order` is false for the embedded broker, which repeats records after a hole in the offsets within one
    /// answer. For others an offset that goes back means that the topic was made anew.
    #[must_use]
    pub const fn of(offset: i64, next: i64, trusts_order: bool) -> Self {
        match (offset < next, trusts_order) {
            (false, _) => Self::Forward,
            (true, false) => Self::Repeated,
            (true, true) => Self::Restarted,
        }
    }
}
