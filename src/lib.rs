//! Sluicegate, the bridge between Kafka and frontends.

pub mod event;
pub mod telemetry;
