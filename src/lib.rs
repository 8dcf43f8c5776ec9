//! Sluicegate, the bridge between Kafka and frontends.

pub mod telemetry;
