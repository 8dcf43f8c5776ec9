//! From the log to the sockets: shards, each with its connections, their index and their outboxes.
//!
//! ```text
//! ingest ─batch─▶ Dispatcher ─▶ shard 0 … shard N-1
//!                                │ Index: who wants it?
//!                                ├─ live ──────▶ outbox ─▶ socket, pipe or poll
//!                                └─ behind ─ReplayLog, History─▶ outbox ─▶ socket, pipe or poll
//! ```
//!
//! # Invariants
//! - A connection belongs to one shard for its whole life, and a shard to one thread.
//! - A connection sees its events in the order of the log, each at most once.
//! - An event is encoded once for each wire format and shard.
//! - A connection that is too slow, or resumes, reads the log, and what the log has dropped from
//!   Kafka, for itself; it queues nothing meanwhile.
//!
//! # Backpressure
//! A shard never waits for a client. Ingest waits for the slowest shard, requests wait for a place in
//! its queue.

mod bell;
mod catch_up;
mod config;
mod connection;
mod control;
mod delivery;
mod dispatcher;
mod frames;
mod index;
mod latest;
mod leaving;
mod membership;
mod messages;
mod outbox;
mod pace;
mod past;
mod pipe;
mod remade;
mod shard;
mod sockets;
#[cfg(test)]
mod tests;
mod ticks;
mod token;
mod wire;

pub use config::{DispatchConfig, SlowClientPolicy};
pub use connection::{Polled, Start};
pub use control::ControlEvent;
pub use dispatcher::{Dispatcher, StartError, Surroundings};
pub use index::{Hits, Index, Slot};
pub use messages::{Attach, Client, ClientText, Gone, Held, Opening, Outlet};
pub use pipe::{Aborted, ClientEnd, ShardEnd, pipe};
pub use ticks::DEPARTURES;
pub use token::{ConnectionId, Incarnation, InvalidToken, Token, TokenKey};
pub use wire::{CloseReason, Format, Incoming, Input, Outgoing, Wire};
