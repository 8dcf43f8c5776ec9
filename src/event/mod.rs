//! CloudEvents in all their encodings, and what is read out of them.
//!
//! ```text
//! Kafka record ─▶ decode_kafka ─┐                 ┌─▶ CloudEvent::attribute, attributes
//! HTTP request ─▶ decode_http ──┼─▶ CloudEvent ───┤
//! any HTTP request ─▶ decode_any┤  (JSON bytes)   └─▶ PointerSet::extract ─▶ Scalar
//! NATS message ─▶ decode_nats ──┘
//! ```
//!
//! # Invariants
//! - A [`CloudEvent`] holds one JSON object in UTF-8 that was validated as a whole: grammar, nesting, no lone surrogate,
//!   no repeated member, no control character in an attribute. An event that came in structured mode keeps its bytes.
//! - Nothing here recurses deeper than [`NESTING_LIMIT`].
//! - Numbers are compared by their exact value and never go through floating point.
//!
//! # Source
//! CloudEvents 1.0.2 core, JSON format, Kafka, HTTP and NATS protocol bindings; versions 0.1 to 0.3 as RIG accepted them.
//! RFC 8259 (JSON), RFC 6901 (JSON pointer).

mod any_body;
mod attributes;
mod batch;
mod binary;
mod cloud_event;
mod cursor;
mod decode_error;
mod epoch;
mod http_binding;
mod json;
mod kafka_binding;
mod media_type;
mod nats_binding;
mod number;
mod pointer;
mod pointer_set;
mod positions;
mod scalar;
mod text;

pub use any_body::{AnyBody, decode_any};
pub use attributes::Attributes;
pub use batch::BatchError;
pub use cloud_event::CloudEvent;
pub use cursor::{Cursor, CursorError, MAX_CURSOR_CHARS, max_partitions};
pub use decode_error::{DecodeError, EventFault};
pub use epoch::Epoch;
pub use http_binding::{Submission, SubmissionError, decode_http};
#[cfg(test)]
pub(crate) use json::is_valid;
pub use json::{
    JsonFault, Members, MembersFault, NESTING_LIMIT, check_text, parse_list, shorten, string_value,
};
pub use kafka_binding::decode_kafka;
pub use media_type::{JSON_EVENT, is_event_stream, is_json};
pub use nats_binding::decode_nats;
pub use number::Number;
pub use pointer::{JsonPointer, PointerError};
pub use pointer_set::PointerSet;
pub use positions::{Positions, Range, Resolved, TopicHash};
pub use scalar::Scalar;
pub use text::Text;
