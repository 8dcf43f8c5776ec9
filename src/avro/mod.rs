//! Avro with the schemas of a registry: JSON into the bytes that Confluent's clients read, and back.
//!
//! ```text
//! subject ─▶ Registry ─▶ AvroSchema ─encode─▶ 0x00 · id (4 bytes, big-endian) · datum
//! framed bytes ─▶ Registry::decode ─▶ the schema of that id ─▶ JSON
//! ```
//!
//! JSON is plain: a value of a union stands as it is, not below the name of its branch. The first branch that takes
//! a value gets it. Bytes are strings of the characters U+0000 to U+00FF, as in Avro's own JSON. Logical types count
//! as the types below them: a date is a number of days.
//!
//! # Invariants
//! - A schema that was fetched once is used for as long as the registry is away.
//! - Each question is asked once at a time, takes two seconds at most, and is not asked again at once after it failed.
//! - Bytes from outside are read to a depth of [`NESTING_LIMIT`](crate::event::NESTING_LIMIT), and take no more
//!   memory than their length allows, whatever they say about themselves.
//!
//! # Backpressure
//! None here: whoever needs a schema waits for it.
//!
//! # Source
//! Apache Avro 1.12, binary encoding and JSON encoding; Confluent's wire format, and its schema registry's
//! `/subjects/{subject}/versions/{version}` and `/schemas/ids/{id}`.

mod config;
mod decode;
mod encode;
mod registry;
mod schema;
mod slot;

#[cfg(test)]
mod tests;

pub use config::{AvroConfig, AvroConfigError, RegistryUrls, Serializer};
pub use decode::Malformed;
pub use encode::{Fault, Mismatch};
pub use registry::{DecodeError, Registry, RegistryError};
pub use schema::{AvroSchema, SchemaError};
