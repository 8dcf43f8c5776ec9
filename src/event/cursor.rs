//! How far somebody has seen every partition: [`Positions`] in memory, [`Cursor`] on the wire.
//!
//! A cursor is what a client hands back to go on without a gap. It is opaque for clients and the same
//! on every instance, because it says only what Kafka says.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The longest cursor that is read or written, in characters.
pub const MAX_CURSOR_CHARS: usize = 4096;

const VERSION: u8 = 1;

/// Which topic a part of a cursor is about: a hash of its name, equal on all instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicHash(u32);

impl TopicHash {
    /// Hashes a topic's name (FNV-1a, 32 bits: stable over versions and instances).
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(name.bytes().fold(0x811c_9dc5, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        }))
    }
}

/// The next offset of every partition of every source topic, topics in their configured order.
///
/// A partition that is not known counts as standing at offset 0: whatever it holds is still to come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions {
    topics: Vec<(TopicHash, Vec<i64>)>,
}

impl Positions {
    /// Starts with no partition known of `topics`, given in their configured order.
    #[must_use]
    pub fn of_topics<'a>(topics: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            topics: topics
                .into_iter()
                .map(|name| (TopicHash::of(name), Vec::new()))
                .collect(),
        }
    }

    /// Returns the next offset of a partition, 0 when it is not known.
    #[must_use]
    pub fn next_offset(&self, topic: u16, partition: u32) -> i64 {
        self.topics
            .get(usize::from(topic))
            .and_then(|(_, offsets)| offsets.get(partition as usize))
            .copied()
            .unwrap_or(0)
    }

    /// Sets the next offset of a partition, forwards or backwards; unknown topics are ignored.
    pub fn set(&mut self, topic: u16, partition: u32, next_offset: i64) {
        let Some((_, offsets)) = self.topics.get_mut(usize::from(topic)) else {
            return;
        };
        let partition = partition as usize;
        if offsets.len() <= partition {
            offsets.resize(partition + 1, 0);
        }
        if let Some(offset) = offsets.get_mut(partition) {
            *offset = next_offset.max(0);
        }
    }

    /// Returns whether every partition stands at or after where it stands in `other`.
    #[must_use]
    pub fn reached(&self, other: &Self) -> bool {
        other
            .iter()
            .all(|(topic, partition, offset)| self.next_offset(topic, partition) >= offset)
    }

    /// Moves every partition forward to where it stands in `other`, where that is further on.
    pub fn advance_to(&mut self, other: &Self) {
        for (topic, partition, offset) in other.iter() {
            if self.next_offset(topic, partition) < offset {
                self.set(topic, partition, offset);
            }
        }
    }

    /// Returns all known partitions as (topic, partition, next offset), in order.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u32, i64)> + '_ {
        (0_u16..)
            .zip(&self.topics)
            .flat_map(|(topic, (_, offsets))| {
                (0_u32..)
                    .zip(offsets)
                    .map(move |(partition, offset)| (topic, partition, *offset))
            })
    }

    /// Returns where a client with `cursor` stands.
    ///
    /// Partitions that were added after the cursor was made stand at 0. Topics that the cursor does
    /// not know stand where `self` stands: they are new to the client, and start live.
    #[must_use]
    pub fn resolve(&self, cursor: &Cursor) -> Self {
        let topics = self
            .topics
            .iter()
            .map(|(hash, here)| match cursor.topics.get(hash) {
                None => (*hash, here.clone()),
                Some(seen) => {
                    let mut offsets = seen.clone();
                    offsets.resize(offsets.len().max(here.len()), 0);
                    (*hash, offsets)
                }
            });
        Self {
            topics: topics.collect(),
        }
    }

    /// Returns the cursor of a client that has seen everything before these positions.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor {
            topics: self.topics.iter().cloned().collect(),
        }
    }

    /// Writes the text of [`Positions::cursor`] without building it.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut order: Vec<&(TopicHash, Vec<i64>)> = self.topics.iter().collect();
        order.sort_unstable_by_key(|(hash, _)| *hash);
        encode(
            order
                .iter()
                .map(|(hash, offsets)| (*hash, offsets.as_slice())),
        )
    }
}

