//! The extracted values of one event.

use crate::event::Scalar;

/// A field by the number of its name; the same name has the same number for all event types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldId(pub(super) u32);

/// The values that one event has in the fields declared for its type. Without values it takes no memory of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(FieldId, Scalar)>);

impl Fields {
    /// Takes the values that are there; `null` is the same as missing.
    pub(super) fn new(values: impl Iterator<Item = (FieldId, Option<Scalar>)>) -> Self {
        let mut present: Vec<_> = values
            .filter_map(|(id, value)| Some((id, value.filter(|value| *value != Scalar::Null)?)))
            .collect();
        present.shrink_to_fit();
        Self(present)
    }

    /// Returns the value of a field; `None` if it is missing, `null`, an array or an object.
    #[must_use]
    pub fn get(&self, id: FieldId) -> Option<&Scalar> {
        self.0
            .iter()
            .find_map(|(field, value)| (*field == id).then_some(value))
    }

    /// Returns whether the event has no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Goes over the fields that have a value.
    pub fn iter(&self) -> impl Iterator<Item = (FieldId, &Scalar)> {
        self.0.iter().map(|(id, value)| (*id, value))
    }
}
