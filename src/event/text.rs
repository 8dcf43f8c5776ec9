//! Texts that are kept in great numbers.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The longest text that is kept in place, in bytes.
const MAX_SHORT_BYTES: usize = 22;

/// A text that takes no memory of its own while it has at most 22 bytes; clones of a longer one share it. Compared code
/// point by code point.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Repr);

/// Each text has one form only: `Short` if it fits.
#[derive(Clone, PartialEq, Eq)]
enum Repr {
    /// The length, and the bytes with zeros behind them.
    Short(u8, [u8; MAX_SHORT_BYTES]),
    Long(Arc<str>),
}

impl Text {
    /// Returns the text.
    ///
    /// # Panics
    /// Never: the bytes were copied from a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Short(..) => std::str::from_utf8(self.as_bytes()).expect("copied from a text"),
            Repr::Long(text) => text,
        }
    }

    /// Returns the text's bytes in UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Short(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Repr::Long(text) => text.as_bytes(),
        }
    }

    /// Returns the bytes of memory that the text takes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Short(..) => 0,
            Repr::Long(text) => text.len(),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut bytes = [0; MAX_SHORT_BYTES];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Self(Repr::Short(length, bytes))
            }
            _ => Self(Repr::Long(text.into())),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            // One write of whole words: SipHash takes twice as long for many small ones.
            Repr::Short(length, bytes) => {
                let mut words = [0; 24];
                words[0] = *length;
                words[1..=MAX_SHORT_BYTES].copy_from_slice(bytes);
                state.write(&words);
            }
            Repr::Long(text) => text.hash(state),
        }
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts around the longest short one, in the order of their code points.
    fn sorted() -> Vec<String> {
        let a = |count: usize| "a".repeat(count);
        let mut texts = vec![
            String::new(),
            "\0".into(),
            "\0\0".into(),
            a(1),
            format!("{}\0", a(1)),
            a(21),
            format!("{}\0", a(21)),
            a(22),
            format!("{}\0", a(22)),
            a(23),
            format!("{}b", a(21)),
            format!("{}b", a(22)),
            "b".into(),
            "\u{e4}".repeat(11),
            "\u{e4}".repeat(12),
            "\u{1F600}".into(),
        ];
        texts.sort();
        texts
    }

    #[test]
    fn texts_of_all_lengths_are_kept_compared_and_hashed_as_texts() {
        let texts = sorted();
        let hasher = std::hash::RandomState::new();
        let hash = |text: &Text| std::hash::BuildHasher::hash_one(&hasher, text);
        for (i, one) in texts.iter().enumerate() {
            let kept = Text::from(one.as_str());
            assert_eq!((kept.as_str(), kept.as_bytes()), (&**one, one.as_bytes()));
            assert_eq!(
                kept.heap_bytes(),
                if one.len() > 22 { one.len() } else { 0 }
            );
            for (j, other) in texts.iter().enumerate() {
                let other = Text::from(other.as_str());
                assert_eq!(kept == other, i == j, "{kept:?} {other:?}");
                assert_eq!(hash(&kept) == hash(&other), i == j, "{kept:?} {other:?}");
                assert_eq!(kept.cmp(&other), i.cmp(&j), "{kept:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_text_takes_24_bytes() {
        assert_eq!(size_of::<Text>(), 24);
    }
}
