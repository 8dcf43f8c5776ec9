//! What clients say on their WebSockets.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::dispatch::ControlEvent;
use crate::event::{NESTING_LIMIT, check_text};
use crate::http::HttpError;

/// What a client may say.
pub(super) const EXPECTED: &str = "expected {\"type\":\"rig.subscriptions_set\",\"data\":[…]}, {\"type\":\"rig.ack\",\"data\":{\"session\":…,\"cursor\":…}}, {\"type\":\"rig.token\",\"data\":{\"token\":…}} or {\"type\":\"rig.request\",\"id\":…,\"data\":{\"method\":…,\"path\":…}}";

/// A text message of a client: a CloudEvent, of which only these attributes count.
#[derive(Debug, serde::Deserialize)]
pub struct ClientMessage<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl<'a> ClientMessage<'a> {
    /// Reads a text message.
    ///
    /// # Errors
    /// What the client is to be told about a text that is none.
    pub fn parse(text: &'a str) -> Result<Self, ControlEvent> {
        check_text(text.as_bytes(), NESTING_LIMIT)
            .map_err(|error| Self::refused(&error.to_string()))?;
        serde_json::from_str(text).map_err(|error| Self::refused(&format!("{EXPECTED}: {error}")))
    }

    /// Returns the type, such as `rig.request`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the id as JSON; `null` where the client gives none.
    #[must_use]
    pub fn id(&self) -> &'a str {
        self.id.map_or("null", RawValue::get)
    }

    /// Returns the data as JSON; `null` without any.
    #[must_use]
    pub fn data(&self) -> &'a str {
        self.data.map_or("null", RawValue::get)
    }

    /// Returns what a client is told that said something else.
    pub(super) fn refused(detail: &str) -> ControlEvent {
        ControlEvent::subscriptions_refused(problem("invalid_subscriptions", detail))
    }
}

/// Says on a connection what is wrong with what its client said.
pub(super) fn problem(code: &str, detail: &str) -> Value {
    json!({ "code": code, "status": 400, "detail": detail })
}

/// The same for what was refused as a request would be.
pub(super) fn problem_of(error: &HttpError) -> Value {
    json!({ "code": error.code(), "status": error.status().as_u16(), "detail": error.public() })
}
