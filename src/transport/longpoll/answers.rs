//! What clients that poll are answered.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::cookies::{Seen, set_cookies};
use super::sessions::Session;
use crate::dispatch::ControlEvent;
use crate::http::{Body, HttpError};
use crate::telemetry::now_ms;

/// Returns the answer with these events, and the cookies of a client that has seen them.
pub(super) fn answer(
    events: &[Vec<u8>],
    token: &str,
    last: &str,
) -> Result<Response<Body>, HttpError> {
    let mut response = list(events, last);
    set_cookies(response.headers_mut(), token, last)?;
    Ok(response)
}

/// Returns the answer with these events, without cookies.
pub(super) fn list(events: &[Vec<u8>], last: &str) -> Response<Body> {
    let mut body = format!("{{\"last_event_id\":\"{last}\",\"events\":[").into_bytes();
    body.extend_from_slice(&events.join(&b','));
    body.extend_from_slice(b"]}");
    json(body.into(), "application/json; charset=utf-8")
}

/// Adds the headers that every answer to this client has.
pub(super) fn with(
    mut response: Response<Body>,
    headers: impl IntoIterator<Item = (Option<HeaderName>, HeaderValue)>,
) -> Response<Body> {
    response.headers_mut().extend(headers);
    response
}

/// Returns the control events that tell a client what it does not know of its session.
pub(super) fn announcements(seen: &Seen, session: &Session, token: &str) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    if seen.revision == 0 {
        events.push(ControlEvent::connection_created(token).to_json(now_ms()));
    }
    let subscriptions = session.subscriptions.to_string();
    events.push(ControlEvent::subscriptions_set(&subscriptions).to_json(now_ms()));
    events
}

/// Returns a response with this body.
pub(super) fn json(body: Bytes, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = StatusCode::OK;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
