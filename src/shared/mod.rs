//! What all instances of a cluster agree on, kept in Kafka: small state, and commands between them.
//!
//! ```text
//! put ──▶ <cluster>.state, compacted ──▶ every instance's StateLog ──▶ get, changes
//! request ──▶ <cluster>.commands ──▶ the target's handler ──▶ <cluster>.commands ──▶ reply
//! ```
//!
//! # Invariants
//! - Instances with the same Kafka and `CLUSTER_NAME` are one cluster. There is no other protocol.
//! - The state is the same everywhere, in the order of its topic's one partition; an instance reads
//!   it to the end before it says that it is ready.
//! - Who writes sees what was written: `put` returns after the own reader has passed the record.
//! - There is no built-in key: [`ClusterKey`] is derived from `NODE_COOKIE`, or random and shared.
//!
//! # Backpressure
//! Each topic has a polling thread. A subscriber of changes that falls behind is told so; a full
//! queue of commands stops the polling of commands, and Kafka keeps them for ten minutes.

mod commands;
mod follower;
mod members;
mod message;
mod records;
mod secret;
mod state;

pub use commands::{CommandError, CommandHandler, CommandLog, CommandReply};
pub use follower::FollowError;
pub use records::{RecordError, Records};
pub use secret::{ClusterKey, SharedConfig};
pub use state::{Change, StateError, StateLog};
