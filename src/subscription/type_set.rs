//! Event types that are left out of a pattern.

use std::fmt;
use std::sync::Arc;

use super::filter::quote;

/// Some event types, at least one; found by their order. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeSet(Arc<[Arc<str>]>);

impl TypeSet {
    /// Takes the types in any order; `None` if there are none.
    pub(super) fn new(types: impl IntoIterator<Item = Arc<str>>) -> Option<Self> {
        let mut types: Vec<_> = types.into_iter().collect();
        types.sort();
        types.dedup();
        (!types.is_empty()).then(|| Self(types.into()))
    }

    /// Returns whether `event_type` is one of them.
    #[must_use]
    pub fn contains(&self, event_type: &str) -> bool {
        self.0
            .binary_search_by(|known| (**known).cmp(event_type))
            .is_ok()
    }

    /// Returns how many there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Writes the filter expression that holds for exactly these types.
impl fmt::Display for TypeSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write = |formatter: &mut fmt::Formatter<'_>, event_type: &str| {
            write!(
                formatter,
                "{{\"exact\":{{\"type\":{}}}}}",
                quote(event_type)?
            )
        };
        if let [only] = &*self.0 {
            return write(formatter, only);
        }
        formatter.write_str("{\"any\":[")?;
        for (position, event_type) in self.0.iter().enumerate() {
            formatter.write_str(if position > 0 { "," } else { "" })?;
            write(formatter, event_type)?;
        }
        formatter.write_str("]}")
    }
}
