//! All context attributes of one event, read once.

use std::borrow::Cow;

use super::cloud_event::CloudEvent;
use super::json::{Members, string_value};

/// The context attributes and extensions of one event in their string form.
///
/// The names `type`, `id` and `source` are there in every version of the specification.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Attributes<'a> {
    pub(super) fn of(event: &'a CloudEvent, members: Members<'a>) -> Self {
        let mut all: Vec<_> = members
            .into_vec()
            .into_iter()
            .filter(|(name, _)| {
                !matches!(
                    name.as_ref(),
                    "data" | "data_base64" | "type" | "id" | "source"
                )
            })
            .filter_map(|(name, raw)| Some((name, text_of(raw)?)))
            .collect();
        for name in ["type", "id", "source"] {
            all.extend(event.attribute(name).map(|value| (name.into(), value)));
        }
        Self(all)
    }

    /// Returns one attribute; `None` if it is absent, `null`, an array or an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(attribute, value)| (attribute == name).then_some(value))
    }

    /// Goes over names and values; each name once, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

/// Returns the string form of an attribute's JSON text, `None` for `null`, arrays and objects.
pub(super) fn text_of(raw: &str) -> Option<Cow<'_, str>> {
    match raw.as_bytes().first()? {
        b'"' => string_value(raw),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(raw)),
    }
}
