//! The request proxy: commands of clients on their way to HTTP backends, Kafka and NATS, and the answers back.
//!
//! ```text
//! Request ─▶ Apis: which route? ─▶ secured? ─▶ Call ─┬─ HTTP ──▶ upstream ──────────────▶ streamed answer
//!                                                    ├─ Kafka ─▶ producer ─▶ 202 ┐
//!                                                    └─ NATS ──▶ server ─▶ 202 ──┤ or, where the route says so,
//!                                                                                ▼
//!                     Answers: waits for Kafka, a callback, or NATS; or 202 and where to ask later
//! ```
//!
//! # Invariants
//! - A request reaches the target of its route or none: the path is appended to the configured base, the upstream
//!   gets its own `Host`, and a path that could be read in two ways is refused.
//! - An answer reaches the client that its correlation id was made for, whichever instance gets it: the ids are
//!   sealed and name the instance.
//! - 202 says that Kafka or NATS has it.
//! - Metrics and the log of the console name routes, never what a client wrote.
//!
//! # Backpressure
//! Bodies stream through with the pace of the slower side. What waits for answers is bounded in number and bytes.

mod answers;
mod apis;
mod call;
mod command_event;
mod definition;
mod event_data;
mod handler;
mod ongoing;
mod query;
mod request_log;
mod route;
mod routes;
mod secured;
mod settings;
mod to_http;
mod to_kafka;
mod to_nats;
mod topics;
mod upstream;

pub use answers::{
    Answer, Answers, AnswersConfig, AnswersInbox, AnswersParts, Delivered, MAX_ANSWER_BYTES,
    MessageFault,
};
pub use apis::{ApiError, Apis, ApisConfig, ApisConfigError, ConfiguredApis, MAX_API_BYTES};
pub use call::Caller;
pub use command_event::CommandConfig;
pub use definition::{Faults, Hosts, Means};
pub use handler::{Proxy, ProxyParts};
pub use request_log::{RequestLog, RequestLogConfig, RequestLogError, RequestLogParts};
pub use settings::ProxySettings;
pub use topics::{TopicMaker, listen_for_answers};
pub use upstream::UpstreamConfig;
