//! How somebody is told that a request is not allowed.
//!
//! # Source
//! RFC 6750, section 3; RFC 9110, section 11.6.1.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};

use crate::http::HttpError;
use crate::identity::TokenError;

/// 401 for a token that is of no use.
pub(super) fn unauthorized(code: &'static str, public: impl Into<String>) -> HttpError {
    HttpError::new(StatusCode::UNAUTHORIZED, code, public).with_header(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer error=\"invalid_token\""),
    )
}

/// 401 for a request without a token that needs one; it names no error (RFC 6750, 3.1).
pub(super) fn token_needed() -> HttpError {
    HttpError::new(
        StatusCode::UNAUTHORIZED,
        "token_required",
        "A bearer token is needed.",
    )
    .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// 403 for somebody who is known and may not.
pub(super) fn denied(code: &'static str, public: impl Into<String>) -> HttpError {
    HttpError::new(StatusCode::FORBIDDEN, code, public)
}

/// 401 for a token that cannot be verified; 503 while there are no keys.
pub(super) fn of_token(error: &TokenError) -> HttpError {
    if error.is_temporary() {
        return HttpError::unavailable(
            "keys_unavailable",
            "The keys of tokens cannot be had at the moment.",
            Duration::from_secs(5),
        );
    }
    unauthorized(
        "invalid_token",
        format!("could not accept the token: {error}"),
    )
}

/// 401 for a session that an operator has ended.
#[must_use]
pub fn session_killed() -> HttpError {
    unauthorized("session_killed", "The session was ended.")
}
