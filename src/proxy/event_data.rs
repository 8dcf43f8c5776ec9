//! The data of an event, as a program has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::event::{CloudEvent, Members};
use crate::http::HttpError;

/// The data of an event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum EventData {
    /// There is none.
    None,
    /// JSON; text is a string.
    Json(Value),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl EventData {
    /// Reads the data of an event, whichever version it is of.
    ///
    /// # Errors
    /// 400 for what should be base64 and is not.
    pub(super) fn of(event: &CloudEvent) -> Result<Self, HttpError> {
        let text = std::str::from_utf8(event.json()).map_err(HttpError::internal)?;
        let members = Members::parse(text).map_err(HttpError::internal)?;
        let (raw, is_base64) = match (members.get("data_base64"), members.get("data")) {
            (Some(raw), _) if raw != "null" => (raw, true),
            (_, Some(raw)) => {
                // Version 0.3 marks base64 so; in 1.0 it is an extension that says nothing.
                let is_marked = members.get("datacontentencoding") == Some("\"base64\"")
                    && members.get("specversion") == Some("\"0.3\"");
                (raw, is_marked)
            }
            _ => return Ok(Self::None),
        };
        let value: Value = serde_json::from_str(raw).map_err(HttpError::internal)?;
        match value.as_str() {
            Some(text) if is_base64 => match STANDARD.decode(text) {
                Ok(bytes) => Ok(Self::Bytes(bytes)),
                Err(_) => Err(HttpError::bad_request(
                    "not_a_cloudevent",
                    "The data of the event is not base64.",
                )),
            },
            _ => Ok(Self::Json(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_is_found_in_every_version() {
        let v10 = r#""specversion":"1.0","type":"t","id":"1","source":"/s""#;
        let v03 = r#""specversion":"0.3","type":"t","id":"1""#;
        for (start, rest, expected) in [
            (v10, "", EventData::None),
            (v10, r#","data":null"#, EventData::Json(Value::Null)),
            (
                v10,
                r#","data":{"a":[1]}"#,
                EventData::Json(json!({"a": [1]})),
            ),
            (v10, r#","data":"text""#, EventData::Json("text".into())),
            (
                v10,
                r#","data_base64":"AQI=""#,
                EventData::Bytes(vec![1, 2]),
            ),
            (
                v10,
                r#","data":"AQI=","datacontentencoding":"base64""#,
                EventData::Json("AQI=".into()),
            ),
            (
                v03,
                r#","data":"AQI=","datacontentencoding":"base64""#,
                EventData::Bytes(vec![1, 2]),
            ),
            (
                v03,
                r#","data":{},"datacontentencoding":"base64""#,
                EventData::Json(json!({})),
            ),
        ] {
            let json = format!("{{{start}{rest}}}");
            let event = CloudEvent::from_structured(json.clone().into()).unwrap();
            assert_eq!(EventData::of(&event).unwrap(), expected, "{json}");
        }
        let json = format!("{{{v10},\"data_base64\":\"?\"}}");
        let event = CloudEvent::from_structured(json.into()).unwrap();
        assert_eq!(EventData::of(&event).unwrap_err().status(), 400);
    }
}
