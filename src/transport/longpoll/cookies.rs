//! The cookies of a client that polls: who it is and how far it is.

use http::HeaderMap;
use http::header::{HeaderValue, SET_COOKIE};

use super::sessions::Session;
use crate::event::Cursor;
use crate::http::HttpError;
use crate::transport::beginning::INVALID_CURSOR;

/// What a client has in its cookie `last_event_id` before its first events.
pub(super) const FIRST_EVENT: &str = "first_event";

/// What a client has seen, as its `last_event_id` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) cursor: Cursor,
    /// The last change of subscriptions that it was told; 0 before its first events.
    pub(super) revision: u64,
}

impl Seen {
    /// Reads a `last_event_id`.
    pub(super) fn parse(text: &str, session: &Session) -> Result<Self, HttpError> {
        let malformed = || {
            HttpError::bad_request(
                INVALID_CURSOR,
                "The cookie last_event_id is not one of ours.",
            )
        };
        let (cursor, revision) = match text {
            FIRST_EVENT => (session.start.as_str(), 0),
            text => {
                let (cursor, revision) = text.rsplit_once('.').ok_or_else(malformed)?;
                (cursor, revision.parse().map_err(|_| malformed())?)
            }
        };
        Ok(Self {
            cursor: cursor.parse().map_err(|_| malformed())?,
            revision,
        })
    }

    /// Writes the `last_event_id` of a client that was told the change `revision`.
    pub(super) fn at(&self, revision: u64) -> String {
        format!("{}.{revision}", self.cursor)
    }
}

/// Sets both cookies; their values are base64url, digits and dots, so nothing has to be escaped.
pub(super) fn set_cookies(
    headers: &mut HeaderMap,
    token: &str,
    last: &str,
) -> Result<(), HttpError> {
    let token = format!("connection_token={token}; Path=/; HttpOnly");
    let last = format!("last_event_id=\"{last}\"; Path=/; HttpOnly");
    for cookie in [token, last] {
        headers.append(
            SET_COOKIE,
            HeaderValue::try_from(cookie).map_err(HttpError::internal)?,
        );
    }
    Ok(())
}
