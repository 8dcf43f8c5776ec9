//! The event itself: validated JSON, and the attributes that everybody asks for.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::attributes::{Attributes, text_of};
use super::decode_error::{DecodeError, EventFault};
use super::json::{Members, NESTING_LIMIT, check_text, shorten, string_value};

/// A validated CloudEvent and its JSON, which is forwarded byte for byte as it came in structured mode, or as it was
/// built from binary mode. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CloudEvent {
    json: Bytes,
    event_type: Text,
    id: Text,
    source: Option<Text>,
}

/// A version of the specification, with the names that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V01,
    V02,
    V03,
    V10,
}

/// A text inside of the event's JSON, or next to it when it stands there with escapes.
#[derive(Clone, Debug)]
enum Text {
    Slice { start: u32, len: u32 },
    Owned(Arc<str>),
}

impl CloudEvent {
    /// Validates one event in structured mode: a JSON object of version 1.0, 0.3, 0.2 or 0.1.
    ///
    /// Required and not empty are version, type and id; in 1.0 also source. Unknown members stay.
    ///
    /// # Errors
    /// [`DecodeError`], but neither [`DecodeError::NullValue`] nor [`DecodeError::UnsupportedFormat`].
    pub fn from_structured(json: Bytes) -> Result<Self, DecodeError> {
        let text = check_text(&json, NESTING_LIMIT)?;
        let members = Members::parse(text)?;
        let version = Version::of(&members)?;
        for (name, raw) in members.iter() {
            check_member(version, name, raw)?;
        }
        if members.get("data").is_some()
            && members.get("data_base64").is_some()
            && version == Version::V10
        {
            return Err(EventFault::TwoKindsOfData.into());
        }
        let event_type = required(&members, version.type_name(), version, text)?;
        let id = required(&members, version.id_name(), version, text)?;
        let source = match version {
            Version::V10 => Some(required(&members, "source", version, text)?),
            _ => members.get("source").and_then(|raw| Text::of(raw, text)),
        };
        Ok(Self {
            json,
            event_type,
            id,
            source,
        })
    }

    /// Returns the event as one JSON object in UTF-8.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// Returns the attribute `type`, in version 0.1 `eventType`; never empty, no control characters.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.event_type.within(&self.json)
    }

    /// Returns the attribute `id`, in version 0.1 `eventID`; never empty, no control characters.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.within(&self.json)
    }

    /// Returns the attribute `source`; empty if an event of a version before 1.0 has none.
    #[must_use]
    pub fn source(&self) -> &str {
        self.source
            .as_ref()
            .map_or("", |source| source.within(&self.json))
    }

    /// Returns a context attribute or extension in its string form; numbers and booleans as their text.
    ///
    /// `None` if it is absent, `null`, an array or an object, and for `data` and `data_base64`, which are no attributes.
    /// Besides `type`, `id` and `source` this reads the JSON each time: see [`Self::attributes`] for many.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        match name {
            "type" => Some(self.event_type().into()),
            "id" => Some(self.id().into()),
            "source" => self
                .source
                .as_ref()
                .map(|source| source.within(&self.json).into()),
            "data" | "data_base64" => None,
            _ => self.members().get(name).and_then(text_of),
        }
    }

    /// Reads all context attributes and extensions in one pass.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes::of(self, self.members())
    }

    fn members(&self) -> Members<'_> {
        let text =
            std::str::from_utf8(&self.json).expect("the JSON was checked when the event was made");
        Members::parse(text).expect("the JSON was checked when the event was made")
    }
}

impl Version {
    fn of(members: &Members<'_>) -> Result<Self, DecodeError> {
        let given = |name| members.get(name).filter(|raw| *raw != "null");
        let (name, raw) = match (given("specversion"), given("cloudEventsVersion")) {
            (Some(raw), _) => ("specversion", raw),
            (None, Some(raw)) => ("cloudEventsVersion", raw),
            (None, None) => {
                return Err(EventFault::Missing {
                    attribute: "specversion",
                }
                .into());
            }
        };
        let version = string_value(raw).ok_or(EventFault::NotAString { name })?;
        let known = Self::named(&version).filter(|known| known.version_name() == name);
        known.ok_or_else(|| DecodeError::UnknownVersion {
            version: shorten(&version),
        })
    }

    pub(super) fn named(version: &str) -> Option<Self> {
        match version {
            "1.0" => Some(Self::V10),
            "0.3" => Some(Self::V03),
            "0.2" => Some(Self::V02),
            "0.1" => Some(Self::V01),
            _ => None,
        }
    }

