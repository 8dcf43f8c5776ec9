//! What a token claims, and whether it holds now and here.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::TokenError;
use super::header::decode;
use crate::event::{JsonPointer, NESTING_LIMIT, check_text};

/// What a verified token says. Cheap to clone; `Debug` shows no values.
#[derive(Clone)]
pub struct Claims {
    json: Arc<Value>,
    session: Option<Arc<str>>,
    user: Option<Arc<str>>,
    expires_ms: i64,
}

impl Claims {
    /// Returns all claims, as a JSON object.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// Returns the claim at `pointer`.
    ///
    /// A pointer goes through objects only: what stands in an array, or beyond a plain value, is not found.
    #[must_use]
    pub fn at(&self, pointer: &JsonPointer) -> Option<&Value> {
        resolve(&self.json, pointer)
    }

    /// Returns the session to which the token belongs: the claim at `JWT_SESSION_FIELD`.
    ///
    /// That is a string that is not empty, or a number as text.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Returns whose token it is: the claim at `JWT_USER_FIELD`, in the way of [`Claims::session`].
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns from when on the token is refused, in Unix milliseconds: its `exp`, and `JWT_LEEWAY`.
    ///
    /// A time beyond the range is the end of the range.
    #[must_use]
    pub fn expires_ms(&self) -> i64 {
        self.expires_ms
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Claims")
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

/// What every token has to claim.
#[derive(Debug)]
pub(super) struct ClaimRules {
    /// One of these has to be `iss`; where there are none, any is taken.
    pub(super) issuers: Vec<Box<str>>,
    /// One of these has to be in `aud`; where there are none, any is taken.
    pub(super) audiences: Vec<Box<str>>,
    /// By how much clocks may differ.
    pub(super) leeway_ms: i64,
    pub(super) session_field: JsonPointer,
    pub(super) user_field: JsonPointer,
}

impl ClaimRules {
    /// Reads the payload of a token whose signature holds, at `now_ms` in Unix milliseconds.
    pub(super) fn read(&self, payload: &str, now_ms: i64) -> Result<Claims, TokenError> {
        let payload = decode(payload)?;
        let text = check_text(&payload, NESTING_LIMIT).map_err(|_| TokenError::Malformed)?;
        let json: Value = serde_json::from_str(text).map_err(|_| TokenError::Malformed)?;
        if !json.is_object() {
            return Err(TokenError::Malformed);
        }
        let expires_ms = self.check_times(&json, now_ms)?;
        self.check_parties(&json)?;
        Ok(Claims {
            session: name_at(&json, &self.session_field),
            user: name_at(&json, &self.user_field),
            json: Arc::new(json),
            expires_ms,
        })
    }

    /// Checks `exp` (RFC 7519, 4.1.4) and `nbf` (4.1.5), and returns when the token stops being taken.
    fn check_times(&self, json: &Value, now_ms: i64) -> Result<i64, TokenError> {
        let expiry = json.get("exp").ok_or(TokenError::NoExpiry)?;
        let expiry_ms = milliseconds(expiry).ok_or(TokenError::NoExpiry)?;
        let expires_ms = expiry_ms.saturating_add(self.leeway_ms);
        if now_ms >= expires_ms {
            return Err(TokenError::Expired);
        }
        if let Some(start) = json.get("nbf") {
            let start_ms = milliseconds(start).ok_or(TokenError::NotYetValid)?;
            if now_ms < start_ms.saturating_sub(self.leeway_ms) {
                return Err(TokenError::NotYetValid);
            }
        }
        Ok(expires_ms)
    }

    /// Checks `iss` (RFC 7519, 4.1.1) and `aud` (4.1.3); both are compared byte for byte.
    fn check_parties(&self, json: &Value) -> Result<(), TokenError> {
        let is_of = |list: &[Box<str>], value: &Value| {
            let text = value.as_str();
            text.is_some_and(|text| list.iter().any(|known| **known == *text))
        };
        if !self.issuers.is_empty() && !json.get("iss").is_some_and(|iss| is_of(&self.issuers, iss))
        {
            return Err(TokenError::Issuer);
        }
        let is_for_us = |aud: &Value| match aud {
            Value::Array(several) => several.iter().any(|one| is_of(&self.audiences, one)),
            one => is_of(&self.audiences, one),
        };
        if !self.audiences.is_empty() && !json.get("aud").is_some_and(is_for_us) {
            return Err(TokenError::Audience);
        }
        Ok(())
    }
}

/// Reads a `NumericDate` (RFC 7519, 2): seconds, which may have a fraction.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a time beyond the range is its end"
)]
fn milliseconds(value: &Value) -> Option<i64> {
    match value.as_i64() {
        Some(seconds) => Some(seconds.saturating_mul(1_000)),
        None => value.as_f64().map(|seconds| (seconds * 1_000.0) as i64),
    }
}

fn resolve<'a>(json: &'a Value, pointer: &JsonPointer) -> Option<&'a Value> {
    let mut names = pointer.tokens();
    names.try_fold(json, |value, name| value.as_object()?.get(name))
}

fn name_at(json: &Value, pointer: &JsonPointer) -> Option<Arc<str>> {
    match resolve(json, pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}
