//! HTTP targets: requests go on to backends, and their answers come back.
//!
//! ```text
//! Call ─▶ forward: head for the backend ─▶ exchange ─▶ addresses: which? ─▶ connection: kept, shared or dialled
//!            │ the body, read once, as fast as the backend takes it            │
//!            ▼                                                                 ▼ the head of the answer
//!      Reply::Streamed ◀─ answer_body: as fast as the client takes it ◀────────┤
//!      Reply::TakenOver ◀ tunnel: a WebSocket, both ways ◀─────────────────────┤
//!      to_http ◀───────── a 202, where the answer comes later ◀────────────────┘
//! ```
//!
//! # Invariants
//! - A request goes to an address of its upstream, under its base path, whatever its target or its `Host` say.
//! - Fields about a connection end here, in both directions; a body is framed anew in each.
//! - An answer that others could read in another way is a 502. One that breaks off is seen to break off.
//! - What lasts on a secured route, a tunnel or an answer that streams, ends with the session that it was begun in.
//! - What may have reached a backend is sent again only under the rules of [`exchange`].
//! - Redirects are answers. No proxy of the environment is used. Names are looked up for each new connection.
//!
//! # Backpressure
//! Of a body, each direction holds at most 64 KiB on HTTP/1.1 and 256 KiB on HTTP/2; whoever is slower sets the pace.
//! Idle connections are limited for each address, those in use by the requests that clients may make.
//!
//! # Source
//! RFC 9110, section 7 (forwarding); RFC 9112; RFC 9113; RFC 6455 and RFC 8441 (WebSocket).

mod addresses;
mod answer_body;
mod budget;
mod config;
mod connection;
mod dial;
mod error;
mod exchange;
mod failure;
mod forward;
mod headers;
mod health;
mod lasting;
mod preface;
mod probe;
mod request_body;
mod socket;
mod target;
mod tcp;
mod tunnel;
mod upstreams;

#[cfg(test)]
mod tests;

pub use config::UpstreamConfig;
pub(super) use forward::Forwarder;
pub(super) use lasting::Lasting;
pub(super) use upstreams::Upstreams;
