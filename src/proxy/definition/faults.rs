//! What is wrong with definitions of APIs, in RIG's form.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

/// The place of an API as a whole.
pub(super) const API: &str = "api";

/// What is wrong with one field: its name, and what it must be.
pub(super) type Fault = (Box<str>, Box<str>);

/// All that is wrong with definitions, by place: `api` for an API as a whole, its id for how it asks for tokens, and
/// `<id>/<id of an endpoint>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    by_place: BTreeMap<Box<str>, Vec<Fault>>,
}

impl Faults {
    /// Says one thing of a place.
    #[must_use]
    pub(in crate::proxy) fn of(place: &str, field: &str, reason: &str) -> Self {
        let mut faults = Self::default();
        faults.add(place, vec![(field.into(), reason.into())]);
        faults
    }

    /// Says of an API as a whole what is wrong with one field.
    #[must_use]
    pub(in crate::proxy) fn of_api(field: &str, reason: &str) -> Self {
        Self::of(API, field, reason)
    }

    pub(super) fn add(&mut self, place: &str, faults: Vec<Fault>) {
        if !faults.is_empty() {
            let of_place = self.by_place.entry(place.into());
            of_place.or_default().extend(faults);
        }
    }

    /// Adds what is wrong with the API at this position of a list, from 1 on.
    pub(in crate::proxy) fn add_api(&mut self, position: usize, faults: Self) {
        for (place, faults) in faults.by_place {
            let place = match &*place {
                API => format!("{API} {position}").into(),
                _ => place,
            };
            self.add(&place, faults);
        }
    }

    /// Returns whether nothing is wrong.
    #[must_use]
    pub(in crate::proxy) fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// Returns RIG's form of it: `{"<place>": [{"<field>": "<reason>"}, …], …}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let fault = |(field, reason): &Fault| json!({ &**field: reason });
        let mut places = serde_json::Map::new();
        for (place, faults) in &self.by_place {
            places.insert(place.to_string(), faults.iter().map(fault).collect());
        }
        Value::Object(places)
    }
}

impl fmt::Display for Faults {
    /// Writes all of it in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self
            .by_place
            .iter()
            .flat_map(|(place, faults)| faults.iter().map(move |fault| (place, fault)));
        for (position, (place, (field, reason))) in all.enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            let place = place.escape_debug();
            write!(f, "{separator}{place}: {} {reason}", field.escape_debug())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_by_place_in_their_order() {
        let mut faults = Faults::of("a/b", "method", "must be string");
        faults.add_api(2, Faults::of_api("name", "must be string"));
        faults.add_api(2, Faults::of("a/b", "id", "must be string"));
        assert_eq!(
            faults.to_json(),
            json!({
                "a/b": [{ "method": "must be string" }, { "id": "must be string" }],
                "api 2": [{ "name": "must be string" }],
            })
        );
        assert_eq!(
            faults.to_string(),
            "a/b: method must be string; a/b: id must be string; api 2: name must be string"
        );
    }
}
