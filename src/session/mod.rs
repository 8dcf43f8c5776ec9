//! Who is connected, at which instance, until when, and who may not be any more.
//!
//! ```text
//! a connection with a token ─▶ Registry (this instance): by session, by user, by the time of its end
//!        ▲ told before its token expires, closed after        │ who is here?
//!        │                                                     ▼
//! Blacklist (shared state) ─▶ every instance's Registry     Directory ─▶ all instances, over the command topic
//!                                    └─▶ Stays: what else ends with a session, such as a tunnel to a backend
//! ```
//!
//! # Invariants
//! - A connection is entered before the blacklist is looked at: a session that is ended meanwhile is seen
//!   by one of the two.
//! - An entry of the blacklist is in the compacted state topic: every instance has it within a moment, a
//!   new one before it is ready, and all of them after a restart of everything.
//! - Names of users and sessions are in no log and no metric.

mod blacklist;
mod config;
mod directory;
mod guest;
mod members;
mod numbers;
mod presence;
mod registry;
mod stays;
mod times;

pub use blacklist::{Blacklist, MAX_SESSION_BYTES};
pub use config::SessionConfig;
pub use directory::{
    Counts, Directory, LIST_COMMAND, MAX_LISTED, OpenConnection, OpenSession, Page, Wanted,
};
pub use guest::{Guest, UnreadableGuest};
pub use presence::PresenceEvents;
pub use registry::{Member, Registry};
pub use stays::{Stay, Stays};
