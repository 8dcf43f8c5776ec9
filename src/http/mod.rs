//! The HTTP server side: listeners, requests, replies, errors, routing and CORS.
//!
//! ```text
//! Listener ─accept─▶ TLS? ─▶ connection task: hyper parses ─▶ Request ─▶ Handler ─▶ Reply::Response ─▶ hyper writes
//!                                                                                ├▶ Reply::Streamed ─▶ as it comes
//!                                                                                ├▶ Reply::Later: without hyper, then so
//!                                                                                └▶ Reply::TakenOver ─▶ TakeOver
//!   HTTP/1.1: the socket, or TLS, and what was read ahead; hyper and the task are gone ◀─ connection ◀─┤
//!   HTTP/2: what follows the head on its stream ◀───────────────────────────────────────────── body ◀─┘
//! ```
//!
//! # Invariants
//! - Nothing is handed over before everything written earlier on the connection has reached the kernel.
//! - A request whose end could be disputed is refused, and its connection is closed: two `Host`,
//!   `Content-Length` with `Transfer-Encoding`, any transfer coding but one `chunked`.
//! - The rest of a body that nobody read is never parsed as a request.
//! - Every wait for the client has a limit: see [`HttpLimits`].
//! - Who a client is, is decided once ([`Request::client_address`]); what a stranger writes into headers counts
//!   for nothing.
//! - An answer that breaks off cannot be taken for a whole one, nor a request's body for one that has ended.
//! - A handler need not know the version of HTTP, or whether there is TLS.
//!
//! # Backpressure
//! A connection of HTTP/1.1 handles one request at a time and reads no further request while it does. A client
//! that does not take its answer is closed after the write timeout. One of HTTP/2 has at most 256 streams,
//! each with 64 KiB of a request's body that nobody reads yet and 16 KiB of an answer that the client does
//! not take; a client that does not answer a ping is closed. Bodies that stream, of requests and of answers, are asked
//! for as fast as the slower side takes them, and no faster. When the process runs out of file
//! descriptors, connections wait in the kernel's backlog.
//!
//! # Source
//! RFC 9110, RFC 9112 (message framing: section 6; connections: section 9), RFC 9113 (HTTP/2), RFC 8441
//! (WebSocket over HTTP/2), RFC 9457 (problem details), RFC 7239 (`Forwarded`), WHATWG Fetch (CORS protocol).

mod authorities;
mod body_memory;
mod certificate;
mod connection;
mod cookie;
mod cors;
mod ending;
mod error;
mod event_errors;
mod forwarded;
mod framing;
mod http2;
mod idle;
mod limits;
mod listener;
mod meter;
mod open_answer;
mod paced;
mod pause;
mod peer;
mod proxies;
mod query;
mod received;
mod reply;
mod request;
mod resets;
mod router;
mod sent;
mod socket;
mod tls;
mod tls_error;
mod tunnel;
mod unread;
mod vouching;
mod wire;

#[cfg(test)]
mod wire_tests;

pub use body_memory::{BodyMemory, HeldMemory};
pub use cookie::cookie;
pub use cors::{Cors, CorsConfig, CorsError};
pub use error::HttpError;
pub use idle::IdleTimer;
pub use limits::HttpLimits;
pub use listener::{BindError, Listener, Serving};
pub use peer::client_network;
pub use proxies::{NotANetwork, TrustedProxies, TrustedProxyConfig};
pub use query::Query;
pub use reply::{Body, Duplex, Handler, Later, Link, Reply, StreamBody, TakeOver, TakenConnection};
pub use request::Request;
pub use router::{Params, Routed, Router};
pub use tls::{Tls, TlsConfig};
pub use tls_error::TlsError;