    const fn version_name(self) -> &'static str {
        match self {
            Self::V01 => "cloudEventsVersion",
            _ => "specversion",
        }
    }

    const fn type_name(self) -> &'static str {
        match self {
            Self::V01 => "eventType",
            _ => "type",
        }
    }

    const fn id_name(self) -> &'static str {
        match self {
            Self::V01 => "eventID",
            _ => "id",
        }
    }

    /// Returns the attribute that says what kind of data the event has.
    pub(super) const fn content_type_name(self) -> &'static str {
        match self {
            Self::V01 => "contentType",
            Self::V02 => "contenttype",
            Self::V03 | Self::V10 => "datacontenttype",
        }
    }
}

/// Checks what holds for any member; the data may be any JSON.
fn check_member(version: Version, name: &str, raw: &str) -> Result<(), EventFault> {
    match name {
        "data" => return Ok(()),
        "data_base64" if version == Version::V10 => {
            let is_allowed = raw.starts_with('"') || raw == "null";
            return if is_allowed {
                Ok(())
            } else {
                Err(EventFault::NotAString {
                    name: "data_base64",
                })
            };
        }
        _ => {}
    }
    let is_bad = has_control_character(name)
        || (raw.starts_with('"')
            && string_value(raw).is_none_or(|value| has_control_character(&value)));
    if is_bad {
        Err(EventFault::ControlCharacter {
            attribute: shorten(name),
        })
    } else {
        Ok(())
    }
}

/// CloudEvents, type system: strings have none of U+0000 to U+001F and U+007F to U+009F.
pub(super) fn has_control_character(text: &str) -> bool {
    text.bytes().any(|byte| byte < 0x20 || byte == 0x7F)
        || (!text.is_ascii() && text.chars().any(char::is_control))
}

fn required(
    members: &Members<'_>,
    attribute: &'static str,
    version: Version,
    text: &str,
) -> Result<Text, DecodeError> {
    let raw = members
        .get(attribute)
        .filter(|raw| *raw != "null")
        .ok_or(EventFault::Missing { attribute })?;
    // RIG took numbers as ids of the old versions.
    let is_number = raw.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let is_old_id = version != Version::V10 && attribute == version.id_name();
    if raw == "\"\"" {
        return Err(EventFault::Empty { attribute }.into());
    }
    let value = if is_number && is_old_id {
        Text::slice(raw, text)
    } else {
        Text::of(raw, text)
    };
    Ok(value.ok_or(EventFault::NotAString { name: attribute })?)
}

impl Text {
    /// Keeps the JSON string `raw`, a part of `text`; `None` if it is another kind of value.
    fn of(raw: &str, text: &str) -> Option<Self> {
        match string_value(raw)? {
            Cow::Borrowed(value) => Self::slice(value, text),
            Cow::Owned(value) => Some(Self::Owned(value.into())),
        }
    }

    /// Keeps `value`, which is a part of `text`.
    fn slice(value: &str, text: &str) -> Option<Self> {
        let start = value.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        Some(match (u32::try_from(start), u32::try_from(value.len())) {
            (Ok(start), Ok(len)) => Self::Slice { start, len },
            _ => Self::Owned(value.into()),
        })
    }

