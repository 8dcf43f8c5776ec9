//! Answers to commands that come later, and reach the client that waits wherever they come in.
//!
//! ```text
//! Command ─▶ Answers::run ─ correlation id ─▶ target ─▶ backend, worker
//!               │ waits, or 202 and where to ask later           │
//!               ▼                                                ▼
//! client ◀─── Table ◀─ this instance? ◀─ Answers::deliver ◀─ Kafka, /v3/responses, NATS
//!                          └─ no: over the command topic to the instance that the id names
//! ```
//!
//! # Invariants
//! - A correlation id is sealed, names one life of an instance and a number that is never used again: an answer
//!   reaches the client that it is for, or nobody.
//! - A command that is given up, by its client or at the deadline, leaves nothing behind.
//! - Only who began a command can ask for its answer, with an id that cannot be used to answer.
//!
//! # Backpressure
//! Commands that wait, and those whose answer is kept and has not come, are bounded in number, each on their own, and
//! nobody has more of these places than are left; answers that are kept are bounded in bytes, the oldest dropped first.
//!
//! # Source
//! RIG's header contract of answers; RFC 7240 (`Prefer`); draft-ietf-httpapi-idempotency-key-header.

mod answer;
mod attempt;
mod attempts;
mod command;
mod config;
mod correlation;
mod delivered;
mod desk;
mod discovery;
mod elsewhere;
mod in_work;
mod key;
mod keys;
mod later;
mod message;
mod once;
mod passed;
mod places;
mod pledge;
mod reader;
mod recent;
mod refusals;
mod reply;
mod run;
mod table;

pub use answer::Answer;
pub use config::AnswersConfig;
pub use delivered::Delivered;
pub use elsewhere::MAX_ANSWER_BYTES;
pub(in crate::proxy) use message::CORRELATION_HEADER;
pub use message::MessageFault;
pub(in crate::proxy) use places::Place;
pub(in crate::proxy) use refusals::bad_answer;
pub use run::{Answers, AnswersInbox, AnswersParts};

pub(in crate::proxy) use command::{Command, Sending, Sent, preferred_wait};

#[cfg(all(test, feature = "embedded-broker"))]
mod tests;
