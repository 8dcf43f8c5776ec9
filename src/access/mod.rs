//! Who may do what: the credentials of a request, the checks, the rules, the places.

mod rules;

pub use rules::{Denied, Rules, RulesError, RulesFault};
