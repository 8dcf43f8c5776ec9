//! What load balancers and orchestrators ask.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use crate::http::Body;
use crate::telemetry::{Condition, Readiness};

/// `OK`, as RIG answers it.
pub(super) fn ok() -> Response<Body> {
    text(StatusCode::OK, "OK")
}

/// Whether the instance serves: 503 until its public port is open.
pub(super) fn started(is_started: bool) -> Response<Body> {
    if is_started {
        ok()
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "starting")
    }
}

/// Whether the instance can do all it is for; 503 with what it waits for.
pub(super) fn ready(readiness: &Readiness) -> Response<Body> {
    let missing: Vec<&str> = readiness
        .missing()
        .into_iter()
        .map(Condition::missing)
        .collect();
    let status = if missing.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({ "ready": missing.is_empty(), "waiting_for": missing });
    with_type(status, body.to_string().into(), "application/json")
}

fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    with_type(
        status,
        Bytes::from_static(body.as_bytes()),
        "text/plain; charset=utf-8",
    )
}

/// Makes a response that no cache keeps.
pub(super) fn with_type(status: StatusCode, body: Bytes, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
