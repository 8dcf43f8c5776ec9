//! What the tokens of a connection make of its subscriptions.

use std::fmt;

use super::extractor::Extractors;
use super::filter::Filter;
use super::limits::SubscriptionLimits;
use super::pattern::TypePattern;
use super::subscription_error::SubscriptionError;
use super::subscriptions::{Subscription, Subscriptions};
use crate::event::{Members, MembersFault, Scalar, shorten, string_value};

/// How the record of somebody reads whom nothing is forced on.
const OPEN: &str = "\"open\"";

/// Whose events of the personal types somebody gets: what the claims of the tokens leave. Cheap to clone.
///
/// A type is personal if an extractor declares a claim (`jwt`) for one of its fields. For each token and each personal
/// type there is a map of the fields whose claim has a value; an event of a personal type is only for those who have a map
/// that it fits. Of a personal type for which no token gives a map, nothing is allowed.
///
/// There may be one for each of a million connections: it shares its memory with the subscriptions that follow from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Forced(
    /// The subscriptions that follow from the tokens, sorted by type: for each personal type with a map exactly one, whose
    /// alternatives are the maps. `None`: nothing is forced.
    Option<Subscriptions>,
);

/// Why a record of what tokens force cannot be used. Whoever holds it has to show the tokens again.
#[derive(Debug, thiserror::Error)]
pub enum ForcedError {
    /// Not an object, or one with a repeated member.
    #[error("the record of what tokens force: {0}")]
    Members(#[from] MembersFault),
    /// Not the members that such a record has.
    #[error("the record of what tokens force has not the members \"declared\" and \"types\"")]
    Form,
    /// Made with other personal fields or claims than those of today, so that it may allow what is not allowed any more.
    #[error("the record of what tokens force was made with other extractors")]
    OtherExtractors,
    /// What is forced is not a list of subscriptions.
    #[error("the record of what tokens force: {0}")]
    Types(#[from] SubscriptionError),
    /// A list of subscriptions, but not one that tokens give.
    #[error("the record of what tokens force has at {index} what no token gives")]
    NotForced {
        /// The position in the list, from 0.
        index: usize,
    },
}

impl Extractors {
    /// Returns what the claims of tokens force; each of `claims` is the object of one verified token.
    ///
    /// A claim has a value if it is a string, a number or a boolean; numbers beyond 64 bits, which the tree of the claims
    /// does not keep exactly, have none. `null`, arrays, objects, and pointers that lead through anything but objects give
    /// no value and harm nothing. Several tokens allow what each of them allows. Without tokens no event of a personal type
    /// is allowed.
    #[must_use]
    pub fn forced_by(&self, claims: &[&serde_json::Value]) -> Forced {
        let types = self
            .personal()
            .into_iter()
            .flat_map(|personal| personal.forced_by(claims));
        let derived = types
            .filter(|(_, maps)| !maps.is_empty())
            .map(|(event_type, maps)| {
                let pattern = TypePattern::Exact(event_type.clone());
                Subscription::new(pattern, maps, Box::default())
            });
        Forced(Some(Subscriptions::new(derived.collect(), self)))
    }

    fn fingerprint(&self) -> String {
        let personal = self.personal();
        format!("{:016x}", personal.map_or(0, |all| all.fingerprint()))
    }
}

impl Forced {
    /// Forces nothing: personal types are as any other. For an instance that verifies no tokens.
    #[must_use]
    pub const fn open() -> Self {
        Self(None)
    }

    /// Returns whether nothing is forced, as by [`Self::open`].
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Returns what a client gets that wants `wanted`: for each personal type all that the tokens allow, whether wanted or
    /// not, and `wanted` without the personal types.
    ///
    /// A wanted personal type is left out, since what it may still want is part of what the tokens give already. A
    /// pattern (`orders.*`, `*`) stays, with a filter that takes the personal types out of it. So nothing is multiplied,
    /// and the cost follows the subscriptions. Narrowing twice is the same as narrowing once.
    ///
    /// # Errors
    /// [`SubscriptionError::Personal`] for an exact type that no token gives anything of, and
    /// [`SubscriptionError::TooWide`] if so many patterns cover so many personal types that the list would become much
    /// longer: more than `max_constraints` of the limits, or all personal types once.
    pub fn narrow(
        &self,
        wanted: &Subscriptions,
        extractors: &Extractors,
        limits: &SubscriptionLimits,
    ) -> Result<Subscriptions, SubscriptionError> {
        let (Some(derived), Some(personal)) = (&self.0, extractors.personal()) else {
            return Ok(wanted.clone());
        };
        let limit = limits.max_constraints.max(personal.len());
        let mut taken_out = 0;
        let mut kept = Vec::with_capacity(wanted.len());
        for subscription in wanted.iter() {
            let pattern = subscription.pattern();
            match pattern {
                TypePattern::Exact(event_type) if personal.fields(event_type).is_some() => {
                    if !derived.has_pattern(pattern) {
                        return Err(SubscriptionError::Personal {
                            event_type: shorten(event_type),
                        });
                    }
                }
                _ => match personal.within(pattern) {
                    None => kept.push(subscription.clone()),
                    Some(types) => {
                        taken_out += types.len();
                        if taken_out > limit {
                            return Err(SubscriptionError::TooWide { limit });
                        }
                        kept.push(subscription.with_filter(Filter::NotTypes(types.clone())));
                    }
                },
            }
        }
        if kept.is_empty() {
            return Ok(derived.clone());
        }
        let all = derived.iter().cloned().chain(kept).collect();
        Ok(Subscriptions::new(all, extractors))
    }

    /// Returns the record of it, as JSON; [`Self::parse`] reads it back to an equal one.
    #[must_use]
    pub fn to_json(&self, extractors: &Extractors) -> String {
        self.0.as_ref().map_or_else(
            || OPEN.to_owned(),
            |derived| {
                let declared = extractors.fingerprint();
                let types = derived.to_json();
                format!("{{\"declared\":\"{declared}\",\"types\":{types}}}")
            },
        )
    }

    /// Reads a record of [`Self::to_json`], also one of another instance.
    ///
    /// An instance that verifies tokens has to refuse a record that [`Self::is_open`]: it was made before it did.
    ///
    /// # Errors
    /// [`ForcedError`], also if types, fields or claims of the extractors that make types personal have changed since.
    pub fn parse(json: &str, extractors: &Extractors) -> Result<Self, ForcedError> {
        if json == OPEN {
            return Ok(Self::open());
        }
        let members = Members::parse(json)?;
        let declared = members.get("declared").and_then(string_value);
        let (Some(declared), Some(types), 2) = (declared, members.get("types"), members.len())
        else {
            return Err(ForcedError::Form);
        };
        if declared != extractors.fingerprint() {
            return Err(ForcedError::OtherExtractors);
        }
        let derived =
            Subscriptions::parse(types.as_bytes(), extractors, &SubscriptionLimits::UNLIMITED)?;
        let mut before = None;
        for (index, subscription) in derived.iter().enumerate() {
            let is_next = before.replace(subscription.pattern()) < Some(subscription.pattern());
            if !is_next || !is_forced(subscription, extractors) {
                return Err(ForcedError::NotForced { index });
            }
        }
        Ok(Self(Some(derived)))
    }
}

/// Returns whether tokens can give the subscription: values for some of the fields with a claim, and nothing else.
fn is_forced(subscription: &Subscription, extractors: &Extractors) -> bool {
    let TypePattern::Exact(event_type) = subscription.pattern() else {
        return false;
    };
    let personal = extractors.personal();
    let Some(fields) = personal.and_then(|personal| personal.fields(event_type)) else {
        return false;
    };
    let fields: Vec<_> = fields.collect();
    subscription.alternatives().all(|map| {
        let mut constraints = map.constraints.iter();
        map.filters.is_empty()
            && !map.constraints.is_empty()
            && constraints.all(|(field, value)| fields.contains(field) && *value != Scalar::Null)
    })
}

/// Says how many types are forced, not for whom: claims are personal data.
impl fmt::Debug for Forced {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => formatter.write_str("Forced::open"),
            Some(derived) => write!(formatter, "Forced({} types)", derived.len()),
        }
    }
}

#[cfg(test)]
mod tests;
