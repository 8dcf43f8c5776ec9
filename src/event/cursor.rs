//! How far a client has seen every partition, as it keeps it: the text of a [`Cursor`].
//!
//! A cursor is what a client hands back to go on without a gap. It is opaque for clients and the same
//! on every instance, because it says only what Kafka says.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::epoch::Epoch;
use super::positions::TopicHash;

/// The longest cursor that is read or written, in characters.
pub const MAX_CURSOR_CHARS: usize = 4096;

/// What is written.
const VERSION: u8 = 2;
/// What was written before there were epochs; still read.
const WITHOUT_EPOCHS: u8 = 1;

/// The bytes of a topic, without its offsets, where it has 128 partitions or more.
const TOPIC_BYTES: usize = 8;
/// The bytes of an offset up to 4,398,046,511,103.
const OFFSET_BYTES: usize = 6;

/// Returns how many partitions of `topics` topics all fit into one cursor, whatever their offsets,
/// up to four trillion records in each.
#[must_use]
pub const fn max_partitions(topics: usize) -> usize {
    let bytes = MAX_CURSOR_CHARS / 4 * 3 - 1;
    bytes.saturating_sub(topics.saturating_mul(TOPIC_BYTES)) / OFFSET_BYTES
}

/// A cursor as a client keeps it, opaque for it.
///
/// # Source
/// Its text is base64url without padding of: the version `2`, then for each topic, sorted by its
/// hash, four bytes of hash, two bytes of epoch, the number of partitions and the next offset of
/// each, the last two as LEB128 integers. Version `1` has no epochs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub(super) topics: BTreeMap<TopicHash, (Epoch, Vec<i64>)>,
}

/// Why a text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Longer than [`MAX_CURSOR_CHARS`].
    #[error("the cursor is longer than {MAX_CURSOR_CHARS} characters")]
    TooLong,
    /// Characters that base64url does not have.
    #[error("the cursor is not base64url")]
    NotBase64,
    /// Made by a version that is not known here.
    #[error("the cursor has the unknown version {0}")]
    UnknownVersion(u8),
    /// Cut off, or longer than it says, or with numbers that no offset can have.
    #[error("the cursor is damaged")]
    Damaged,
}

impl std::str::FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        if text.len() > MAX_CURSOR_CHARS {
            return Err(CursorError::TooLong);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| CursorError::NotBase64)?;
        let (version, mut rest) = bytes.split_first().ok_or(CursorError::Damaged)?;
        if ![WITHOUT_EPOCHS, VERSION].contains(version) {
            return Err(CursorError::UnknownVersion(*version));
        }
        let mut topics = BTreeMap::new();
        while let Some((hash, tail)) = rest.split_first_chunk::<4>() {
            rest = tail;
            let epoch = match *version {
                WITHOUT_EPOCHS => Epoch::UNKNOWN,
                _ => read_epoch(&mut rest).ok_or(CursorError::Damaged)?,
            };
            let count = read_integer(&mut rest).ok_or(CursorError::Damaged)?;
            // Each offset takes a byte at least, so a lying count cannot make us allocate.
            if usize::try_from(count).map_or(true, |count| count > rest.len()) {
                return Err(CursorError::Damaged);
            }
            let offsets: Option<Vec<i64>> = (0..count)
                .map(|_| read_integer(&mut rest).and_then(|offset| i64::try_from(offset).ok()))
                .collect();
            let offsets = offsets.ok_or(CursorError::Damaged)?;
            if topics
                .insert(TopicHash(u32::from_be_bytes(*hash)), (epoch, offsets))
                .is_some()
            {
                return Err(CursorError::Damaged);
            }
        }
        if rest.is_empty() {
            Ok(Self { topics })
        } else {
            Err(CursorError::Damaged)
        }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let topics = self
            .topics
            .iter()
            .map(|(hash, (epoch, offsets))| (*hash, *epoch, offsets.as_slice()));
        f.write_str(&encode(topics))
    }
}

