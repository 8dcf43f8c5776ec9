//! What became of an answer.

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivered {
    /// Whoever waits for it here has it.
    Here,
    /// The instance that waits for it has it.
    Forwarded,
    /// Nobody waits for it any more.
    Late,
    /// There was one before.
    Second,
    /// Its correlation id is not of this cluster.
    Forged,
    /// It is too large to be passed on to another instance.
    TooLarge,
    /// It is not one: the status is missing or none.
    Invalid,
    /// The instance that waits for it cannot be reached.
    Unreachable,
}

impl Delivered {
    /// All results, in the order of their metrics.
    pub const ALL: [Self; 8] = [
        Self::Here,
        Self::Forwarded,
        Self::Late,
        Self::Second,
        Self::Forged,
        Self::TooLarge,
        Self::Invalid,
        Self::Unreachable,
    ];

    /// Returns the value of the label `result`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Here => "delivered",
            Self::Forwarded => "forwarded",
            Self::Late => "late",
            Self::Second => "second",
            Self::Forged => "forged",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
            Self::Unreachable => "unreachable",
        }
    }
}
