//! Answers to commands, posted by whoever carried them out, to any instance.
//!
//! # Source
//! RIG's `POST /v3/responses`: headers `rig-correlation` and `rig-response-code`. Beyond it: any body of any type, and
//! structured CloudEvents with a member `rig`.

use std::time::Duration;

use http::{Response, StatusCode};

use super::health;
use crate::http::{Body, HttpError, Request};
use crate::proxy::{Answers, Delivered, MAX_ANSWER_BYTES};

/// Hands an answer to the client that waits for it, here or at another instance. Answers 202 when it has it.
///
/// # Errors
/// 400 for what is no answer, or has a correlation id of somebody else's; 410 when nobody waits for it any more, or
/// there was one before; 413 for more than half a MiB; 503 when the instance that waits for it cannot be reached.
pub(super) async fn take(
    answers: &Answers,
    request: &mut Request,
) -> Result<Response<Body>, HttpError> {
    let body = request.body(MAX_ANSWER_BYTES).await?;
    let delivered = answers.receive(&request.headers, &body).await;
    match delivered.map_err(|fault| bad(format!("Bad request: {fault}.")))? {
        Delivered::Here | Delivered::Forwarded => Ok(health::with_type(
            StatusCode::ACCEPTED,
            "message sent to correlated reverse proxy request".into(),
            "text/plain; charset=utf-8",
        )),
        Delivered::Late => Err(HttpError::new(
            StatusCode::GONE,
            "late_answer",
            "Nobody waits for this answer any more.",
        )),
        Delivered::Second => Err(HttpError::new(
            StatusCode::GONE,
            "second_answer",
            "The command was answered before.",
        )),
        Delivered::Forged | Delivered::Invalid => Err(bad(
            "Bad request: rig-correlation is not the id of a command of this cluster.".to_owned(),
        )),
        Delivered::TooLarge => Err(HttpError::too_large(MAX_ANSWER_BYTES)),
        Delivered::Unreachable => Err(HttpError::unavailable(
            "instance_unreachable",
            "The instance that waits for this answer cannot be reached.",
            Duration::from_secs(1),
        )),
    }
}

fn bad(what: String) -> HttpError {
    HttpError::bad_request("bad_answer", what)
}
