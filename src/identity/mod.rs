//! Who somebody is: tokens, the keys that verify them, and what they claim.
//!
//! ```text
//! token ─▶ header: what it may say ─▶ key: fixed, or of the key set by kid ─▶ signature ─▶ claims: time, iss, aud ─▶ Claims
//!                                            ▲
//!                          KeyServer: one task that fetches the set, in time and on demand
//! ```
//!
//! # Invariants
//! - A key verifies only with the algorithms that fit it and that the configuration allows. What a token
//!   says chooses among them and among the keys of the set, and nothing else: no URL, key or file that a
//!   token names is looked at.
//! - Every token has to say when it expires.
//! - A key set that cannot be had or read leaves the last good one in force. One that can replaces it whole.
//! - An unknown key is looked for before a token is refused for it, so that a rotation refuses nobody.
//! - No token, claim or secret gets into a log line, a metric, an error or a `Debug` text.
//!
//! # Backpressure
//! Unknown keys cause one fetch at a time, and one within `JWT_JWKS_COOLDOWN`. At most 1,024 different
//! ones wait for it, for at most five seconds; then, and beyond that, the answer is
//! [`TokenError::KeysUnavailable`].
//!
//! # Source
//! RFC 7515 (JWS), RFC 7517 (JWK), RFC 7518 (JWA), RFC 7519 (JWT), RFC 8037 and RFC 9864 (Ed25519),
//! RFC 8725 (best practices), OpenID Connect Discovery 1.0.

mod algorithm;
mod claims;
mod config;
mod header;
mod key;
mod key_server;
mod key_set;
mod pem;
mod provider;
mod token_error;
mod verifier;

#[cfg(test)]
mod tests;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use claims::Claims;
pub use config::{IdentityConfig, IdentityError};
pub use pem::PemError;
pub use token_error::TokenError;
pub use verifier::Verifier;
