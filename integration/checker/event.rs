//! The numbered events. What one carries follows from the seed, its key and its number, so that nobody
//! has to remember it.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::random::Random;

/// The partitions of the topic.
pub const PARTITIONS: u32 = 12;
/// The types of the events.
pub const TYPES: [&str; 4] = ["orders.created", "orders.paid", "stock.moved", "misc"];
/// The values of the field `city`.
pub const CITIES: [&str; 4] = ["Vienna", "Graz", "Linz", "Wels"];
/// How many values the field `level` has.
pub const LEVELS: u8 = 5;
/// The type of the last event of each partition, which every client gets.
pub const END_TYPE: &str = "checker.end";
/// The key of the last events; their number is the partition.
const END_KEY: u16 = u16::MAX;

/// Which event: the key that it was written under, and its number there, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    pub key: u16,
    pub number: u32,
}

/// What an event carries that a filter can look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    pub event_type: &'static str,
    pub city: &'static str,
    pub level: u8,
    pub key: u16,
}

impl EventId {
    /// Returns the last event of a partition.
    pub const fn end_of(partition: u32) -> Self {
        Self {
            key: END_KEY,
            number: partition,
        }
    }

    pub const fn is_end(self) -> bool {
        self.key == END_KEY
    }

    /// Returns what this event carries.
    pub fn content(self, seed: u64) -> Content {
        let place = u64::from(self.key) << 32 | u64::from(self.number);
        let mut random = Random::new(seed ^ place.wrapping_mul(0x2545_f491_4f6c_dd1d));
        Content {
            event_type: if self.is_end() {
                END_TYPE
            } else {
                random.pick(&TYPES)
            },
            city: random.pick(&CITIES),
            level: (random.next() % u64::from(LEVELS)) as u8,
            key: self.key,
        }
    }

    /// Returns the CloudEvent, with so many bytes that nobody looks at.
    pub fn to_json(self, seed: u64, padding: usize) -> String {
        let content = self.content(seed);
        let event = json!({
            "specversion": "1.0",
            "id": self.to_string(),
            "source": "/checker",
            "type": content.event_type,
            "subject": content.subject(),
            "partitionkey": content.subject(),
            "data": {
                "city": content.city,
                "level": content.level,
                "padding": "x".repeat(padding),
            },
        });
        event.to_string()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key, self.number)
    }
}

impl FromStr for EventId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, number) = text.split_once('/').unwrap_or((text, ""));
        Ok(Self {
            key: key.parse()?,
            number: number.parse()?,
        })
    }
}

impl Content {
    /// Returns the attribute `subject`, which names the key.
    pub fn subject(&self) -> String {
        subject_of(self.key)
    }

    /// Returns whether an event as it arrived carries this.
    pub fn is_in(&self, event: &Value) -> bool {
        event["type"] == self.event_type
            && event["subject"] == self.subject()
            && event["data"]["city"] == self.city
            && event["data"]["level"] == self.level
    }
}

/// Returns the subject of the events of a key.
pub fn subject_of(key: u16) -> String {
    format!("key-{key}-")
}

/// Returns the extractors that the instances are started with.
pub fn extractors() -> String {
    let fields = json!({
        "city": { "stable_field_index": 0, "event": { "json_pointer": "/data/city" } },
        "level": { "stable_field_index": 1, "event": { "json_pointer": "/data/level" } },
    });
    let types = TYPES
        .iter()
        .map(|name| ((*name).to_owned(), fields.clone()));
    Value::Object(types.collect()).to_string()
}
