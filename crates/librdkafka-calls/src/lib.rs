//! Calls of librdkafka that its Rust binding does not have.
//!
//! They are made over the C interface. This crate exists to keep `unsafe` out of the rest of the program.
//!
//! # Invariants
//! - Whatever librdkafka allocates is held by `Owned` from the moment it is returned.
//! - Nothing borrowed from librdkafka leaves this crate; names and ids are copied.
//!
//! # Source
//! `rdkafka.h`.

mod brokers;
mod owned;
mod topic_ids;

pub use brokers::add_brokers;
pub use topic_ids::{Described, Error, TopicId, topic_ids};
