//! Sluicegate, the bridge between Kafka and frontends.

pub mod kafka;
pub mod telemetry;