/// A cursor as a client keeps it, opaque for it.
///
/// # Source
/// Its text is base64url without padding of: the version `1`, then for each topic, sorted by its
/// hash, four bytes of hash, the number of partitions and the next offset of each, the last two as
/// LEB128 integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    topics: BTreeMap<TopicHash, Vec<i64>>,
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
        if *version != VERSION {
            return Err(CursorError::UnknownVersion(*version));
        }
        let mut topics = BTreeMap::new();
        while let Some((hash, tail)) = rest.split_first_chunk::<4>() {
            rest = tail;
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
                .insert(TopicHash(u32::from_be_bytes(*hash)), offsets)
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
            .map(|(hash, offsets)| (*hash, offsets.as_slice()));
        f.write_str(&encode(topics))
    }
}

/// Encodes topics that come sorted by hash.
fn encode<'a>(topics: impl Iterator<Item = (TopicHash, &'a [i64])>) -> String {
    let mut bytes = Vec::with_capacity(80);
    bytes.push(VERSION);
    for (hash, offsets) in topics {
        bytes.extend_from_slice(&hash.0.to_be_bytes());
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

    use super::*;

    fn positions(topics: &[(&str, &[i64])]) -> Positions {
        let mut positions = Positions::of_topics(topics.iter().map(|(name, _)| *name));
        for (topic, (_, offsets)) in (0_u16..).zip(topics) {
            for (partition, offset) in (0_u32..).zip(*offsets) {
                positions.set(topic, partition, *offset);
            }
        }
        positions
    }

    #[test]
    fn is_at_most_100_characters_for_12_partitions_of_a_billion_records() {
        let positions = positions(&[("orders", &[1_000_000_000; 12])]);
        assert!(
            positions.encode().len() <= 100,
            "{}",
            positions.encode().len()
        );
    }

    #[test]
    fn is_the_same_whatever_the_order_of_the_configured_topics() {
        let one = positions(&[("a", &[1, 2]), ("b", &[3])]);
        let two = positions(&[("b", &[3]), ("a", &[1, 2])]);
        assert_eq!(one.encode(), two.encode());
        assert_eq!(one.resolve(&two.cursor()), one);
    }

    #[test]
    fn a_partition_added_later_is_read_from_its_start_and_a_new_topic_from_now() {
        let here = positions(&[("a", &[10, 20]), ("b", &[30])]);
        let cursor = positions(&[("a", &[7])]).cursor();
        assert_eq!(
            here.resolve(&cursor),
            positions(&[("a", &[7, 0]), ("b", &[30])])
        );
    }

    #[test]
    fn malformed_cursors_are_refused() {
        for (text, error) in [
            ("", CursorError::Damaged),
            ("!", CursorError::NotBase64),
            ("AA", CursorError::UnknownVersion(0)),
            ("Ag", CursorError::UnknownVersion(2)),
            ("AQAA", CursorError::Damaged),
            ("AQAAAAD_____fw", CursorError::Damaged),
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(error), "{text}");
        }
        assert_eq!(
            "A".repeat(5000).parse::<Cursor>(),
            Err(CursorError::TooLong)
        );
    }

    #[test]
    fn positions_reach_others_only_when_every_partition_does() {
        let behind = positions(&[("a", &[5, 5])]);
        let ahead = positions(&[("a", &[6, 5])]);
        assert!(ahead.reached(&behind) && !behind.reached(&ahead));
        let mut moved = positions(&[("a", &[1, 9])]);
        moved.advance_to(&ahead);
        assert_eq!(moved, positions(&[("a", &[6, 9])]));
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(topics in prop::collection::btree_map("[a-z]{1,8}", prop::collection::vec(0..i64::MAX / 2, 0..20), 0..4)) {
            let given: Vec<(&str, &[i64])> = topics.iter().map(|(name, offsets)| (name.as_str(), offsets.as_slice())).collect();
            let positions = positions(&given);
            let text = positions.encode();
            let cursor: Cursor = text.parse().unwrap();
            prop_assert_eq!(cursor.to_string(), text);
            prop_assert_eq!(positions.resolve(&cursor), positions);
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
