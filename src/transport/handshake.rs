//! The handshake of a WebSocket.
//!
//! # Source
//! RFC 6455, section 4.2; CloudEvents WebSocket protocol binding, section 3.

use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, StatusCode};

use crate::http::HttpError;

/// The sub-protocol of the CloudEvents WebSocket binding.
const CLOUD_EVENTS_JSON: &str = "cloudevents.json";

/// Checks the handshake (RFC 6455, 4.2.1) and returns the headers of its answer (4.2.2).
///
/// # Errors
/// 426 for what is no handshake of version 13, 400 for a key that is none.
pub(super) fn answer_handshake(request: &HeaderMap) -> Result<HeaderMap, HttpError> {
    let accept = accept_key(request)?;
    let mut headers = HeaderMap::new();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if offers(request, &SEC_WEBSOCKET_PROTOCOL, CLOUD_EVENTS_JSON) {
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(CLOUD_EVENTS_JSON),
        );
    }
    Ok(headers)
}

fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, HttpError> {
    if !offers(headers, &UPGRADE, "websocket") || !offers(headers, &CONNECTION, "upgrade") {
        return Err(upgrade_required(
            "This endpoint speaks WebSocket: send an upgrade request.",
        ));
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(upgrade_required(
            "This endpoint speaks version 13 of WebSocket.",
        ));
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .filter(|key| is_websocket_key(key.as_bytes()))
        .ok_or_else(|| {
            HttpError::bad_request(
                "invalid_handshake",
                "Sec-WebSocket-Key has to be 16 bytes in base64.",
            )
        })?;
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    HeaderValue::try_from(accept).map_err(HttpError::internal)
}

fn upgrade_required(public: &str) -> HttpError {
    HttpError::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", public)
        .with_header(UPGRADE, HeaderValue::from_static("websocket"))
        .with_header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

fn is_websocket_key(key: &[u8]) -> bool {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(key)
        .is_ok_and(|bytes| bytes.len() == 16)
}

/// Returns whether a header's comma-separated list has `token`, whatever its case.
fn offers(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offered| offered.trim().eq_ignore_ascii_case(token))
}
