//! Subscriptions as they are kept, compared and matched.

use std::fmt::Write as _;
use std::sync::Arc;

use super::event_view::EventView;
use super::extractor::Extractors;
use super::fields::{FieldId, Fields};
use super::filter::{Filter, quote};
use super::pattern::TypePattern;
use super::wanted::Wanted;
use crate::event::{CloudEvent, Scalar};

/// One condition: a field has exactly this value; [`Scalar::Null`] wants it to be `null` or missing.
pub type Constraint = (FieldId, Scalar);

/// One subscription. Cheap to clone. Equal ones compare equal however they were written.
///
/// There may be one for each of a million connections, so the usual ones are one small piece of memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subscription(Arc<Parts>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parts {
    pattern: TypePattern,
    wanted: Wanted,
}

/// One way to satisfy a subscription: an event of the pattern's types that meets all constraints and all filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Alternative<'a> {
    /// The event types.
    pub pattern: &'a TypePattern,
    /// The constraints, sorted by field, each field once; all have to hold.
    pub constraints: &'a [Constraint],
    /// The filters; all have to hold.
    pub filters: &'a [Filter],
}

/// What one connection wants. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Subscriptions {
    items: Items,
    /// Knows the names of the fields.
    extractors: Extractors,
}

/// Distinct subscriptions; a single one takes no memory beside its own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Items {
    One(Subscription),
    /// None, or several.
    Many(Option<Arc<[Subscription]>>),
}

impl Subscription {
    /// Puts the parts in order, so that equal subscriptions compare equal.
    pub(super) fn new(
        pattern: TypePattern,
        mut one_of: Vec<Vec<Constraint>>,
        filters: Box<[Filter]>,
    ) -> Self {
        if one_of.iter().any(Vec::is_empty) {
            one_of.clear();
        }
        one_of.sort();
        one_of.dedup();
        let wanted = Wanted::new(one_of, filters);
        Self(Arc::new(Parts { pattern, wanted }))
    }

    /// Returns whether both are one piece of memory.
    #[cfg(test)]
    pub(super) fn is_same_memory(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the event types that the subscription covers.
    #[must_use]
    pub fn pattern(&self) -> &TypePattern {
        &self.0.pattern
    }

    /// Returns the same subscription with one more filter that has to hold.
    #[must_use]
    pub fn with_filter(&self, filter: Filter) -> Self {
        let one_of = self.alternatives().map(|one| one.constraints.to_vec());
        let mut filters = self.0.wanted.filters().to_vec();
        filters.push(filter);
        filters.sort();
        filters.dedup();
        Self::new(self.0.pattern.clone(), one_of.collect(), filters.into())
    }

    /// Goes over the alternatives, of which there is at least one.
    pub fn alternatives(&self) -> impl Iterator<Item = Alternative<'_>> {
        (0..self.0.wanted.alternatives()).filter_map(|position| self.alternative(position))
    }

    /// Returns the alternative at `position`; `None` beyond the last one.
    #[must_use]
    pub fn alternative(&self, position: usize) -> Option<Alternative<'_>> {
        Some(Alternative {
            pattern: &self.0.pattern,
            constraints: self.0.wanted.constraints(position)?,
            filters: self.0.wanted.filters(),
        })
    }

    /// Returns whether the event is wanted.
    #[must_use]
    pub fn matches(&self, view: &EventView<'_>) -> bool {
        self.0.pattern.covers(view.event_type())
            && self
                .alternatives()
                .any(|alternative| alternative.is_met(view))
    }

    fn write_json(&self, json: &mut String, extractors: &Extractors) -> std::fmt::Result {
        write!(
            json,
            "{{\"eventType\":{},\"oneOf\":[",
            quote(&self.0.pattern.to_string())?
        )?;
        let constrained = self
            .alternatives()
            .filter(|alternative| !alternative.constraints.is_empty());
        for (position, alternative) in constrained.enumerate() {
            json.push_str(if position > 0 { ",{" } else { "{" });
            for (position, (field, value)) in alternative.constraints.iter().enumerate() {
                let comma = if position > 0 { "," } else { "" };
                write!(json, "{comma}{}:{value}", quote(extractors.name(*field))?)?;
            }
            json.push('}');
        }
        json.push(']');
        let filters = self.0.wanted.filters();
        for (position, filter) in filters.iter().enumerate() {
            let before = if position > 0 { "," } else { ",\"filters\":[" };
            write!(json, "{before}{filter}")?;
        }
        json.push_str(if filters.is_empty() { "}" } else { "]}" });
        Ok(())
    }
}

impl Alternative<'_> {
    /// Returns whether an event of the pattern's types meets the constraints and the filters.
    #[must_use]
    pub fn is_met(&self, view: &EventView<'_>) -> bool {
        let meets = |(field, wanted): &Constraint| match view.fields().get(*field) {
            Some(value) => value == wanted,
            None => *wanted == Scalar::Null,
        };
        self.constraints.iter().all(meets) && self.filters.iter().all(|filter| filter.passes(view))
    }
}

impl Items {
    fn as_slice(&self) -> &[Subscription] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items.as_deref().unwrap_or_default(),
        }
    }
}

impl Default for Items {
    fn default() -> Self {
        Self::Many(None)
    }
}

