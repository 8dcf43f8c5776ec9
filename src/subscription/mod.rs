//! What clients want: subscriptions with constraints on extracted fields and filters on attributes.
//!
//! ```text
//! EXTRACTORS ─▶ Extractors ──extract(event)──▶ Fields ─┐
//!                   │ knows the fields                 ├─▶ matches?
//! client JSON ─▶ Subscriptions::parse ─▶ Subscription ─┘
//! ```
//!
//! A subscription wants the events of a type pattern (exact, `orders.*`, `*`) that satisfy one of its alternatives
//! (`oneOf`: any-of of all-of) and all of its filters.
//!
//! # Invariants
//! - A list is taken as a whole or refused as a whole; the error says where it is wrong and why.
//! - A constraint on a field that no extractor declares for the pattern is refused: ignoring it would deliver more than asked.
//! - Equal subscriptions compare equal however they were written: order and repetition do not count.
//!
//! # Source
//! RIG's extractors and constraints; CloudEvents Subscriptions API, filter dialects `exact`, `prefix`, `suffix`, `all`,
//! `any`, `not`. Different from RIG on purpose: a constraint `null` wants a value that is `null` or missing.

mod extractor;
mod fields;
mod filter;
mod filter_parser;
mod limits;
mod pattern;
mod subscription_error;
mod subscription_parser;
mod subscriptions;
mod wanted;

pub use extractor::{ExtractorError, ExtractorFault, Extractors};
pub use fields::{FieldId, Fields};
pub use filter::Filter;
pub use limits::SubscriptionLimits;
pub use pattern::{PatternError, TypePattern};
pub use subscription_error::{FilterFault, ItemFault, SubscriptionError};
pub use subscriptions::{Alternative, Constraint, EventView, Subscription, Subscriptions};
