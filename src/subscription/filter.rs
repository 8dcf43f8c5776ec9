//! Filters of the CloudEvents Subscriptions API on context attributes.

use std::fmt;

use crate::event::Attributes;

/// Pairs of attribute name and text, sorted, at least one; all have to hold.
pub(super) type Pairs = Box<[(Box<str>, Box<str>)]>;

/// One filter expression. Compared case-sensitively; an attribute that the event does not have makes it false.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Filter {
    /// Each attribute is exactly this text.
    Exact(Pairs),
    /// Each attribute starts with this text.
    Prefix(Pairs),
    /// Each attribute ends with this text.
    Suffix(Pairs),
    /// All expressions hold; at least one.
    All(Box<[Self]>),
    /// One of the expressions holds; at least one.
    Any(Box<[Self]>),
    /// The expression does not hold.
    Not(Box<Self>),
}

impl Filter {
    /// Returns whether an event with these attributes passes. Recurses as deep as the parser allowed.
    #[must_use]
    pub fn passes(&self, attributes: &Attributes<'_>) -> bool {
        let each = |pairs: &Pairs, holds: fn(&str, &str) -> bool| {
            pairs
                .iter()
                .all(|(name, text)| attributes.get(name).is_some_and(|value| holds(value, text)))
        };
        match self {
            Self::Exact(pairs) => each(pairs, |value, text| value == text),
            Self::Prefix(pairs) => each(pairs, |value, text| value.starts_with(text)),
            Self::Suffix(pairs) => each(pairs, |value, text| value.ends_with(text)),
            Self::All(filters) => filters.iter().all(|filter| filter.passes(attributes)),
            Self::Any(filters) => filters.iter().any(|filter| filter.passes(attributes)),
            Self::Not(filter) => !filter.passes(attributes),
        }
    }

    /// Returns the attributes that have to be exactly a text for the expression to hold, as far as its top level says.
    #[must_use]
    pub fn exact_pairs(&self) -> &[(Box<str>, Box<str>)] {
        match self {
            Self::Exact(pairs) => pairs,
            _ => &[],
        }
    }
}

/// Writes the expression as JSON.
impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(pairs) => write_pairs(formatter, "exact", pairs),
            Self::Prefix(pairs) => write_pairs(formatter, "prefix", pairs),
            Self::Suffix(pairs) => write_pairs(formatter, "suffix", pairs),
            Self::All(filters) => write_list(formatter, "all", filters),
            Self::Any(filters) => write_list(formatter, "any", filters),
            Self::Not(filter) => write!(formatter, "{{\"not\":{filter}}}"),
        }
    }
}

fn write_pairs(formatter: &mut fmt::Formatter<'_>, dialect: &str, pairs: &Pairs) -> fmt::Result {
    write!(formatter, "{{\"{dialect}\":{{")?;
    for (position, (name, text)) in pairs.iter().enumerate() {
        let comma = if position > 0 { "," } else { "" };
        write!(formatter, "{comma}{}:{}", quote(name)?, quote(text)?)?;
    }
    formatter.write_str("}}")
}

fn write_list(
    formatter: &mut fmt::Formatter<'_>,
    dialect: &str,
    filters: &[Filter],
) -> fmt::Result {
    write!(formatter, "{{\"{dialect}\":[")?;
    for (position, filter) in filters.iter().enumerate() {
        let comma = if position > 0 { "," } else { "" };
        write!(formatter, "{comma}{filter}")?;
    }
    formatter.write_str("]}")
}

/// Returns `text` as a JSON string.
pub(super) fn quote(text: &str) -> Result<String, fmt::Error> {
    serde_json::to_string(text).map_err(|_| fmt::Error)
}