impl From<Vec<Subscription>> for Items {
    fn from(mut items: Vec<Subscription>) -> Self {
        if items.len() > 1 {
            let mut seen = std::collections::HashSet::new();
            items.retain(|item| seen.insert(item.clone()));
        }
        match (items.pop(), items.is_empty()) {
            (None, _) => Self::default(),
            (Some(only), true) => Self::One(only),
            (Some(last), false) => {
                items.push(last);
                Self::Many(Some(items.into()))
            }
        }
    }
}

impl Subscriptions {
    pub(super) fn new(items: Vec<Subscription>, extractors: &Extractors) -> Self {
        Self {
            items: items.into(),
            extractors: extractors.clone(),
        }
    }

    /// Wants nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns whether one of the subscriptions wants the event; `fields` are those of [`Extractors::extract`].
    #[must_use]
    pub fn matches(&self, event: &CloudEvent, fields: &Fields) -> bool {
        let view = EventView::new(event, fields);
        self.iter().any(|subscription| subscription.matches(&view))
    }

    /// Returns how many subscriptions there are; equal ones count once.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.as_slice().len()
    }

    /// Returns whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.as_slice().is_empty()
    }

    /// Returns the list with each subscription changed by `change`.
    ///
    /// # Errors
    /// The first one that `change` gives.
    pub fn try_map<E>(
        &self,
        change: impl FnMut(&Subscription) -> Result<Subscription, E>,
    ) -> Result<Self, E> {
        let items = self.iter().map(change).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(items, &self.extractors))
    }

    /// Returns whether one of the subscriptions has this pattern; these have to be sorted by their patterns.
    pub(super) fn has_pattern(&self, pattern: &TypePattern) -> bool {
        let items = self.items.as_slice();
        items
            .binary_search_by(|item| item.pattern().cmp(pattern))
            .is_ok()
    }

    /// Goes over the subscriptions in the order of the request.
    pub fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.items.as_slice().iter()
    }

    /// Returns the list in RIG's form, as `rig.subscriptions_set` carries it: `[{"eventType":"x","oneOf":[{"f":"v"}]}]`,
    /// with `filters` where there are some. [`Self::parse`] reads it back to an equal list.
    ///
    /// # Panics
    /// Never: writing to a string cannot fail.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = String::from("[");
        for (position, item) in self.iter().enumerate() {
            if position > 0 {
                json.push(',');
            }
            item.write_json(&mut json, &self.extractors)
                .expect("writing to a string cannot fail");
        }
        json.push(']');
        json
    }
}

impl PartialEq for Subscriptions {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl Eq for Subscriptions {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::SubscriptionLimits;

    fn wants(json: &str, event: &str) -> bool {
        let extractors = Extractors::parse(
            r#"{"greeting":{"name":{"event":{"json_pointer":"/data/name"}},"age":{"event":{"json_pointer":"/data/age"}}}}"#,
        )
        .unwrap();
        let subscriptions =
            Subscriptions::parse(json.as_bytes(), &extractors, &SubscriptionLimits::default())
                .unwrap();
        let event = format!(r#"{{"specversion":"1.0","id":"1","source":"/s",{event}}}"#);
        let event = CloudEvent::from_structured(event.into()).unwrap();
        subscriptions.matches(&event, &extractors.extract(&event))
    }

    #[test]
    fn constraints_are_any_of_all_of() {
        let alice = r#""type":"greeting","data":{"name":"alice","age":30}"#;
        for (json, is_wanted) in [
            (r#"[]"#, false),
            (r#"[{"eventType":"greeting"}]"#, true),
            (r#"[{"eventType":"greeting","oneOf":[]}]"#, true),
            (
                r#"[{"eventType":"greet.*"},{"eventType":"Greeting"}]"#,
                false,
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"name":"alice"}]}]"#,
                true,
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"name":"Alice"}]}]"#,
                false,
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"name":"alice","age":30.0}]}]"#,
                true,
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"name":"alice","age":"30"}]}]"#,
                false,
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"name":"bob"},{"age":3e1}]}]"#,
                true,
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"name":null}]}]"#,
                false,
            ),
            (r#"[{"eventType":"*","oneOf":[{"name":"alice"}]}]"#, true),
            (
                r#"[{"eventType":"greeting","oneOf":[{"name":"alice"}],"filters":[{"exact":{"source":"/t"}}]}]"#,
                false,
            ),
            (
                r#"[{"eventType":"greeting","oneOf":[{"name":"alice"}],"filters":[{"exact":{"source":"/s"}},{"suffix":{"type":"ing"}}]}]"#,
                true,
            ),
        ] {
            assert_eq!(wants(json, alice), is_wanted, "{json}");
        }
    }

    #[test]
    fn null_wants_null_or_nothing() {
        let json = r#"[{"eventType":"greeting","oneOf":[{"name":null}]}]"#;
        for (data, is_wanted) in [
            ("{}", true),
            (r#"{"name":null}"#, true),
            ("\"text\"", true),
            (r#"{"name":0}"#, false),
            (r#"{"name":""}"#, false),
        ] {
            assert_eq!(
                wants(json, &format!(r#""type":"greeting","data":{data}"#)),
                is_wanted,
                "{data}"
            );
        }
    }
}
