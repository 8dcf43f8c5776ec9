//! Requests to other HTTP servers: key sets, checks, and whatever else an answer of another one decides.
//!
//! ```text
//! Request ─▶ Fetch ─▶ pool of connections ─▶ TCP, TLS for https ─▶ HTTP/1.1 or HTTP/2 ─▶ Response
//! ```
//!
//! # Invariants
//! - The whole exchange has an end: a time from the name's look-up to the last byte of the answer.
//! - The body of an answer is bounded. No redirect is followed: only the URL that was given is asked.
//! - Errors name the host, never the rest of a URL, a header or a body, which may hold secrets.
//!
//! # Backpressure
//! None here: who asks limits how often. Idle connections are closed after 60 seconds, and at most 16
//! for each host are kept.
//!
//! # Source
//! RFC 9110 and RFC 9112; ALPN (RFC 7301) chooses HTTP/2 on TLS.

mod client;
mod trust;
mod url;

pub use client::{Fetch, FetchError, FetchLimits};
pub use trust::{Trust, TrustError};
pub use url::{UrlError, parse_url};
