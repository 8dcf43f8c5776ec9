//! The event itself: validated JSON, and the attributes that everybody asks for.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::attributes::{Attributes, text_of};
use super::decode_error::{DecodeError, EventFault};
use super::json::{Members, NESTING_LIMIT, check_text, shorten, string_value};

mod replace;

/// A validated CloudEvent and its JSON, which is forwarded byte for byte as it came in structured mode, or as it was
/// built from binary mode. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CloudEvent {
    json: Bytes,
    event_type: Text,
    id: Text,
    source: Option<Text>,
}

/// Types of events that only Sluicegate itself makes.
const RESERVED_PREFIX: &str = "rig.";

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

    /// Returns whether only Sluicegate itself makes events of this type: nobody else may make clients believe
    /// that it says something about their connections.
    #[must_use]
    pub fn has_reserved_type(&self) -> bool {
        self.event_type().starts_with(RESERVED_PREFIX)
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

    fn text(&self) -> &str {
        std::str::from_utf8(&self.json).expect("the JSON was checked when the event was made")
    }

    fn members(&self) -> Members<'_> {
        Members::parse(self.text()).expect("the JSON was checked when the event was made")
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
mod tests;
