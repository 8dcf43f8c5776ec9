//! Checks JSON text as a whole and splits it by one level, without a tree and without recursion.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

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
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn nesting_is_limited_to_the_level_and_not_beyond() {
        assert!(check_text(nested(64).as_bytes(), 64).is_ok());
        assert!(matches!(
            check_text(nested(65).as_bytes(), 64),
            Err(JsonFault::TooDeep { limit: 64 })
        ));
        assert!(matches!(
            check_text("{\"a\":".repeat(100_000).as_bytes(), 64),
            Err(JsonFault::TooDeep { .. })
        ));
    }

    #[test]
    fn brackets_in_strings_and_brackets_side_by_side_do_not_count() {
        let in_string = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(500), "{".repeat(500));
        assert!(check_text(in_string.as_bytes(), 64).is_ok());
        let side_by_side = format!("[{}[]]", "[],".repeat(500));
        assert!(check_text(side_by_side.as_bytes(), 64).is_ok());
    }

    #[test]
    fn a_bracket_after_an_escaped_backslash_counts() {
        let deep = format!(r#"["\\",{}]"#, nested(64));
        assert!(matches!(
            check_text(deep.as_bytes(), 64),
            Err(JsonFault::TooDeep { .. })
        ));
    }

    #[test]
    fn surrogates_are_taken_in_pairs_only() {
        for (text, good) in [
            (r#""\ud83d\ude00""#, true),
            (r#""\uD83D\uDE00x""#, true),
            (r#""\\ud83d""#, true),
            (r#""\u0041\n\/""#, true),
            (r#""\ud83d""#, false),
            (r#""\ud83dx\ude00""#, false),
            (r#""\ude00""#, false),
            (r#""\ude00\ud83d""#, false),
            (r#""\ud83d\ud83d\ude00""#, false),
        ] {
            let checked = check_text(text.as_bytes(), 64);
            assert_eq!(checked.is_ok(), good, "{text}");
            if !good {
                assert!(
                    matches!(checked, Err(JsonFault::LoneSurrogate { offset: 1 })),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_with_their_offset() {
        for bad in [
            &b"\"\xC0\xA0\""[..],
            b"\"\xED\xA0\x80\"",
            b"\"\xFF\"",
            b"\"\xF8\x88\x80\x80\x80\"",
        ] {
            assert!(
                matches!(check_text(bad, 64), Err(JsonFault::NotUtf8 { offset: 1 })),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn unfinished_escapes_at_the_end_do_not_panic() {
        for text in [
            r#""\"#,
            r#""\u"#,
            r#""\u12"#,
            r#""\ud83d\"#,
            r#""\ud83d\u"#,
            r#"""#,
        ] {
            drop(check_text(text.as_bytes(), 64));
        }
    }

    #[test]
    fn members_keep_their_order_and_their_text() {
        let members = Members::parse(" {\"a\" : 1E400 , \"\\u0062\":{\"x\":[1, 2]}} ").unwrap();
        let listed: Vec<(&str, &str)> = members.iter().collect();
        assert_eq!(listed, [("a", "1E400"), ("b", "{\"x\":[1, 2]}")]);
        assert_eq!(members.get("b"), Some("{\"x\":[1, 2]}"));
        assert_eq!(members.get("c"), None);
    }

    #[test]
    fn repeated_names_are_found_in_small_and_in_large_objects() {
        assert!(matches!(
            Members::parse(r#"{"a":1,"b":2,"\u0061":3}"#),
            Err(MembersFault::Repeated { name }) if &*name == "a"
        ));
        let many: String = (0..100).map(|i| format!("\"m{i}\":0,")).collect();
        assert!(Members::parse(&format!("{{{many}\"x\":0}}")).is_ok());
        assert!(matches!(
            Members::parse(&format!("{{{many}\"m7\":0}}")),
            Err(MembersFault::Repeated { name }) if &*name == "m7"
        ));
    }

    #[test]
    fn other_values_and_broken_text_are_told_apart() {
        for text in ["[]", "1", "null", "\"{}\"", " true "] {
            assert!(
                matches!(Members::parse(text), Err(MembersFault::NotAnObject)),
                "{text}"
            );
        }
        for text in [
            "",
            "{",
            "{}x",
            "{\"a\":}",
            "{\"a\":1,}",
            "\u{feff}{}",
            "{'a':1}",
            "{\"a\":NaN}",
            "nul",
        ] {
            assert!(
                matches!(Members::parse(text), Err(MembersFault::Syntax(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn lists_are_split_into_their_elements() {
        assert_eq!(
            parse_list(" [1, {\"a\":2} ]").unwrap().unwrap(),
            ["1", "{\"a\":2}"]
        );
        assert!(parse_list("{}").unwrap().is_none());
        assert!(parse_list("[1,]").is_err());
    }
}
