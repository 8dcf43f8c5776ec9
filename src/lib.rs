//! Sluicegate, the bridge between Kafka and frontends.

pub mod http;
pub mod settings;
pub mod telemetry;
