//! The rule table: which claims may subscribe to, and submit, which event types and sources.

mod parser;

use serde_json::Value;

pub use self::parser::{RulesError, RulesFault};
use crate::event::{JsonPointer, Scalar};
use crate::subscription::{Filter, Subscription, Subscriptions, TypePattern};

/// Which claims may subscribe to, and submit, which event types and sources. What no rule allows is denied.
///
/// A rule applies to those who have one token that meets all of its claims; without claims, to everybody. Rules that
/// apply add up: each allows what it allows, whatever the others say. There is no rule that forbids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    subscribe: Box<[Rule]>,
    submit: Box<[Rule]>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// At least one.
    types: Box<[TypePattern]>,
    /// At least one; `None` for any source.
    sources: Option<Box<[SourcePattern]>>,
    /// All have to be met, by one token.
    claims: Box<[Required]>,
}

/// Which sources of events a rule is about; compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SourcePattern {
    /// This source.
    Exact(Box<str>),
    /// Every source that starts with this text.
    Prefix(Box<str>),
}

/// A claim that a token has to have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Required {
    claim: JsonPointer,
    /// One of these; at least one, none of them `null`.
    values: Box<[Scalar]>,
}

/// A subscription that no rule allows as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no rule allows to subscribe to event type \"{pattern}\" with these tokens")]
pub struct Denied {
    /// The event types that were asked for.
    pub pattern: TypePattern,
}

impl Rules {
    /// Returns what somebody may have of `wanted`; each of `claims` is the object of one verified token.
    ///
    /// A subscription needs a rule whose types cover all of its types. If all such rules name sources, the subscription
    /// gets a filter for them; other subscriptions stay as they are.
    ///
    /// # Errors
    /// [`Denied`] for the first subscription whose types no rule covers: nothing is narrowed to fewer types silently.
    pub fn narrow_subscriptions(
        &self,
        claims: &[&Value],
        wanted: &Subscriptions,
    ) -> Result<Subscriptions, Denied> {
        let applying = applying(&self.subscribe, claims);
        wanted.try_map(|subscription| narrow(subscription, &applying))
    }

    /// Returns whether somebody with the claims `later` may subscribe to all that the claims `before` allow.
    #[must_use]
    pub fn allow_as_much(&self, before: &[&Value], later: &[&Value]) -> bool {
        let still_applies = |rule: &Rule| !rule.applies(before) || rule.applies(later);
        self.subscribe.iter().all(still_applies)
    }

    /// Returns whether somebody may submit an event of this type and source; `claims` as for
    /// [`Self::narrow_subscriptions`].
    #[must_use]
    pub fn admits_submission(&self, claims: &[&Value], event_type: &str, source: &str) -> bool {
        let rules = applying(&self.submit, claims);
        rules.iter().any(|rule| {
            rule.types.iter().any(|types| types.covers(event_type))
                && rule
                    .sources
                    .as_ref()
                    .is_none_or(|sources| sources.iter().any(|pattern| pattern.covers(source)))
        })
    }
}

fn applying<'a>(rules: &'a [Rule], claims: &[&Value]) -> Vec<&'a Rule> {
    rules.iter().filter(|rule| rule.applies(claims)).collect()
}

fn narrow(subscription: &Subscription, applying: &[&Rule]) -> Result<Subscription, Denied> {
    let pattern = subscription.pattern();
    let mut sources = Vec::new();
    for rule in applying {
        if rule.types.iter().any(|types| types.includes(pattern)) {
            match &rule.sources {
                None => return Ok(subscription.clone()),
                Some(some) => sources.extend(some.iter().map(SourcePattern::filter)),
            }
        }
    }
    let filter = Filter::any(sources).ok_or_else(|| Denied {
        pattern: pattern.clone(),
    })?;
    Ok(subscription.with_filter(filter))
}

impl Rule {
    fn applies(&self, claims: &[&Value]) -> bool {
        let is_met = |claims: &Value| self.claims.iter().all(|required| required.is_met(claims));
        self.claims.is_empty() || claims.iter().any(|claims| is_met(claims))
    }
}

impl Required {
    /// Returns whether the claim has one of the values: it is one, it is an array with one, or it is a text with one among
    /// its words.
    fn is_met(&self, claims: &Value) -> bool {
        match self.claim.find(claims) {
            None => false,
            Some(Value::Array(elements)) => elements.iter().any(|element| self.has(element)),
            Some(claim) => {
                self.has(claim) || claim.as_str().is_some_and(|text| self.has_word(text))
            }
        }
    }

    fn has(&self, value: &Value) -> bool {
        Scalar::from_value(value).is_some_and(|value| self.values.contains(&value))
    }

    /// RFC 8693, section 4.2: `scope` is a list of texts with spaces in between.
    fn has_word(&self, text: &str) -> bool {
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        words.any(|word| self.values.contains(&word.into()))
    }
}

impl SourcePattern {
    fn covers(&self, source: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *source,
            Self::Prefix(prefix) => source.starts_with(&**prefix),
        }
    }

    fn filter(&self) -> Filter {
        match self {
            Self::Exact(exact) => Filter::exact("source", exact),
            Self::Prefix(prefix) => Filter::prefix("source", prefix),
        }
    }
}

#[cfg(test)]
mod tests;
