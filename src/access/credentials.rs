//! Where a request has its tokens.
//!
//! # Source
//! RFC 6750, section 2 (one way in a request); RIG's query parameter `jwt`; RFC 6455 for sub-protocols.

use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, StatusCode};

use crate::http::{Cors, HttpError, Query, cookie};

/// How a sub-protocol begins that is a token: browsers can set no other header of a WebSocket.
const SUB_PROTOCOL_PREFIX: &str = "bearer.";

/// What a request has to show who sent it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presented {
    /// Nothing.
    Nothing,
    /// Bearer tokens; mostly one.
    Tokens(Vec<String>),
    /// A ticket that stands for tokens.
    Ticket(String),
}

/// Finds the tokens of a request: in `Authorization`, in the query as `jwt` or `ticket`, among the
/// sub-protocols of a WebSocket; else, where pages of other origins cannot send it, in the cookie.
///
/// # Errors
/// 400 when there are tokens in two of these places, 401 for a bearer header without a token.
pub(super) fn find(
    headers: &HeaderMap,
    query: &Query,
    cookie_name: Option<&str>,
    cors: &Cors,
) -> Result<Presented, HttpError> {
    let bearers = bearers(headers)?;
    let jwt = query.get("jwt").filter(|text| !text.is_empty());
    let ticket = query.get("ticket").filter(|text| !text.is_empty());
    let sub_protocol = sub_protocol(headers);
    let ways = [
        !bearers.is_empty(),
        jwt.is_some(),
        ticket.is_some(),
        sub_protocol.is_some(),
    ];
    if ways.into_iter().filter(|is_used| *is_used).count() > 1 {
        return Err(HttpError::bad_request(
            "invalid_request",
            "Send a token in one place only: the header Authorization, the query, or a sub-protocol.",
        ));
    }
    if let Some(ticket) = ticket {
        return Ok(Presented::Ticket(ticket.to_owned()));
    }
    if !bearers.is_empty() {
        return Ok(Presented::Tokens(bearers));
    }
    let of_cookie = || {
        let value = cookie(headers, cookie_name?)?;
        (!value.is_empty() && cors.admits_credentials(headers)).then_some(value)
    };
    let token = jwt.or(sub_protocol).or_else(of_cookie);
    Ok(token.map_or(Presented::Nothing, |token| {
        Presented::Tokens(vec![token.to_owned()])
    }))
}

/// Returns the tokens of all `Authorization` headers; as in RIG, one header may have several.
fn bearers(headers: &HeaderMap) -> Result<Vec<String>, HttpError> {
    let mut tokens = Vec::new();
    for header in headers.get_all(AUTHORIZATION) {
        let Ok(text) = header.to_str() else {
            return Err(malformed());
        };
        for credentials in text.split(',').map(str::trim) {
            let (scheme, token) = credentials.split_once(' ').unwrap_or((credentials, ""));
            if !scheme.eq_ignore_ascii_case("bearer") {
                continue;
            }
            let token = token.trim();
            if token.is_empty() {
                return Err(malformed());
            }
            tokens.push(token.to_owned());
        }
    }
    if tokens.len() > MAX_TOKENS {
        return Err(malformed());
    }
    Ok(tokens)
}

/// How many tokens one request may have: each is verified.
const MAX_TOKENS: usize = 4;

fn malformed() -> HttpError {
    super::refusal::unauthorized(
        "invalid_token",
        "The header Authorization has no bearer token, or too many.",
    )
}

fn sub_protocol(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|offered| offered.trim().strip_prefix(SUB_PROTOCOL_PREFIX))
        .filter(|token| !token.is_empty())
}

/// Refuses a WebSocket whose only sub-protocol is a token: the server has to choose one of those that
/// are offered, and a token must not be said again.
///
/// # Errors
/// 400 that says what to offer besides.
pub(super) fn check_sub_protocols(headers: &HeaderMap) -> Result<(), HttpError> {
    let mut offered = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .peekable();
    if offered.peek().is_some() && offered.all(|offered| offered.starts_with(SUB_PROTOCOL_PREFIX)) {
        return Err(HttpError::new(
            StatusCode::BAD_REQUEST,
            "invalid_handshake",
            "Offer the sub-protocol cloudevents.json besides the token.",
        ));
    }
    Ok(())
}
