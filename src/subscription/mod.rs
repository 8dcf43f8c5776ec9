//! What clients want: subscriptions with constraints on extracted fields and filters on attributes.
//!
//! ```text
//! EXTRACTORS ─▶ Extractors ──extract(event)──▶ Fields ─┐
//!                   │ knows the fields                 ├─▶ matches?
//! client JSON ─▶ Subscriptions::parse ─▶ Subscription ─┘
//!                                            │ narrow
//! claims ─▶ Extractors::forced_by ─▶ Forced ─┘
//! ```
//!
//! A subscription wants the events of a type pattern (exact, `orders.*`, `*`) that satisfy one of its alternatives
//! (`oneOf`: any-of of all-of) and all of its filters.
//!
//! A field may have a claim: then its type is *personal*, and [`Forced`] narrows what a connection wants to the events
//! whose field has the value of the claim.
//!
//! # Invariants
//! - A list is taken as a whole or refused as a whole; the error says where it is wrong and why.
//! - A constraint on a field that no extractor declares for the pattern is refused: ignoring it would deliver more than asked.
//! - Equal subscriptions compare equal however they were written: order and repetition do not count.
//!
//! # Source
//! RIG's extractors and constraints; CloudEvents Subscriptions API, filter dialects `exact`, `prefix`, `suffix`, `all`,
//! `any`, `not`. Different from RIG on purpose: a constraint `null` wants a value that is `null` or missing.

mod event_view;
mod extractor;
mod fields;
mod filter;
mod filter_parser;
mod forced;
mod limits;
mod pattern;
mod subscription_error;
mod subscription_parser;
mod subscriptions;
mod type_set;
mod wanted;

pub use event_view::EventView;
pub use extractor::{ExtractorError, ExtractorFault, Extractors};
pub use fields::{FieldId, Fields};
pub use filter::Filter;
pub use forced::{Forced, ForcedError};
pub use limits::SubscriptionLimits;
pub use pattern::{PatternError, TypePattern};
pub use subscription_error::{FilterFault, ItemFault, SubscriptionError};
pub use subscriptions::{Alternative, Constraint, Subscription, Subscriptions};
pub use type_set::TypeSet;
