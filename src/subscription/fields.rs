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

    /// Returns the bytes of memory that the values take on the heap; numbers beyond 64 bits count as one word.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let texts = self.iter().map(|(_, value)| match value {
            Scalar::String(text) => text.heap_bytes(),
            _ => 0,
        });
        self.0.capacity() * size_of::<(FieldId, Scalar)>() + texts.sum::<usize>()
    }

    /// Goes over the fields that have a value.
    pub fn iter(&self) -> impl Iterator<Item = (FieldId, &Scalar)> {
        self.0.iter().map(|(id, value)| (*id, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_take_memory() {
        let fields =
            |values: &[Option<Scalar>]| Fields::new((0..).map(FieldId).zip(values.iter().cloned()));
        assert_eq!(fields(&[]).size_bytes(), 0);
        assert_eq!(fields(&[None, Some(Scalar::Null)]).size_bytes(), 0);
        let long = "a text of more than 22 bytes";
        let two = fields(&[Some(long.into()), Some("alice".into())]);
        assert_eq!(
            two.size_bytes(),
            2 * size_of::<(FieldId, Scalar)>() + long.len()
        );
        let one = fields(&[None, Some("alice".into())]);
        assert_eq!(one.size_bytes(), size_of::<(FieldId, Scalar)>());
        assert_eq!(one.get(FieldId(1)), Some(&Scalar::from("alice")));
        assert_eq!(one.get(FieldId(0)), None);
    }
}
