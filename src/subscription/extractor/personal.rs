//! Event types whose events belong to somebody, and the claims that say to whom.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Extractors;
use crate::event::{JsonPointer, Scalar};
use crate::subscription::fields::FieldId;
use crate::subscription::subscriptions::Constraint;
use crate::subscription::{TypePattern, TypeSet};

/// The types with at least one field that has a claim.
#[derive(Debug, Default)]
pub(in crate::subscription) struct Personal {
    /// Their fields with a claim, sorted, at least one for each type.
    types: BTreeMap<Arc<str>, Box<[Claimed]>>,
    /// All of them; `None` if there are none.
    all: Option<TypeSet>,
    /// Those that start with a text which ends with a dot: of these texts are the patterns that cover several types.
    under: HashMap<Arc<str>, TypeSet>,
    /// Differs, with all probability, where types, fields or claims differ.
    fingerprint: u64,
}

/// A field, and where in a token's claims the value stands that it has to have.
type Claimed = (FieldId, JsonPointer);

impl Extractors {
    /// Returns the personal types; `None` if there are none.
    pub(in crate::subscription) fn personal(&self) -> Option<&Personal> {
        let personal = self.0.as_ref().map(|declared| &declared.personal)?;
        personal.all.is_some().then_some(personal)
    }
}

impl Personal {
    pub(super) fn add(&mut self, event_type: &Arc<str>, mut claimed: Vec<Claimed>) {
        if !claimed.is_empty() {
            claimed.sort_by_key(|(field, _)| *field);
            self.types.insert(Arc::clone(event_type), claimed.into());
        }
    }

    /// Ends the declaration: finds out which types the patterns cover.
    pub(super) fn close(&mut self, names: &[Box<str>]) {
        self.all = TypeSet::new(self.types.keys().cloned());
        let mut under: HashMap<Arc<str>, Vec<Arc<str>>> = HashMap::new();
        for event_type in self.types.keys() {
            let dots = event_type.match_indices('.');
            for prefix in dots.filter_map(|(dot, _)| event_type.get(..=dot)) {
                let types = under.entry(prefix.into()).or_default();
                types.push(Arc::clone(event_type));
            }
        }
        let sets = under.into_iter();
        self.under = sets
            .filter_map(|(prefix, types)| Some((prefix, TypeSet::new(types)?)))
            .collect();
        self.fingerprint = self.hash(names);
    }

    /// Hashes what decides whose events are whose, the same on all instances (FNV-1a).
    fn hash(&self, names: &[Box<str>]) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |text: &str, end: u8| {
            for byte in text.bytes().chain([0, end]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for (event_type, claimed) in &self.types {
            add(event_type, b't');
            let named = claimed
                .iter()
                .map(|(id, claim)| (names.get(id.0 as usize), claim));
            // Ids follow the order of the declaration, which does not matter.
            for (name, claim) in named.collect::<BTreeMap<_, _>>() {
                add(name.map_or("", |name| name), b'f');
                claim.tokens().for_each(|token| add(token, b'c'));
            }
        }
        hash
    }

    pub(in crate::subscription) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Returns how many types are personal.
    pub(in crate::subscription) fn len(&self) -> usize {
        self.types.len()
    }

    /// Returns the fields of a personal type that have a claim, sorted; `None` for another type.
    pub(in crate::subscription) fn fields(
        &self,
        event_type: &str,
    ) -> Option<impl Iterator<Item = FieldId>> {
        let claimed = self.types.get(event_type)?;
        Some(claimed.iter().map(|(field, _)| *field))
    }

    /// Returns the personal types that a pattern covers which is not exact; `None` if there are none.
    pub(in crate::subscription) fn within(&self, pattern: &TypePattern) -> Option<&TypeSet> {
        match pattern {
            TypePattern::All => self.all.as_ref(),
            TypePattern::Prefix(prefix) => self.under.get(prefix),
            TypePattern::Exact(_) => None,
        }
    }

    /// Goes over the types in their order, with what each of `claims` forces: the fields whose claim is a text, a number or
    /// a boolean. Claims that force nothing for a type are left out.
    pub(in crate::subscription) fn forced_by(
        &self,
        claims: &[&serde_json::Value],
    ) -> impl Iterator<Item = (&Arc<str>, Vec<Vec<Constraint>>)> {
        self.types.iter().map(move |(event_type, claimed)| {
            let by_token = claims.iter().map(|claims| constraints(claimed, claims));
            let forced = by_token.filter(|constraints| !constraints.is_empty());
            (event_type, forced.collect())
        })
    }
}

fn constraints(claimed: &[Claimed], claims: &serde_json::Value) -> Vec<Constraint> {
    let value_of = |claim: &JsonPointer| {
        let value = Scalar::from_value(claim.find(claims)?)?;
        (value != Scalar::Null).then_some(value)
    };
    claimed
        .iter()
        .filter_map(|(field, claim)| Some((*field, value_of(claim)?)))
        .collect()
}
