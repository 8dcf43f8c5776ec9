//! Sluicegate, the bridge between Kafka and frontends.

pub mod kafka;
pub mod shared;
pub mod source;
pub mod telemetry;
