//! The replay log: the newest events, for everybody who has to catch up.
//!
//! ```text
//! ingest ─append─▶ ReplayLog ─read─▶ shards, for connections that resume or lag behind
//! ```
//!
//! # Invariants
//! - Events are numbered without gaps in the order in which every shard sees them.
//! - The positions of the partitions never go back along the log: the beginning of a topic that was made
//!   anew is after all of the one before. (Where the broker gives topics no ids, they do go back then.)
//!
//! # Backpressure
//! The log is bounded in bytes and drops its oldest batches; a reader that asks for what was dropped
//! is told so and never gets a silent hole.

mod config;
mod log;

pub use config::ReplayConfig;
pub use log::{Batch, LoggedEvent, Read, ReplayLog, Sequence, StartingPoint};
