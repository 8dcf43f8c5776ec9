//! The past, for everybody who has to catch up: the newest events in memory, older ones from Kafka.
//!
//! ```text
//! ingest ─append─▶ ReplayLog ─read─▶ shards, for connections that resume or lag behind
//!  Kafka ─reader─▶ History ──page─▶ the same, where the log does not reach back
//! ```
//!
//! # Invariants
//! - The events of the log are numbered without gaps in the order in which every shard sees them.
//! - A page has every event of its piece of a partition.
//! - The positions of the partitions never go back along the log: the beginning of a topic that was made
//!   anew is after all of the one before. (Where the broker gives topics no ids, they do go back then.)
//!
//! # Backpressure
//! Log and pages are bounded in bytes each. The log drops its oldest batches, and who still needs them
//! reads them from Kafka; there is one reader, of up to 16 partitions at a time, and who needs a page
//! that is being read waits for it. What Kafka has deleted is told, never a silent hole.

mod config;
mod history;
mod locate;
mod log;
mod newest;
mod pages;
mod reader;
mod record;
mod running;

pub use config::ReplayConfig;
pub use history::{Busy, History, HistoryError, HistoryParts, Turn};
pub use locate::{Ends, StartAt, Wanted};
pub use log::{Batch, Found, Held, LoggedEvent, Read, ReplayLog, Sequence};
pub use pages::Page;
pub use record::{Record, RecordDecoder, Rejected};
