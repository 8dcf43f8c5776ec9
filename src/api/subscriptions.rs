//! `PUT …/{connection_token}/subscriptions`: what RIG answers, in RIG's order.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Response, StatusCode};
use std::time::Duration;

use crate::http::{Body, HttpError, Params, Request};
use crate::telemetry::Transport;
use crate::transport::{Change, ChangeError, Changes, gone};

/// Replaces what a connection wants; 204 once it is in force.
///
/// # Errors
/// 406, 415 and 400 for bad requests, 401 and 403 for what is not allowed, 410 when the connection has ended, 503 when the instance that
/// holds it cannot be reached.
pub(super) async fn put(
    changes: &Changes,
    request: &mut Request,
    params: &Params,
    limit_bytes: usize,
) -> Result<Response<Body>, HttpError> {
    let transport = transport(params)?;
    check_accept(request)?;
    check_content_type(request)?;
    let body = request.body(limit_bytes).await?;
    let token = changes
        .open_token(params.get("token").unwrap_or_default())
        .map_err(refused)?;
    let wanted = changes.parse(&body).map_err(refused)?;
    let (wanted, renewal) = changes
        .check(request, wanted, body)
        .await
        .map_err(refused)?;
    let change = Change {
        wanted,
        renewal,
        transport,
    };
    changes.replace(token, change).await.map_err(refused)?;
    let mut response = Response::new(Body::new(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// RIG does not compare the transport with the token's, but there have to be one of its names.
fn transport(params: &Params) -> Result<Transport, HttpError> {
    let named = params.get("transport");
    let is_named = |known: &Transport| named == Some(known.as_str());
    let known = Transport::ALL.into_iter().find(is_named);
    known.ok_or_else(HttpError::not_found)
}

fn check_accept(request: &Request) -> Result<(), HttpError> {
    let accepts_json = |range: &str| {
        let range = range
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        matches!(
            range.as_str(),
            "*/*" | "application/*" | "application/json" | "application/problem+json"
        )
    };
    let mut ranges = request
        .headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .peekable();
    if ranges.peek().is_none() || ranges.flat_map(|value| value.split(',')).any(accepts_json) {
        return Ok(());
    }
    Err(HttpError::new(
        StatusCode::NOT_ACCEPTABLE,
        "not_acceptable",
        "The answers are of type application/json.",
    ))
}

fn check_content_type(request: &Request) -> Result<(), HttpError> {
    let essence = request
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    match essence.as_deref() {
        Some("application/json") => Ok(()),
        _ => Err(HttpError::bad_request(
            "not_json",
            "Expected JSON encoded body with content-type application/json.",
        )),
    }
}

fn refused(error: ChangeError) -> HttpError {
    match error {
        ChangeError::InvalidToken => {
            HttpError::bad_request("invalid_connection_token", "Invalid connection token.")
        }
        ChangeError::Gone => gone(),
        ChangeError::Subscriptions(error) => HttpError::bad_request(
            "invalid_subscriptions",
            format!("cannot accept subscription request: {error}"),
        ),
        ChangeError::Refused(error) => error,
        ChangeError::NotReady => HttpError::state_not_read(),
        error @ ChangeError::Unreachable(_) => HttpError::unavailable(
            "instance_unreachable",
            "The instance that holds the connection cannot be reached.",
            Duration::from_secs(1),
        )
        .with_cause(error),
    }
}
