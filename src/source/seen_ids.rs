//! Which topics the Kafka client fetches from, as it says itself.
//!
//! The client goes on at the same offset when a topic was made anew, without an error: see the remark
//! in librdkafka's `rd_kafka_topic_metadata_update`. But it fetches by topic id (KIP-516), and writes
//! a line for debugging right before it takes up another one. So whoever has read the line before
//! taking a record never takes the new topic's records for the old one's.
//!
//! Brokers before Kafka 3.1 are fetched from by name. There, records of a new topic may be taken for
//! the old one's until discovery finds out; then they come again, after the gap that is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use librdkafka_calls::TopicId;
use parking_lot::Mutex;

/// An id that could not be read; no broker gives it.
const UNREADABLE: TopicId = TopicId::from_bytes([0xff; 16]);

/// The ids that the client has taken up since they were last asked for.
#[derive(Debug, Default)]
pub(super) struct SeenIds {
    taken_up: Mutex<HashMap<String, TopicId>>,
    has_news: AtomicBool,
}

impl SeenIds {
    /// Takes notice of a line that the client wrote for debugging.
    ///
    /// Called by the client's thread before it fetches from the topic of the new id.
    pub(super) fn read_line(&self, text: &str) {
        if let Some((topic, id)) = parse(text) {
            self.taken_up.lock().insert(topic.to_owned(), id);
            self.has_news.store(true, Ordering::Release);
        }
    }

    /// Returns what changed since the last call; cheap when nothing did.
    pub(super) fn take(&self) -> HashMap<String, TopicId> {
        if !self.has_news.load(Ordering::Acquire) {
            return HashMap::new();
        }
        let mut taken_up = self.taken_up.lock();
        self.has_news.store(false, Ordering::Release);
        std::mem::take(&mut taken_up)
    }
}

/// Reads `…Topic NAME changed id from ID to ID`.
fn parse(text: &str) -> Option<(&str, TopicId)> {
    let (before, ids) = text.rsplit_once(" changed id from ")?;
    let (_, topic) = before.rsplit_once(' ').unwrap_or(("", before));
    let (_, id) = ids.split_once(" to ")?;
    // librdkafka has used both alphabets of base64.
    let id = id.trim().trim_end_matches('=');
    let id = id.replace('-', "+").replace('_', "/");
    let bytes = STANDARD_NO_PAD.decode(id).ok();
    let bytes: Option<[u8; 16]> = bytes.and_then(|bytes| bytes.try_into().ok());
    Some((topic, bytes.map_or(UNREADABLE, TopicId::from_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_line_of_a_topic_that_changed_its_id_and_no_other() {
        let seen = SeenIds::default();
        seen.read_line("[thrd:main]: Topic rig [0] Leader 1 Epoch 0");
        assert!(seen.take().is_empty());
        seen.read_line(
            "[thrd:main]: Topic rig changed id from AAAAAAAAAAAAAAAAAAAAAA to AQIDBAUGBwgJCgsMDQ4-_w",
        );
        seen.read_line("[thrd:main]: Topic other changed id from x to junk");
        let taken = seen.take();
        let id = TopicId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0x3e, 0xff]);
        assert_eq!((taken["rig"], taken["other"]), (id, UNREADABLE));
        assert!(seen.take().is_empty());
    }
}
