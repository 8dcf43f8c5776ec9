//! `POST …/tickets`: a ticket for a token, for those who can send no header.

use http::{Response, StatusCode};
use serde_json::json;

use super::health;
use crate::access::Access;
use crate::http::{Body, HttpError, Request};

/// Answers 201 with `{"ticket": …, "expires_in": seconds}` to whoever shows a token.
///
/// # Errors
/// 401 without a token that is of use, 503 while the shared state is not there.
pub(super) async fn issue(access: &Access, request: &Request) -> Result<Response<Body>, HttpError> {
    let (ticket, seconds) = access.ticket(request, &request.query()?).await?;
    let body = json!({ "ticket": ticket, "expires_in": seconds });
    Ok(health::with_type(
        StatusCode::CREATED,
        body.to_string().into(),
        "application/json",
    ))
}
