//! The two HTTP interfaces: which request leads where, and how errors are said.
//!
//! # Source
//! RIG's paths and answers; CloudEvents HTTP binding; RFC 9457 for errors.

mod apis;
mod events;
mod foreign;
mod health;
mod internal;
mod internal_guard;
mod public;
mod requests;
mod responses;
mod sessions;
mod subscriptions;
mod texts;
mod tickets;

pub use apis::ApiAdmin;
pub use events::{SubmissionConfig, Submissions};
pub use internal::{InternalApi, InternalParts};
pub use internal_guard::{InternalGuard, InternalGuardConfig};
pub use public::PublicApi;
pub use sessions::SessionAdmin;
pub use texts::Texts;

/// How the paths begin that no route can have.
const OWN_PATHS: &str = "/_rig/";
