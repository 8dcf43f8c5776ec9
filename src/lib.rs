//! Sluicegate, the bridge between Kafka and frontends.

pub mod dispatch;
pub mod event;
pub mod kafka;
pub mod subscription;
pub mod telemetry;
