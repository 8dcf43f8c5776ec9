//! Checks JSON text as a whole and splits it by one level, without a tree and without recursion.

#[cfg(test)]
mod schema;

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

#[cfg(test)]
pub(crate) use schema::is_valid;

/// How deep arrays and objects of one event may be nested; the event itself is level 1.
pub const NESTING_LIMIT: usize = 64;

/// Up to this many members, duplicates are found by comparing pairs, beyond it by sorting.
const PAIRWISE_LIMIT: usize = 16;

/// Why a text is not acceptable JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonFault {
    /// A byte sequence that is not UTF-8 starts at `offset` bytes.
    #[error("invalid UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Bytes before the fault.
        offset: usize,
    },
    /// An escaped UTF-16 surrogate without its other half starts at `offset` bytes.
    #[error("lone surrogate in the escape at byte {offset}")]
    LoneSurrogate {
        /// Bytes before the escape.
        offset: usize,
    },
    /// Arrays and objects are nested deeper than `limit`.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The deepest level allowed.
        limit: usize,
    },
    /// The grammar of RFC 8259 is violated.
    #[error("{0}")]
    Syntax(#[from] serde_json::Error),
}

/// Why a text could not be split into the members of an object.
#[derive(Debug, thiserror::Error)]
pub enum MembersFault {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// JSON, but not an object.
    #[error("not an object")]
    NotAnObject,
    /// A name occurs twice.
    #[error("{name:?} is given more than once")]
    Repeated {
        /// The name, cut to a length that fits a message.
        name: Box<str>,
    },
}

/// Returns `json` as text if it is UTF-8, nested at most `nesting_limit` levels deep and free of lone surrogates.
///
/// The grammar is left to the parser that comes next; for a text with broken grammar the result says nothing.
///
/// # Errors
/// [`JsonFault`], but never [`JsonFault::Syntax`].
pub fn check_text(json: &[u8], nesting_limit: usize) -> Result<&str, JsonFault> {
    let text = std::str::from_utf8(json).map_err(|error| JsonFault::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    // Most events have few brackets and no escape, which two passes over whole words show.
    let brackets: usize = json
        .iter()
        .map(|byte| usize::from(byte | 0x20 == b'{'))
        .sum();
    if brackets > nesting_limit || json.contains(&b'\\') {
        scan(json, nesting_limit)?;
    }
    Ok(text)
}

/// Follows brackets and strings byte by byte.
fn scan(json: &[u8], nesting_limit: usize) -> Result<(), JsonFault> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = scan_string(json, at)?,
            _ => {}
        }
        if depth > nesting_limit {
            return Err(JsonFault::TooDeep {
                limit: nesting_limit,
            });
        }
    }
    Ok(())
}

/// Returns the offset after the closing quote of the string whose content starts at `at`.
fn scan_string(json: &[u8], mut at: usize) -> Result<usize, JsonFault> {
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return Ok(at + 1),
            b'\\' => at = scan_escape(json, at)?,
            _ => at += 1,
        }
    }
    Ok(at)
}

/// Returns the offset after the escape, or pair of escapes, that starts at `at`.
fn scan_escape(json: &[u8], at: usize) -> Result<usize, JsonFault> {
    match unicode_escape(json, at) {
        Some(0xD800..=0xDBFF) => match unicode_escape(json, at + 6) {
            Some(0xDC00..=0xDFFF) => Ok(at + 12),
            _ => Err(JsonFault::LoneSurrogate { offset: at }),
        },
        Some(0xDC00..=0xDFFF) => Err(JsonFault::LoneSurrogate { offset: at }),
        Some(_) => Ok(at + 6),
        None => Ok(at + 2),
    }
}

/// Returns the UTF-16 unit of the escape `\uXXXX` at `at`, if there is one.
fn unicode_escape(json: &[u8], at: usize) -> Option<u32> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| {
        Some(unit * 16 + char::from(*digit).to_digit(16)?)
    })
}

/// Returns the value of a JSON string, or `None` if `raw` is another kind of value.
///
/// `raw` is one JSON value without surrounding white space, as [`Members`] and [`parse_list`] give it.
#[must_use]
pub fn string_value(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Splits a JSON array into the texts of its elements; `None` if `text` is JSON but not an array.
///
/// # Errors
/// When `text` is not JSON.
pub fn parse_list(text: &str) -> Result<Option<Vec<&str>>, serde_json::Error> {
    if text.trim_start().starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(text)?;
        Ok(Some(elements.into_iter().map(RawValue::get).collect()))
    } else {
        serde_json::from_str::<&RawValue>(text).map(|_| None)
    }
}

/// The members of one JSON object, in their order: distinct names, values as the JSON text they came in.
#[derive(Debug, Clone, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Members<'a> {
    /// Splits `text`, which has to be one JSON object; values are checked for their grammar.
    ///
    /// # Errors
    /// [`MembersFault`]: not JSON, not an object, or a name that is given twice.
    pub fn parse(text: &'a str) -> Result<Self, MembersFault> {
        if !text.trim_start().starts_with('{') {
            serde_json::from_str::<&RawValue>(text)?;
            return Err(MembersFault::NotAnObject);
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let members = Self(reader.deserialize_map(MembersVisitor)?);
        reader.end()?;
        match members.repeated() {
            Some(name) => Err(MembersFault::Repeated {
                name: shorten(name),
            }),
            None => Ok(members),
        }
    }

    /// Returns the JSON text of the member `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter()
            .find_map(|(member, raw)| (member == name).then_some(raw))
    }

    /// Goes over names and JSON texts in the order of the object.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, raw)| (name.as_ref(), *raw))
    }

    /// Returns how many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the object is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the names and JSON texts away.
    #[must_use]
    pub fn into_vec(self) -> Vec<(Cow<'a, str>, &'a str)> {
        self.0
    }

    fn repeated(&self) -> Option<&str> {
        if self.0.len() <= PAIRWISE_LIMIT {
            let mut rest = self.0.as_slice();
            while let Some(((name, _), others)) = rest.split_first() {
                if others.iter().any(|(other, _)| other == name) {
                    return Some(name);
                }
                rest = others;
            }
            return None;
        }
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        names
            .array_windows()
            .find_map(|[one, next]| (one == next).then_some(*one))
    }
}

/// Cuts a name that comes from outside to a length that fits a message.
#[must_use]
pub fn shorten(name: &str) -> Box<str> {
    name.chars().take(64).collect::<String>().into_boxed_str()
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Cow<'de, str>, &'de str)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(10);
        while let Some(name) = map.next_key_seed(Name)? {
            members.push((name, map.next_value::<&'de RawValue>()?.get()));
        }
        Ok(members)
    }
}

/// Reads the name of a member, borrowed when it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a member")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests;
