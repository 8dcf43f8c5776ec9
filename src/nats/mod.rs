//! The client of NATS: publish with the server's confirmation, request and reply, queue groups.
//!
//! ```text
//! publish ─▶ message, then an echo to our own inbox ─▶ server ─▶ echo comes back: the server has both
//! request ─▶ the same, with a place in our inbox for the reply; at once, if nobody listens: an error
//! subscribe ─▶ queue group ─▶ messages
//! ```
//!
//! # Invariants
//! - NATS being away stops nothing: the client connects in the background, for ever, and what needs it says that it is
//!   not there.
//! - A publish is confirmed by the server over the same connection, or is an error. The wire protocol has no
//!   acknowledgement, but a server works off what one connection sends in order; so when an empty message to
//!   ourselves comes back, it has taken what was sent before. A connection made anew in between confirms nothing.
//! - Names of places in the inbox are random: whoever replies to one request cannot reply to another.
//! - Rooms above know the types of this one, never those of the library. Without the feature `nats` they are the same,
//!   and there never is a client.
//!
//! # Backpressure
//! 2,048 commands wait for the connection at most, then who sends waits, up to a deadline. Of each subscription,
//! 8,192 messages wait for who reads; what comes then is dropped and counted, as NATS does with slow consumers.
//!
//! # Source
//! The NATS client protocol: `HPUB`, `HMSG`, `SUB` with a queue group, `no_responders`.

mod config;
mod error;
mod message;
mod tls;

#[cfg(not(feature = "nats"))]
mod absent;
#[cfg(feature = "nats")]
mod client;
#[cfg(feature = "nats")]
mod inbox;
#[cfg(feature = "nats")]
mod permits;
#[cfg(feature = "nats")]
mod watch;

#[cfg(not(feature = "nats"))]
pub use absent::{AwaitedReply, NatsClient, Subscription};
#[cfg(feature = "nats")]
pub use client::{NatsClient, Subscription};
pub use config::{NatsConfig, ServerList};
pub use error::{NatsConfigError, NatsError};
#[cfg(feature = "nats")]
pub use inbox::AwaitedReply;
pub use message::{NatsMessage, OutgoingMessage};
