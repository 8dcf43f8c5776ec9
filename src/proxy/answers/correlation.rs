//! The ids under which answers come back, and those under which clients ask for them.
//!
//! # Source
//! AES-256-GCM with the key of the cluster, see [`TokenKey::seal_text`]; base64url without padding.

use std::fmt;

use crate::dispatch::{Incarnation, TokenKey};

/// The longest text that can be an id.
const MAX_ID_CHARS: usize = 128;

/// A command of one life of an instance, which waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Correlation {
    /// Where the answer is waited for.
    pub(super) by: Incarnation,
    /// The number of the command there; never used again.
    pub(super) number: u64,
}

/// Who an id is for. What is sealed for one is nothing to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Whoever answers the command.
    Answerer,
    /// The client, which asks for the answer later.
    Asker,
}

impl Holder {
    const fn purpose(self) -> &'static str {
        match self {
            Self::Answerer => "correlation",
            Self::Asker => "answer to ask for",
        }
    }
}

impl Correlation {
    /// Writes an id: unforgeable, some 60 characters that are safe in a URL, and never the same twice.
    pub(super) fn seal(self, key: &TokenKey, holder: Holder) -> String {
        key.seal_text(holder.purpose(), &self.to_string())
    }

    /// Reads an id; `None` for what this cluster did not write for this holder.
    pub(super) fn open(key: &TokenKey, holder: Holder, id: &str) -> Option<Self> {
        if id.len() > MAX_ID_CHARS {
            return None;
        }
        let text = key.open_text(holder.purpose(), id).ok()?;
        let (by, number) = text.split_once('.')?;
        Some(Self {
            by: Incarnation(u64::from_str_radix(by, 16).ok()?),
            number: u64::from_str_radix(number, 16).ok()?,
        })
    }
}

impl fmt::Display for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.by.0, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Correlation = Correlation {
        by: Incarnation(u64::MAX),
        number: 12_345_678,
    };

    #[test]
    fn an_id_names_instance_and_number_and_is_safe_in_a_url() {
        let key = TokenKey::new(&[7; 32]);
        let id = ONE.seal(&key, Holder::Answerer);
        assert_eq!(Correlation::open(&key, Holder::Answerer, &id), Some(ONE));
        assert_ne!(id, ONE.seal(&key, Holder::Answerer));
        assert!(id.len() <= 72, "{} characters", id.len());
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
    }

    #[test]
    fn whoever_may_ask_cannot_answer() {
        let key = TokenKey::new(&[7; 32]);
        let id = ONE.seal(&key, Holder::Asker);
        assert_eq!(Correlation::open(&key, Holder::Answerer, &id), None);
        assert_eq!(Correlation::open(&key, Holder::Asker, &id), Some(ONE));
    }

    #[test]
    fn forged_ids_are_refused() {
        let key = TokenKey::new(&[7; 32]);
        let id = ONE.seal(&key, Holder::Answerer);
        for at in 0..id.len() {
            let mut altered = id.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = std::str::from_utf8(&altered).unwrap();
            assert_eq!(Correlation::open(&key, Holder::Answerer, altered), None);
        }
        let foreign = ONE.seal(&TokenKey::new(&[8; 32]), Holder::Answerer);
        let junk = "A".repeat(1_000_000);
        for id in [
            "",
            "1.2",
            "ffffffffffffffff.1",
            &foreign,
            &junk,
            id.get(1..).unwrap(),
        ] {
            assert_eq!(Correlation::open(&key, Holder::Answerer, id), None);
        }
    }
}
