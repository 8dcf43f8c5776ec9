//! Filters of the CloudEvents Subscriptions API on context attributes.

use std::fmt;

use super::event_view::EventView;
use super::type_set::TypeSet;

/// Pairs of attribute name and text, sorted, at least one; all have to hold.
pub(super) type Pairs = Box<[(Box<str>, Box<str>)]>;

/// One filter expression. Compared case-sensitively; an attribute that the event does not have makes it false.
///
/// Each has one form only, which the functions here and the parser make.
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
    /// The expression does not hold; never one that only names exact types.
    Not(Box<Self>),
    /// The event has none of these types: `not` of `exact` types, in the form that costs the same for one and for many.
    NotTypes(TypeSet),
}

impl Filter {
    /// Makes the expression that an attribute is exactly `text`.
    #[must_use]
    pub fn exact(attribute: &str, text: &str) -> Self {
        Self::Exact([(attribute.into(), text.into())].into())
    }

    /// Makes the expression that an attribute starts with `text`.
    #[must_use]
    pub fn prefix(attribute: &str, text: &str) -> Self {
        Self::Prefix([(attribute.into(), text.into())].into())
    }

    /// Makes the expression that one of `filters` holds; `None` without any, since nothing passes then.
    #[must_use]
    pub fn any(mut filters: Vec<Self>) -> Option<Self> {
        filters.sort();
        filters.dedup();
        match filters.len() {
            0 | 1 => filters.pop(),
            _ => Some(Self::Any(filters.into())),
        }
    }

    /// Makes the expression that `filter` does not hold.
    #[must_use]
    pub fn negate(filter: Self) -> Self {
        let types = match &filter {
            Self::Any(filters) => filters.iter().map(Self::exact_type).collect(),
            other => other.exact_type().map(|only| vec![only]),
        };
        types
            .and_then(|types: Vec<&str>| TypeSet::new(types.into_iter().map(Into::into)))
            .map_or_else(|| Self::Not(Box::new(filter)), Self::NotTypes)
    }

    /// Returns the type that the event has to have, if the expression says just that.
    fn exact_type(&self) -> Option<&str> {
        match self.exact_pairs() {
            [(name, text)] if **name == *"type" => Some(text),
            _ => None,
        }
    }

    /// Returns whether an event passes. Recurses as deep as the parser allowed.
    #[must_use]
    pub fn passes(&self, event: &EventView<'_>) -> bool {
        let each = |pairs: &Pairs, holds: fn(&str, &str) -> bool| {
            pairs.iter().all(|(name, text)| {
                event
                    .attribute(name)
                    .is_some_and(|value| holds(value, text))
            })
        };
        match self {
            Self::Exact(pairs) => each(pairs, |value, text| value == text),
            Self::Prefix(pairs) => each(pairs, |value, text| value.starts_with(text)),
            Self::Suffix(pairs) => each(pairs, |value, text| value.ends_with(text)),
            Self::All(filters) => filters.iter().all(|filter| filter.passes(event)),
            Self::Any(filters) => filters.iter().any(|filter| filter.passes(event)),
            Self::Not(filter) => !filter.passes(event),
            Self::NotTypes(types) => !types.contains(event.event_type()),
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
            Self::NotTypes(types) => write!(formatter, "{{\"not\":{types}}}"),
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
