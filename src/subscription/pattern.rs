//! Which event types a subscription covers.

use std::sync::Arc;

/// The longest pattern in bytes.
const MAX_PATTERN_BYTES: usize = 512;

/// Which event types a subscription covers; types are compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TypePattern {
    /// `*`: every type.
    All,
    /// `orders.*`: every type that starts with this text, which ends with a dot.
    Prefix(Arc<str>),
    /// This type.
    Exact(Arc<str>),
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The empty string.
    #[error("the event type is empty")]
    Empty,
    /// A `*` where it means nothing.
    #[error("\"*\" may only stand alone or at the end after a dot, as in \"orders.*\"")]
    MisplacedWildcard,
    /// A control character, which no event type has.
    #[error("the event type has a control character")]
    ControlCharacter,
    /// Too long.
    #[error("the event type is longer than {MAX_PATTERN_BYTES} bytes")]
    TooLong,
}

impl TypePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PatternError::ControlCharacter);
        }
        if text == "*" {
            return Ok(Self::All);
        }
        let (fixed, is_prefix) = match text.strip_suffix('*') {
            Some(fixed) => (fixed, true),
            None => (text, false),
        };
        let is_misplaced = is_prefix && (!fixed.ends_with('.') || fixed == ".");
        if is_misplaced || fixed.contains('*') {
            return Err(PatternError::MisplacedWildcard);
        }
        Ok(if is_prefix {
            Self::Prefix(fixed.into())
        } else {
            Self::Exact(fixed.into())
        })
    }

    /// Returns whether `event_type` is covered.
    #[must_use]
    pub fn covers(&self, event_type: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => event_type.starts_with(&**prefix),
            Self::Exact(exact) => **exact == *event_type,
        }
    }

    /// Returns whether every type that `other` covers is covered here, too.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match other {
            Self::All => *self == Self::All,
            Self::Exact(event_type) => self.covers(event_type),
            Self::Prefix(prefix) => !matches!(self, Self::Exact(_)) && self.covers(prefix),
        }
    }
}

/// Writes the pattern as a client gives it.
impl std::fmt::Display for TypePattern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => formatter.write_str("*"),
            Self::Prefix(prefix) => write!(formatter, "{prefix}*"),
            Self::Exact(exact) => formatter.write_str(exact),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_they_say() {
        for (pattern, event_type, is_covered) in [
            ("*", "anything", true),
            ("orders.*", "orders.created", true),
            ("orders.*", "orders.eu.created", true),
            ("orders.*", "orders.", true),
            ("orders.*", "orders", false),
            ("orders.*", "ordersx.created", false),
            ("orders.*", "Orders.created", false),
            ("orders.created", "orders.created", true),
            ("orders.created", "orders.created.v2", false),
            ("orders", "orders.created", false),
        ] {
            let parsed = TypePattern::parse(pattern).unwrap();
            assert_eq!(
                parsed.covers(event_type),
                is_covered,
                "{pattern} {event_type}"
            );
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn patterns_include_those_that_cover_no_more() {
        for (pattern, other, is_included) in [
            ("*", "*", true),
            ("*", "a.*", true),
            ("*", "a", true),
            ("a.*", "*", false),
            ("a.*", "a.*", true),
            ("a.*", "a.b.*", true),
            ("a.b.*", "a.*", false),
            ("a.*", "ab.*", false),
            ("a.*", "a.b", true),
            ("a.*", "a.", true),
            ("a.*", "a", false),
            ("a.b", "a.b", true),
            ("a.b", "a.b.*", false),
            ("a.", "a.*", false),
            ("a.b", "*", false),
        ] {
            let [one, two] = [pattern, other].map(|text| TypePattern::parse(text).unwrap());
            assert_eq!(one.includes(&two), is_included, "{pattern} {other}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, error) in [
            ("", PatternError::Empty),
            ("orders*", PatternError::MisplacedWildcard),
            ("*.created", PatternError::MisplacedWildcard),
            ("orders.*.created", PatternError::MisplacedWildcard),
            ("orders.**", PatternError::MisplacedWildcard),
            ("**", PatternError::MisplacedWildcard),
            (".*", PatternError::MisplacedWildcard),
            ("*.*", PatternError::MisplacedWildcard),
            ("a\n", PatternError::ControlCharacter),
            (&"x".repeat(513), PatternError::TooLong),
        ] {
            assert_eq!(TypePattern::parse(text), Err(error), "{text}");
        }
    }
}