    fn within<'a>(&'a self, json: &'a [u8]) -> &'a str {
        match self {
            Self::Owned(value) => value,
            Self::Slice { start, len } => {
                let start = *start as usize;
                let bytes = json
                    .get(start..start + *len as usize)
                    .expect("the text is a part of the JSON");
                std::str::from_utf8(bytes).expect("the JSON was checked when the event was made")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Result<CloudEvent, DecodeError> {
        CloudEvent::from_structured(Bytes::copy_from_slice(json.as_bytes()))
    }

    fn fault(json: &str) -> EventFault {
        match decode(json) {
            Err(DecodeError::NotACloudEvent { fault }) => fault,
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn all_versions_are_understood() {
        for (json, event_type, id, source) in [
            (
                r#"{"specversion":"1.0","type":"t","id":"1","source":"/s"}"#,
                "t",
                "1",
                "/s",
            ),
            (
                r#"{"specversion":"0.3","type":"t","id":"1","source":"/s"}"#,
                "t",
                "1",
                "/s",
            ),
            (r#"{"specversion":"0.2","type":"t","id":"1"}"#, "t", "1", ""),
            (
                r#"{"cloudEventsVersion":"0.1","eventType":"t","eventID":"1"}"#,
                "t",
                "1",
                "",
            ),
            (
                r#"{"specversion":"0.2","type":"t","id":12.50}"#,
                "t",
                "12.50",
                "",
            ),
            (
                r#"{"specversion":"0.2","type":"t","id":"1","source":null}"#,
                "t",
                "1",
                "",
            ),
            (
                r#"{"specversion":"1.0","cloudEventsVersion":"0.1","type":"t","id":"1","source":"s"}"#,
                "t",
                "1",
                "s",
            ),
        ] {
            let event = decode(json).unwrap();
            assert_eq!(
                (event.event_type(), event.id(), event.source()),
                (event_type, id, source),
                "{json}"
            );
            assert_eq!(event.json(), json.as_bytes());
        }
    }

    #[test]
    fn escapes_and_foreign_letters_are_read_but_the_bytes_stay() {
        let json = " {\n\"specversion\":\"1.0\",\"type\":\"a\\u002fb\",\"\\u0069d\":\"\u{e4}\u{1F600}\",\"source\":\"\\\"q\\\"\",\"x\":{\"n\":1.0}}\r\n";
        let event = decode(json).unwrap();
        assert_eq!(
            (event.event_type(), event.id(), event.source()),
            ("a/b", "\u{e4}\u{1F600}", "\"q\"")
        );
        assert_eq!(event.json(), json.as_bytes());
        assert_eq!(event.clone().id(), event.id());
    }

    #[test]
    fn required_attributes_have_to_be_there() {
        for (json, attribute) in [
            ("{}", "specversion"),
            (
                r#"{"specversion":null,"type":"t","id":"1","source":"/s"}"#,
                "specversion",
            ),
            (r#"{"specversion":"1.0","id":"1","source":"/s"}"#, "type"),
            (r#"{"specversion":"1.0","type":"t","source":"/s"}"#, "id"),
            (
                r#"{"specversion":"1.0","type":"t","id":null,"source":"/s"}"#,
                "id",
            ),
            (r#"{"specversion":"1.0","type":"t","id":"1"}"#, "source"),
            (r#"{"specversion":"0.3","type":"t"}"#, "id"),
            (
                r#"{"cloudEventsVersion":"0.1","eventType":"t","id":"1"}"#,
                "eventID",
            ),
        ] {
            assert_eq!(fault(json), EventFault::Missing { attribute }, "{json}");
        }
        for (json, attribute) in [
            (
                r#"{"specversion":"1.0","type":"","id":"1","source":"/s"}"#,
                "type",
            ),
            (
                r#"{"specversion":"1.0","type":"t","id":"","source":"/s"}"#,
                "id",
            ),
            (
                r#"{"specversion":"1.0","type":"t","id":"1","source":""}"#,
                "source",
            ),
            (r#"{"specversion":"0.2","type":"t","id":""}"#, "id"),
        ] {
            assert_eq!(fault(json), EventFault::Empty { attribute }, "{json}");
        }
    }

    #[test]
    fn required_attributes_have_to_be_strings() {
        for (json, name) in [
            (
                r#"{"specversion":1.0,"type":"t","id":"1","source":"/s"}"#,
                "specversion",
            ),
            (
                r#"{"specversion":"1.0","type":["t"],"id":"1","source":"/s"}"#,
                "type",
            ),
            (
                r#"{"specversion":"1.0","type":"t","id":1,"source":"/s"}"#,
                "id",
            ),
            (
                r#"{"specversion":"1.0","type":"t","id":"1","source":{}}"#,
                "source",
            ),
            (r#"{"specversion":"0.2","type":1,"id":"1"}"#, "type"),
            (
                r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","data_base64":1}"#,
                "data_base64",
            ),
        ] {
            assert_eq!(fault(json), EventFault::NotAString { name }, "{json}");
        }
    }

    #[test]
    fn unknown_versions_are_named() {
        for (json, expected) in [
            (
                r#"{"specversion":"2.0","type":"t","id":"1","source":"/s"}"#,
                "2.0",
            ),
            (
                r#"{"specversion":"","type":"t","id":"1","source":"/s"}"#,
                "",
            ),
            (
                r#"{"specversion":"0.1","eventType":"t","eventID":"1"}"#,
                "0.1",
            ),
            (
                r#"{"cloudEventsVersion":"1.0","type":"t","id":"1","source":"/s"}"#,
                "1.0",
            ),
        ] {
            match decode(json) {
                Err(DecodeError::UnknownVersion { version }) => assert_eq!(&*version, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn control_characters_are_refused_in_attributes_but_not_in_data() {
        let event = |members: &str| {
            format!(r#"{{"specversion":"1.0","type":"t","id":"1","source":"/s",{members}}}"#)
        };
        for (members, attribute) in [
            (r#""subject":"a\nb""#, "subject"),
            (r#""subject":"a\u0000b""#, "subject"),
            (r#""x":"\r""#, "x"),
            ("\"x\":\"\u{7f}\"", "x"),
            ("\"x\":\"\u{85}\"", "x"),
            (r#""x":"\u009f""#, "x"),
            (r#""x\n":1"#, "x\n"),
        ] {
            let expected = EventFault::ControlCharacter {
                attribute: attribute.into(),
            };
            assert_eq!(fault(&event(members)), expected, "{members}");
        }
        assert!(decode(&event(r#""data":"a\nb\u0000","x":"\u2028\u00a0""#)).is_ok());
        for name in ["type", "id", "source"] {
            let json = event(r#""data":0"#)
                .replace(&format!(r#""{name}":""#), &format!(r#""{name}":"\u000a"#));
            assert_eq!(
                fault(&json),
                EventFault::ControlCharacter {
                    attribute: name.into()
                }
            );
        }
    }

    #[test]
    fn repeated_members_and_two_kinds_of_data_are_refused() {
        let twice = r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","type":"u"}"#;
        assert_eq!(
            fault(twice),
            EventFault::Repeated {
                name: "type".into()
            }
        );
        let both = r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","data":1,"data_base64":"AQ=="}"#;
        assert_eq!(fault(both), EventFault::TwoKindsOfData);
        assert!(
            decode(r#"{"specversion":"0.3","type":"t","id":"1","data":1,"data_base64":"AQ=="}"#)
                .is_ok()
        );
    }

    #[test]
    fn what_is_not_an_event_is_told_apart() {
        for json in ["[]", "1", "null", "\"x\"", "true"] {
            assert_eq!(fault(json), EventFault::NotAnObject, "{json}");
        }
        for json in [
            "",
            " ",
            "{",
            "{\"a\":01}",
            "\u{feff}{}",
            "{} {}",
            "{\"data\":NaN}",
            "{\"data\":\"\\ud800\"}",
            "\0\0\0\0\x01",
        ] {
            assert!(
                matches!(decode(json), Err(DecodeError::NotJson { .. })),
                "{json}"
            );
        }
        let not_utf8 = CloudEvent::from_structured(Bytes::from_static(b"{\"x\":\"\xC0\xA0\"}"));
        assert!(matches!(
            not_utf8,
            Err(DecodeError::NotJson {
                fault: super::super::JsonFault::NotUtf8 { offset: 6 }
            })
        ));
    }

    #[test]
    fn nesting_is_limited_also_where_nothing_is_read() {
        let event = |depth: usize| {
            format!(
                r#"{{"specversion":"1.0","type":"t","id":"1","source":"/s","data":{}{}}}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            )
        };
        assert!(decode(&event(63)).is_ok());
        assert!(matches!(
            decode(&event(64)),
            Err(DecodeError::TooDeep { limit: 64 })
        ));
        assert!(matches!(
            decode(&event(100_000)),
            Err(DecodeError::TooDeep { limit: 64 })
        ));
        assert!(matches!(
            decode(&"[".repeat(100_000)),
            Err(DecodeError::TooDeep { limit: 64 })
        ));
    }

    #[test]
    fn attributes_are_given_in_their_string_form() {
        let event = decode(
            r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","subject":"a\/b","n":5,"f":1.50,"b":true,"z":null,"o":{},"l":[],"data":"d"}"#,
        )
        .unwrap();
        for (name, value) in [
            ("specversion", Some("1.0")),
            ("type", Some("t")),
            ("id", Some("1")),
            ("source", Some("/s")),
            ("subject", Some("a/b")),
            ("n", Some("5")),
            ("f", Some("1.50")),
            ("b", Some("true")),
            ("z", None),
            ("o", None),
            ("l", None),
            ("data", None),
            ("none", None),
        ] {
            assert_eq!(event.attribute(name).as_deref(), value, "{name}");
            assert_eq!(event.attributes().get(name), value, "{name}");
        }
    }

    #[test]
    fn version_0_1_answers_to_the_names_of_today() {
        let event = decode(r#"{"cloudEventsVersion":"0.1","eventType":"t","eventID":"1","contentType":"text/plain"}"#).unwrap();
        for (name, value) in [
            ("type", Some("t")),
            ("id", Some("1")),
            ("source", None),
            ("contentType", Some("text/plain")),
        ] {
            assert_eq!(event.attribute(name).as_deref(), value, "{name}");
            assert_eq!(event.attributes().get(name), value, "{name}");
        }
    }
}
