//! What the integration tests are written with.

pub mod brokers;
pub mod certificates;
pub mod clients;
pub mod commands;
pub mod doors;
pub mod forger;
pub mod gateway;
pub mod h2;
pub mod http;
pub mod issuer;
pub mod judge;
pub mod kafka;
pub mod load;
pub mod longpoll;
pub mod nats;
pub mod program;
pub mod records;
pub mod registry;
pub mod sessions;
pub mod sse;
pub mod tokens;
pub mod ways;
pub mod ws;
