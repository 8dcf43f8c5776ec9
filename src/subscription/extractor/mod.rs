//! Which fields of which event types clients may constrain, and where their values stand: in events, and in claims.

mod personal;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

pub(super) use self::personal::Personal;
use super::fields::{FieldId, Fields};
use super::pattern::TypePattern;
use crate::event::{
    CloudEvent, JsonFault, JsonPointer, Members, MembersFault, NESTING_LIMIT, PointerError,
    PointerSet, check_text, string_value,
};

/// The fields that are declared for each event type. Cheap to clone; all clones share one declaration.
#[derive(Debug, Clone, Default)]
pub struct Extractors(Option<Arc<Declaration>>);

#[derive(Debug, Default)]
struct Declaration {
    types: HashMap<Arc<str>, TypeFields>,
    /// All prefixes of the types that end with a dot: of these are the patterns that can be constrained.
    prefixes: HashSet<Arc<str>>,
    ids: BTreeMap<Box<str>, FieldId>,
    /// Names by their ids.
    names: Vec<Box<str>>,
    personal: Personal,
}

/// The fields of one event type; `pointers` gives values in the order of `ids`.
#[derive(Debug)]
struct TypeFields {
    ids: Vec<FieldId>,
    pointers: PointerSet,
}

/// What is declared for one type: its fields, and those of them that have a claim.
type TypeDeclaration = (TypeFields, Vec<(FieldId, JsonPointer)>);

/// Where a declaration of extractors is wrong, and why.
#[derive(Debug, thiserror::Error)]
#[error("extractors{at}: {fault}")]
pub struct ExtractorError {
    /// The names that lead to the fault, each after a slash.
    at: Box<str>,
    /// What is wrong there.
    pub fault: ExtractorFault,
}

