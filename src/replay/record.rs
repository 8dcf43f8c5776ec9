//! From a Kafka record to a logged event; the same for what is read live and what is read again.

use std::hash::{BuildHasher as _, Hasher as _};

use rdkafka::message::{BorrowedMessage, Message as _};

use std::sync::Arc;

use super::log::LoggedEvent;
use crate::event::{DecodeError, decode_kafka};
use crate::kafka::readable_headers;
use crate::subscription::Extractors;
use crate::telemetry::Rejection;

/// A record as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The topic's index in the configured order.
    pub topic: u16,
    /// The partition of the topic.
    pub partition: u32,
    /// The record's offset in the partition.
    pub offset: i64,
    /// The record's timestamp, in Unix milliseconds.
    pub timestamp_ms: i64,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// The value; `None` for a record without one.
    pub value: Option<&'a [u8]>,
}

impl Record<'_> {
    /// Calls `take` with a record as the Kafka client has it.
    pub(crate) fn of_message<T>(
        message: &BorrowedMessage<'_>,
        topic: u16,
        partition: u32,
        take: impl FnOnce(Record<'_>) -> T,
    ) -> T {
        let headers = readable_headers(message);
        take(Record {
            topic,
            partition,
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0).max(0),
            key: message.key(),
            headers: &headers,
            value: message.payload(),
        })
    }
}

/// Makes events of records.
#[derive(Debug, Clone)]
pub struct RecordDecoder {
    /// Which fields of which events can be constrained.
    pub extractors: Arc<Extractors>,
    /// The largest record taken, in bytes of its value.
    pub max_event_bytes: usize,
}

impl RecordDecoder {
    /// Decodes a record; its value is copied once.
    ///
    /// # Errors
    /// [`Rejected`] for a record that is no event.
    pub fn decode(&self, record: Record<'_>) -> Result<LoggedEvent, Rejected> {
        let size_bytes = record.value.map_or(0, <[u8]>::len);
        if size_bytes > self.max_event_bytes {
            return Err(Rejected::TooLarge {
                size_bytes,
                limit_bytes: self.max_event_bytes,
            });
        }
        let event = decode_kafka(record.headers, record.value)?;
        let fields = self.extractors.extract(&event);
        Ok(LoggedEvent {
            event,
            fields,
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key_hash: record.key.map(key_hash),
        })
    }
}

/// Hashes a record's key; equal keys have equal hashes in one process.
fn key_hash(key: &[u8]) -> u64 {
    let mut hasher = foldhash::quality::FixedState::default().build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// Why a record is not an event.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// The value is larger than allowed.
    #[error("the value has {size_bytes} bytes, more than the {limit_bytes} allowed")]
    TooLarge {
        /// The size of the value.
        size_bytes: usize,
        /// What is allowed.
        limit_bytes: usize,
    },
    /// It is not a CloudEvent.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Rejected {
    /// Returns the reason under which the metrics count it.
    #[must_use]
    pub const fn reason(&self) -> Rejection {
        match self {
            Self::TooLarge { .. } => Rejection::TooLarge,
            Self::Decode(error) => match error {
                DecodeError::NullValue => Rejection::NullValue,
                DecodeError::NotJson { .. } => Rejection::NotJson,
                DecodeError::NotACloudEvent { .. } => Rejection::NotACloudEvent,
                DecodeError::UnknownVersion { .. } => Rejection::UnknownVersion,
                DecodeError::UnsupportedFormat { .. } => Rejection::UnsupportedFormat,
                DecodeError::TooDeep { .. } => Rejection::TooDeep,
            },
        }
    }
}
