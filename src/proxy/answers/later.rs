//! What clients get whose answer comes later.

use http::header::{HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::answer::Answer;
use super::refusals::shutting_down;
use super::table::{Unanswered, Waiter};
use crate::http::{Body, HttpError, Reply};

/// The path under which answers are asked for; the id follows.
pub(super) const RESPONSES_PATH: &str = "/_rig/v1/responses/";

/// Answers when the answer is there, or with what `otherwise` makes at the deadline. Keeps little meanwhile.
pub(super) fn later(waiter: Waiter, deadline: Instant, otherwise: fn() -> Response<Body>) -> Reply {
    Reply::Later(Box::pin(async move {
        match waiter.answer(deadline).await {
            Ok(answer) => answer.into_response(),
            Err(Unanswered::TooLate) => otherwise(),
            Err(Unanswered::Closed) => shutting_down().into_response(),
        }
    }))
}

/// 202: the command was taken, and its answer can be asked for (RFC 7240, 4.1).
pub(super) fn accepted(id: &str) -> Result<Response<Body>, HttpError> {
    const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
    let location = HeaderValue::try_from(format!("{RESPONSES_PATH}{id}"));
    let mut response = not_yet();
    let headers = response.headers_mut();
    headers.insert(LOCATION, location.map_err(HttpError::internal)?);
    headers.insert(
        PREFERENCE_APPLIED,
        HeaderValue::from_static("respond-async"),
    );
    Ok(response)
}

/// 202: the answer has not come.
pub(super) fn not_yet() -> Response<Body> {
    let mut response = Answer::new(StatusCode::ACCEPTED, "").into_response();
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    response
}
