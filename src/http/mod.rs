//! The HTTP server side: listeners, requests, replies, errors, routing and CORS.
//!
//! ```text
//! Listener ─accept─▶ connection task: hyper parses ─▶ Request ─▶ Handler ─▶ Reply::Response ─▶ hyper writes
//!                                                                        └▶ Reply::TakeOver ─▶ TakenSocket: the
//!                                             hyper and the task are gone ◀┘   socket, and what was read ahead
//! ```
//!
//! # Invariants
//! - Nothing is handed over before everything written earlier on the connection has reached the kernel.
//! - A request whose end could be disputed is refused, and its connection is closed: two `Host`,
//!   `Content-Length` with `Transfer-Encoding`, any transfer coding but one `chunked`.
//! - The rest of a body that nobody read is never parsed as a request.
//! - Every wait for the client has a limit: see [`HttpLimits`].
//!
//! # Backpressure
//! A connection handles one request at a time and reads no further request while it does. A client
//! that does not take its answer is closed after the write timeout. When the process runs out of file
//! descriptors, connections wait in the kernel's backlog.
//!
//! # Source
//! RFC 9110, RFC 9112 (message framing: section 6; connections: section 9), RFC 9457 (problem details),
//! WHATWG Fetch (CORS protocol).

mod connection;
mod cors;
mod error;
mod framing;
mod limits;
mod listener;
mod reply;
mod request;
mod router;
mod wire;

#[cfg(test)]
mod wire_tests;

pub use cors::{Cors, CorsConfig, CorsError};
pub use error::HttpError;
pub use limits::HttpLimits;
pub use listener::{BindError, Listener, Serving};
pub use reply::{Body, Handler, Reply, TakeOver, TakenSocket};
pub use request::{Query, Request};
pub use router::{Params, Routed, Router};
