//! Sluicegate, the bridge between Kafka and frontends.
//!
//! Backend services write CloudEvents to Kafka topics; browsers and apps hold one connection and get
//! exactly the events that match their subscriptions. `docs/architecture.md` has the picture of the
//! rooms; an import may only go down in this list.

pub mod app;
pub mod config;

pub mod api;

pub mod proxy;
pub mod transport;

pub mod access;

pub mod http;
pub mod session;

pub mod shared;
pub mod source;

pub mod identity;

pub mod dispatch;

pub mod avro;
pub mod replay;

pub mod fetch;
pub mod kafka;
pub mod nats;
pub mod subscription;

pub mod event;
pub mod settings;
pub mod telemetry;
