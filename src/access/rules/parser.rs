//! Reads rule tables from JSON.

use super::{Required, Rule, Rules, SourcePattern};
use crate::event::{
    JsonFault, JsonPointer, Members, MembersFault, NESTING_LIMIT, PointerError, Scalar, check_text,
    parse_list, string_value,
};
use crate::subscription::{PatternError, TypePattern};

/// Where a rule table is wrong, and why.
#[derive(Debug, thiserror::Error)]
#[error("rules{at}: {fault}")]
pub struct RulesError {
    /// The names and positions that lead to the fault, each after a slash.
    at: Box<str>,
    /// What is wrong there.
    pub fault: RulesFault,
}

/// What can be wrong with a rule table.
#[derive(Debug, thiserror::Error)]
pub enum RulesFault {
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
    /// A member that means nothing here; ignoring it could allow more than meant.
    #[error("unknown member, expected {expected}")]
    Unknown {
        /// The members that mean something.
        expected: &'static str,
    },
    /// Something else where a list has to be.
    #[error("not a list")]
    NotAList,
    /// A list without elements, which could mean all or nothing.
    #[error("the list is empty; leave the rule out to allow nothing")]
    EmptyList,
    /// Something else where a text has to be.
    #[error("not a string")]
    NotAString,
    /// An event type that is none.
    #[error(transparent)]
    Type(#[from] PatternError),
    /// A source without a text.
    #[error("the source is empty")]
    EmptySource,
    /// A `*` where it means nothing.
    #[error("\"*\" may only stand at the end of a source, as in \"/shop/*\"")]
    MisplacedWildcard,
    /// The name of a claim is no pointer.
    #[error("not a JSON pointer to a claim: {0}")]
    Pointer(#[from] PointerError),
    /// A claim is compared with something else.
    #[error("not a string, number or boolean")]
    NotAValue,
}

impl Rules {
    /// Reads a rule table:
    /// `{"subscribe":[{"types":["order.*"],"sources":["/shop/*"],"claims":{"/roles":["admin"]}}],"submit":[…]}`.
    ///
    /// `types` are patterns as in subscriptions. `sources` may be left out for any source; they are exact, or end in `*`.
    /// `claims` are JSON pointers with the values that are good; left out or empty, everybody has them. Without a list
    /// `subscribe` or `submit`, or with an empty one, nobody may.
    ///
    /// # Errors
    /// [`RulesError`], which names the place.
    pub fn parse(json: &str) -> Result<Self, RulesError> {
        let at = Place::default();
        let text = check_text(json.as_bytes(), NESTING_LIMIT).map_err(|fault| at.fault(fault))?;
        let mut rules = Self::default();
        for (member, raw) in members(text, &at)?.iter() {
            let at = at.then(member);
            match member {
                "subscribe" => rules.subscribe = elements(raw, &at, read_rule)?,
                "submit" => rules.submit = elements(raw, &at, read_rule)?,
                _ => {
                    let expected = "\"subscribe\" or \"submit\"";
                    return Err(at.fault(RulesFault::Unknown { expected }));
                }
            }
        }
        Ok(rules)
    }
}

fn read_rule(raw: &str, at: &Place) -> Result<Rule, RulesError> {
    let mut types = None;
    let mut sources = None;
    let mut claims = Box::default();
    for (member, raw) in members(raw, at)?.iter() {
        let at = at.then(member);
        match member {
            "types" => types = Some(some_elements(raw, &at, read_type)?),
            "sources" => sources = Some(some_elements(raw, &at, read_source)?),
            "claims" => claims = read_claims(raw, &at)?,
            _ => {
                let expected = "\"types\", \"sources\" or \"claims\"";
                return Err(at.fault(RulesFault::Unknown { expected }));
            }
        }
    }
    // Among others, any source is any source.
    let sources: Option<Option<Box<[_]>>> = sources.map(|sources| sources.into_iter().collect());
    Ok(Rule {
        types: types.ok_or_else(|| at.fault(RulesFault::Missing { member: "types" }))?,
        sources: sources.flatten(),
        claims,
    })
}

fn read_type(raw: &str, at: &Place) -> Result<TypePattern, RulesError> {
    TypePattern::parse(&text(raw, at)?).map_err(|error| at.fault(error))
}

/// Returns `None` for `*`, any source.
fn read_source(raw: &str, at: &Place) -> Result<Option<SourcePattern>, RulesError> {
    let source = text(raw, at)?;
    let (fixed, is_prefix) = match source.strip_suffix('*') {
        Some(fixed) => (fixed, true),
        None => (&*source, false),
    };
    match fixed {
        "" if is_prefix => Ok(None),
        "" => Err(at.fault(RulesFault::EmptySource)),
        _ if fixed.contains('*') => Err(at.fault(RulesFault::MisplacedWildcard)),
        _ if is_prefix => Ok(Some(SourcePattern::Prefix(fixed.into()))),
        _ => Ok(Some(SourcePattern::Exact(fixed.into()))),
    }
}

fn read_claims(raw: &str, at: &Place) -> Result<Box<[Required]>, RulesError> {
    let read = |(name, raw): (&str, &str)| {
        let at = at.then(name);
        Ok(Required {
            claim: JsonPointer::parse(name).map_err(|error| at.fault(error))?,
            values: some_elements(raw, &at, read_value)?,
        })
    };
    members(raw, at)?.iter().map(read).collect()
}

fn read_value(raw: &str, at: &Place) -> Result<Scalar, RulesError> {
    let value = Scalar::from_json(raw).filter(|value| *value != Scalar::Null);
    value.ok_or_else(|| at.fault(RulesFault::NotAValue))
}

fn text<'a>(raw: &'a str, at: &Place) -> Result<std::borrow::Cow<'a, str>, RulesError> {
    string_value(raw).ok_or_else(|| at.fault(RulesFault::NotAString))
}

fn members<'a>(raw: &'a str, at: &Place) -> Result<Members<'a>, RulesError> {
    Members::parse(raw).map_err(|fault| at.fault(fault))
}

fn elements<T>(
    raw: &str,
    at: &Place,
    read: impl Fn(&str, &Place) -> Result<T, RulesError>,
) -> Result<Box<[T]>, RulesError> {
    let elements = parse_list(raw)
        .map_err(|error| at.fault(JsonFault::from(error)))?
        .ok_or_else(|| at.fault(RulesFault::NotAList))?;
    let elements = elements.into_iter().enumerate();
    elements
        .map(|(position, raw)| read(raw, &at.then(&position.to_string())))
        .collect()
}

fn some_elements<T>(
    raw: &str,
    at: &Place,
    read: impl Fn(&str, &Place) -> Result<T, RulesError>,
) -> Result<Box<[T]>, RulesError> {
    let elements = elements(raw, at, read)?;
    if elements.is_empty() {
        return Err(at.fault(RulesFault::EmptyList));
    }
    Ok(elements)
}

/// Where in the table we are.
#[derive(Debug, Clone, Default)]
struct Place(String);

impl Place {
    fn then(&self, name: &str) -> Self {
        Self(format!("{}/{}", self.0, name.escape_debug()))
    }

    fn fault(&self, fault: impl Into<RulesFault>) -> RulesError {
        RulesError {
            at: self.0.as_str().into(),
            fault: fault.into(),
        }
    }
}
