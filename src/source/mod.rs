//! Reads the source topics and hands every record to ingest, in the order of each partition; and writes to Kafka what
//! comes in as events over other ways.
//!
//! ```text
//! discovery thread ── metadata, committed offsets, ends ──▶ polling thread ──▶ Ingest ─▶ log, shards
//!   every 2 s: new topics and partitions                      batches; offsets stored after each
//!
//! NATS ─▶ NatsSource ─┐
//! HTTP ───────────────┴─▶ EventWriter ─▶ Kafka, and from there as above, on all instances
//! ```
//!
//! # Invariants
//! - Every instance reads all partitions. It assigns them to itself, so nothing is ever rebalanced.
//! - A partition that exists at start is read from a fixed number of records before the end seen then,
//!   so that the replay log reaches back; streams begin after that end. What is produced later is seen.
//!   A partition that appears later is read from its beginning.
//! - A topic that was deleted and made anew is told from the one before by its id. Its records come after
//!   everybody was told, from its beginning, and never under the old one's name.
//! - An offset is committed only after the batch with its record was handed on.
//! - Kafka being away stops nothing but the flow; it goes on by itself.
//!
//! # Backpressure
//! [`Ingest::flush`] blocks while a receiver is behind. Then nothing is polled, and the client's
//! fetch queue (16 MiB) fills up. Partitions are never paused: that throws their queues away.

mod ask;
mod config;
mod context;
mod discovery;
mod ingest;
mod kafka;
mod nats;
mod poller;
mod progress;
mod seen_ids;
mod start;
mod writer;

pub use config::SourceConfig;
pub use ingest::{Ingest, IngestParts};
pub use kafka::{KafkaSource, SourceError};
pub use nats::{NatsSource, NatsSourceConfig, NatsSourceParts};
pub use writer::EventWriter;