/// What can be wrong with a declaration of extractors.
#[derive(Debug, thiserror::Error)]
pub enum ExtractorFault {
    /// Not JSON.
    #[error("not JSON: {0}")]
    NotJson(#[from] JsonFault),
    /// Not an object, or one with a repeated member.
    #[error(transparent)]
    Members(#[from] MembersFault),
    /// A member that has to be there.
    #[error("{member:?} is missing")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member that means nothing here.
    #[error("unknown member, expected {expected}")]
    Unknown {
        /// The members that mean something.
        expected: &'static str,
    },
    /// A pattern where a type has to be named.
    #[error("fields are declared for an exact event type, without \"*\" and control characters")]
    NotAnExactType,
    /// A field without a name.
    #[error("the name of a field is empty")]
    EmptyFieldName,
    /// The pointer is not a string.
    #[error("not a string")]
    NotAString,
    /// The pointer is not usable.
    #[error("not a JSON pointer: {0}")]
    Pointer(#[from] PointerError),
    /// RIG's index has to be a whole number from 0.
    #[error("not a whole number from 0")]
    NotAnIndex,
    /// RIG's index has to be unique within a type.
    #[error("index {index} belongs to another field of this type already")]
    RepeatedIndex {
        /// The index.
        index: u64,
    },
}

impl Extractors {
    /// Declares nothing: no field can be constrained.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Reads a declaration in RIG's form:
    /// `{"<type>":{"<field>":{"stable_field_index":1,"event":{"json_pointer":"/data/name"},"jwt":{"json_pointer":"/sub"}}}}`.
    ///
    /// `event` is required. `jwt` makes the type personal: see [`Self::forced_by`]. `stable_field_index` is checked, but
    /// means nothing here.
    ///
    /// # Errors
    /// [`ExtractorError`], which names the type and the field.
    pub fn parse(json: &str) -> Result<Self, ExtractorError> {
        let mut declaration = Declaration::default();
        declaration.read(json)?;
        declaration.personal.close(&declaration.names);
        Ok(Self(Some(Arc::new(declaration))))
    }

    /// Reads the values of all fields that are declared for the type of `event`, in one pass.
    #[must_use]
    pub fn extract(&self, event: &CloudEvent) -> Fields {
        match self
            .0
            .as_ref()
            .and_then(|declared| declared.types.get(event.event_type()))
        {
            None => Fields::default(),
            Some(fields) => {
                let values = fields.pointers.extract(event.json());
                Fields::new(fields.ids.iter().copied().zip(values))
            }
        }
    }

    /// Returns the name of a field of these extractors.
    #[must_use]
    pub fn name(&self, id: FieldId) -> &str {
        let names = self.0.as_ref().map_or(&[][..], |declared| &declared.names);
        names.get(id.0 as usize).map_or("", |name| name)
    }

    /// Returns the field `name`, if it is declared for a type that `pattern` covers.
    #[must_use]
    pub fn field(&self, name: &str, pattern: &TypePattern) -> Option<FieldId> {
        let declared = self.0.as_ref()?;
        let id = *declared.ids.get(name)?;
        let is_declared = match pattern {
            TypePattern::All => true,
            TypePattern::Exact(exact) => declared
                .types
                .get(exact)
                .is_some_and(|fields| fields.ids.contains(&id)),
            TypePattern::Prefix(_) => declared
                .types
                .iter()
                .any(|(event_type, fields)| pattern.covers(event_type) && fields.ids.contains(&id)),
        };
        is_declared.then_some(id)
    }

    /// Returns the same pattern, with the memory of a declared type or its prefix shared.
    pub(super) fn share(&self, pattern: TypePattern) -> TypePattern {
        let Some(declared) = &self.0 else {
            return pattern;
        };
        let shared = match &pattern {
            TypePattern::All => None,
            TypePattern::Exact(exact) => declared
                .types
                .get_key_value(exact)
                .map(|(shared, _)| TypePattern::Exact(Arc::clone(shared))),
            TypePattern::Prefix(prefix) => declared
                .prefixes
                .get(prefix)
                .map(|shared| TypePattern::Prefix(Arc::clone(shared))),
        };
        shared.unwrap_or(pattern)
    }
}

impl Declaration {
    fn read(&mut self, json: &str) -> Result<(), ExtractorError> {
        let at = Place::default();
        let text = check_text(json.as_bytes(), NESTING_LIMIT).map_err(|fault| at.fault(fault))?;
        for (event_type, raw) in members(text, &at)?.iter() {
            let at = at.then(event_type);
            let Ok(TypePattern::Exact(exact)) = TypePattern::parse(event_type) else {
                return Err(at.fault(ExtractorFault::NotAnExactType));
            };
            let (fields, claims) = self.read_type(raw, &at)?;
            self.personal.add(&exact, claims);
            let dots = exact.match_indices('.');
            let prefixes = dots.filter_map(|(dot, _)| exact.get(..=dot));
            self.prefixes.extend(prefixes.map(Arc::from));
            self.types.insert(exact, fields);
        }
        Ok(())
    }

    fn read_type(&mut self, raw: &str, at: &Place) -> Result<TypeDeclaration, ExtractorError> {
        let mut ids = Vec::new();
        let mut claims = Vec::new();
        let mut pointers = Vec::new();
        let mut indexes = Vec::new();
        for (name, raw) in members(raw, at)?.iter() {
            let at = at.then(name);
            if name.is_empty() {
                return Err(at.fault(ExtractorFault::EmptyFieldName));
            }
            let (event, claim) = read_field(raw, &at, &mut indexes)?;
            let id = self.id(name);
            pointers.push(event);
            ids.push(id);
            claims.extend(claim.map(|claim| (id, claim)));
        }
        let pointers = PointerSet::new(&pointers);
        Ok((TypeFields { ids, pointers }, claims))
    }

    fn id(&mut self, name: &str) -> FieldId {
        if let Some(known) = self.ids.get(name) {
            return *known;
        }
        let id = FieldId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.ids.insert(name.into(), id);
        self.names.push(name.into());
        id
    }
}

/// Returns where in events of the type the field stands, and where in claims, if it is personal.
fn read_field(
    raw: &str,
    at: &Place,
    indexes: &mut Vec<u64>,
) -> Result<(JsonPointer, Option<JsonPointer>), ExtractorError> {
    let mut event = None;
    let mut claim = None;
    for (member, raw) in members(raw, at)?.iter() {
        let at = at.then(member);
        match member {
            "event" => event = Some(read_pointer(raw, &at)?),
            "jwt" => claim = Some(read_pointer(raw, &at)?),
            "stable_field_index" => {
                let index = raw
                    .parse()
                    .map_err(|_| at.fault(ExtractorFault::NotAnIndex))?;
                if indexes.contains(&index) {
                    return Err(at.fault(ExtractorFault::RepeatedIndex { index }));
                }
                indexes.push(index);
            }
            _ => {
                let expected = "\"event\", \"jwt\" or \"stable_field_index\"";
                return Err(at.fault(ExtractorFault::Unknown { expected }));
            }
        }
    }
    let event = event.ok_or_else(|| at.fault(ExtractorFault::Missing { member: "event" }))?;
    Ok((event, claim))
}

fn read_pointer(raw: &str, at: &Place) -> Result<JsonPointer, ExtractorError> {
    let mut pointer = None;
    for (member, raw) in members(raw, at)?.iter() {
        let at = at.then(member);
        if member != "json_pointer" {
            return Err(at.fault(ExtractorFault::Unknown {
                expected: "\"json_pointer\"",
            }));
        }
        let text = string_value(raw).ok_or_else(|| at.fault(ExtractorFault::NotAString))?;
        pointer = Some(JsonPointer::parse(&text).map_err(|error| at.fault(error))?);
    }
    pointer.ok_or_else(|| {
        at.fault(ExtractorFault::Missing {
            member: "json_pointer",
        })
    })
}

fn members<'a>(raw: &'a str, at: &Place) -> Result<Members<'a>, ExtractorError> {
    Members::parse(raw).map_err(|fault| at.fault(fault))
}

/// Where in the declaration we are.
#[derive(Debug, Clone, Default)]
struct Place(String);

impl Place {
    fn then(&self, name: &str) -> Self {
        Self(format!("{}/{}", self.0, name.escape_debug()))
    }

    fn fault(&self, fault: impl Into<ExtractorFault>) -> ExtractorError {
        ExtractorError {
            at: self.0.as_str().into(),
            fault: fault.into(),
        }
    }
}

#[cfg(test)]
mod tests;