/// Encodes topics that come sorted by hash.
pub(super) fn encode<'a>(topics: impl Iterator<Item = (TopicHash, Epoch, &'a [i64])>) -> String {
    let mut bytes = Vec::with_capacity(80);
    bytes.push(VERSION);
    for (hash, epoch, offsets) in topics {
        bytes.extend_from_slice(&hash.0.to_be_bytes());
        bytes.extend_from_slice(&epoch.0.to_be_bytes());
        write_integer(offsets.len() as u64, &mut bytes);
        for offset in offsets {
            write_integer(u64::try_from(*offset).unwrap_or(0), &mut bytes);
        }
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

fn write_integer(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn read_epoch(bytes: &mut &[u8]) -> Option<Epoch> {
    let (epoch, rest) = bytes.split_first_chunk::<2>()?;
    *bytes = rest;
    Some(Epoch(u16::from_be_bytes(*epoch)))
}

fn read_integer(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::positions::Positions;
    use super::super::positions::tests::positions;
    use super::*;

    #[test]
    fn is_at_most_100_characters_for_12_partitions_of_a_billion_records() {
        let mut positions = positions(&[("orders", &[1_000_000_000; 12])]);
        positions.learn(0, Epoch(u16::MAX));
        // 1 of version, 4 of hash, 2 of epoch, 1 of count and 12 times 5 are 68 bytes.
        assert_eq!(positions.encode().len(), 91);
    }

    #[test]
    fn as_many_partitions_as_it_may_carry_fit() {
        for topics in [1, 2, 20] {
            let names: Vec<String> = (0..topics).map(|topic| topic.to_string()).collect();
            let mut positions = Positions::of_topics(names.iter().map(String::as_str));
            for number in 0..u32::try_from(max_partitions(topics)).unwrap() {
                let topics = u32::try_from(topics).unwrap();
                let topic = u16::try_from(number % topics).unwrap();
                positions.set(topic, number / topics, (1 << 42) - 1);
            }
            let text = positions.encode();
            assert!(text.len() <= MAX_CURSOR_CHARS, "{}", text.len());
            assert_eq!(text.parse(), Ok(positions.cursor()));
        }
        assert_eq!(max_partitions(1), 510);
        assert_eq!(max_partitions(1000), 0);
    }

    #[test]
    fn cursors_from_before_there_were_epochs_are_read() {
        // Version 1, the hash of "a", two partitions at 7 and 300.
        let bytes = [
            &[1][..],
            &TopicHash::of("a").0.to_be_bytes(),
            &[2, 7, 0xac, 2],
        ]
        .concat();
        let cursor: Cursor = URL_SAFE_NO_PAD.encode(bytes).parse().unwrap();
        assert_eq!(cursor, positions(&[("a", &[7, 300])]).cursor());
    }

    #[test]
    fn malformed_cursors_are_refused() {
        for (text, error) in [
            ("", CursorError::Damaged),
            ("!", CursorError::NotBase64),
            ("AA", CursorError::UnknownVersion(0)),
            ("Aw", CursorError::UnknownVersion(3)),
            ("AQAA", CursorError::Damaged),
            ("AQAAAAD_____fw", CursorError::Damaged),
            ("AgAAAAAA", CursorError::Damaged),
            ("AgAAAAAAAP____9_", CursorError::Damaged),
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(error), "{text}");
        }
        assert_eq!(
            "A".repeat(5000).parse::<Cursor>(),
            Err(CursorError::TooLong)
        );
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(topics in prop::collection::btree_map("[a-z]{1,8}", (prop::collection::vec(0..i64::MAX / 2, 0..20), any::<u16>()), 0..4)) {
            let given: Vec<(&str, &[i64])> = topics.iter().map(|(name, (offsets, _))| (name.as_str(), offsets.as_slice())).collect();
            let mut positions = positions(&given);
            for (topic, (_, epoch)) in (0..).zip(topics.values()) {
                positions.learn(topic, Epoch(*epoch));
            }
            let text = positions.encode();
            let cursor: Cursor = text.parse().unwrap();
            prop_assert_eq!(cursor.to_string(), text);
            prop_assert_eq!(positions.resolve(&cursor).positions, positions);
        }

        #[test]
        fn never_panics_on_foreign_text(text in "[A-Za-z0-9_-]{0,120}") {
            let parsed = text.parse::<Cursor>();
            if let Ok(cursor) = parsed {
                prop_assert!(cursor.to_string().parse::<Cursor>().is_ok());
            }
        }
    }
}
