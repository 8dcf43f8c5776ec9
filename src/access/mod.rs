//! Who may do what: the credentials of a request, the checks, the rules, the limits.
//!
//! ```text
//! request ─▶ credentials ─▶ tickets? ─▶ identity::Verifier ─▶ session::Blacklist ─▶ Visitor
//!                                                                                    │
//! subscriptions ─▶ check (nobody · token · rules · URL) ─▶ narrow (forced by claims) ◀┤
//! event         ─▶ check (nobody · token · rules · URL)                              ◀┘
//! ```
//!
//! # Invariants
//! - A check that cannot be made denies.
//! - A token, a ticket and their claims are in no log, no metric and no error text.
//! - What claims force holds for the connection's life, whatever its client asks for later and wherever.
//!
//! # Source
//! RFC 6750 (bearer tokens), RFC 8725 (best current practices of JWT), RIG's checks.

mod admission;
mod asker;
mod check;
mod config;
mod counted;
mod credentials;
mod decide;
mod gate;
mod limit;
mod places;
mod rates;
mod refusal;
mod rules;
mod tickets;
mod visitor;

pub use check::as_request;
pub use config::{AccessConfig, AccessConfigError, CheckKind, NotACheck};
pub use gate::{Access, AccessParts};
pub use limit::{Full, Limit};
pub use places::{Place, Places, PlacesConfig};
pub use rates::{Rates, RatesConfig};
pub use refusal::session_killed;
pub use rules::{Denied, Rules, RulesError, RulesFault};
pub use visitor::Visitor;
