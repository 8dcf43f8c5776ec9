//! Builds the JSON of an event that came in binary mode: attributes in headers, data as the value.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::cloud_event::{CloudEvent, Version};
use super::decode_error::{DecodeError, EventFault};
use super::json::{JsonFault, NESTING_LIMIT, check_text, shorten};
use super::media_type::{DataKind, data_kind};

/// Attributes and data of one event in binary mode.
pub(super) struct BinaryEvent<'a> {
    /// Attributes by the names in the headers, without prefix.
    attributes: Vec<(&'a str, Cow<'a, str>)>,
    /// The content type of the data.
    pub(super) content_type: Option<&'a str>,
    /// The data; empty means none, as HTTP cannot tell the two apart.
    pub(super) data: &'a [u8],
}

impl<'a> BinaryEvent<'a> {
    pub(super) fn new(content_type: Option<&'a str>, data: &'a [u8]) -> Self {
        Self {
            attributes: Vec::with_capacity(8),
            content_type,
            data,
        }
    }

    /// Adds the attribute of one header.
    pub(super) fn add(&mut self, name: &'a str, value: Cow<'a, str>) -> Result<(), EventFault> {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_name || name == "data" {
            return Err(EventFault::BadName {
                name: shorten(name),
            });
        }
        if self.attributes.iter().any(|(other, _)| *other == name) {
            return Err(EventFault::Repeated {
                name: shorten(name),
            });
        }
        self.attributes.push((name, value));
        Ok(())
    }

    /// Writes the event in structured mode and validates it like one that came so.
    pub(super) fn into_event(self) -> Result<CloudEvent, DecodeError> {
        let version = self.version()?;
        let mut json = String::with_capacity(self.data.len() + 40 * (self.attributes.len() + 2));
        let content_type_name = version.content_type_name();
        json.push('{');
        for (name, value) in &self.attributes {
            // The header `content-type` is the attribute: a second one would contradict it.
            if self.content_type.is_none() || *name != content_type_name {
                member(&mut json, name, value)?;
            }
        }
        if let Some(content_type) = self.content_type {
            member(&mut json, content_type_name, content_type)?;
        }
        self.write_data(version, &mut json)?;
        json.pop();
        json.push('}');
        CloudEvent::from_structured(json.into())
    }

    fn version(&self) -> Result<Version, DecodeError> {
        let given = |wanted| {
            self.attributes
                .iter()
                .find_map(|(name, value)| (*name == wanted).then_some(value.as_ref()))
        };
        let version = given("specversion")
            .or_else(|| given("cloudEventsVersion"))
            .ok_or(EventFault::Missing {
                attribute: "specversion",
            })?;
        Version::named(version).ok_or_else(|| DecodeError::UnknownVersion {
            version: shorten(version),
        })
    }

    fn write_data(&self, version: Version, json: &mut String) -> Result<(), DecodeError> {
        if self.data.is_empty() {
            return Ok(());
        }
        let declared = self.content_type.or_else(|| {
            let name = version.content_type_name();
            self.attributes
                .iter()
                .find_map(|(other, value)| (*other == name).then_some(value.as_ref()))
        });
        match declared.map(data_kind) {
            Some(DataKind::Json) => raw_member(json, json_text(self.data)?),
            Some(DataKind::Text) => match std::str::from_utf8(self.data) {
                Ok(text) => member(json, "data", text)?,
                Err(_) => self.write_base64(version, json)?,
            },
            Some(DataKind::Bytes) => self.write_base64(version, json)?,
            // Nothing said: JSON is the default of the JSON format, and bytes fit everything else.
            None => match json_text(self.data) {
                Ok(text) => raw_member(json, text),
                Err(_) => self.write_base64(version, json)?,
            },
        }
        Ok(())
    }

    fn write_base64(&self, version: Version, json: &mut String) -> Result<(), DecodeError> {
        let encoded = STANDARD.encode(self.data);
        match version {
            Version::V10 => member(json, "data_base64", &encoded),
            Version::V03 => {
                member(json, "datacontentencoding", "base64")?;
                member(json, "data", &encoded)
            }
            Version::V01 | Version::V02 => member(json, "data", &encoded),
        }
    }
}

/// Returns `data` as the text of exactly one JSON value, so that it can stand inside of another.
fn json_text(data: &[u8]) -> Result<&str, DecodeError> {
    // The event around it is one level more.
    let text = check_text(data, NESTING_LIMIT - 1)?;
    let value: &serde_json::value::RawValue =
        serde_json::from_str(text).map_err(JsonFault::from)?;
    Ok(value.get())
}

fn raw_member(json: &mut String, raw: &str) {
    json.push_str("\"data\":");
    json.push_str(raw);
    json.push(',');
}

fn member(json: &mut String, name: &str, value: &str) -> Result<(), DecodeError> {
    json.push_str(&serde_json::to_string(name).map_err(JsonFault::from)?);
    json.push(':');
    json.push_str(&serde_json::to_string(value).map_err(JsonFault::from)?);
    json.push(',');
    Ok(())
}
