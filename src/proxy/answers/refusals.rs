//! What clients are told whose commands or answers cannot be had.

use std::time::Duration;

use http::StatusCode;

use super::places::NoPlace;
use crate::http::HttpError;

/// 503: there is no place for another wait.
pub(super) fn too_many() -> HttpError {
    HttpError::unavailable(
        "too_many_waiting",
        "Too many commands wait for their answers.",
        Duration::from_secs(1),
    )
}

/// 503, or 429 where there would be a place for others.
pub(super) fn no_place(why: NoPlace) -> HttpError {
    match why {
        NoPlace::Full => too_many(),
        NoPlace::Share => HttpError::too_many_requests(
            "too_many_commands",
            "Too many of your commands have no answer yet.",
            Duration::from_secs(1),
        ),
    }
}

/// 503: the other instance cannot be reached.
pub(super) fn unreachable() -> HttpError {
    HttpError::unavailable(
        "instance_unreachable",
        "The instance that has the answer cannot be reached.",
        Duration::from_secs(1),
    )
}

/// 503: the instance ends.
pub(super) fn shutting_down() -> HttpError {
    HttpError::unavailable(
        "shutting_down",
        "This instance shuts down before an answer came; the command may have been carried out.",
        Duration::from_secs(1),
    )
}

/// 504: the deadline is over.
pub(super) fn too_late() -> HttpError {
    HttpError::new(
        StatusCode::GATEWAY_TIMEOUT,
        "answer_timeout",
        "No answer to the command came in time.",
    )
}

/// 502: what came for the command is no answer.
pub(in crate::proxy) fn bad_answer() -> HttpError {
    HttpError::new(
        StatusCode::BAD_GATEWAY,
        "bad_answer",
        "The answer to the command cannot be read.",
    )
}

/// 410: there was a command.
pub(super) fn gone() -> HttpError {
    HttpError::new(
        StatusCode::GONE,
        "answer_gone",
        "The answer is not kept any more, or was lost with the instance that waited for it.",
    )
}

/// 404: there is no such command, or it is none of the asker's business.
pub(super) fn unknown() -> HttpError {
    HttpError::new(
        StatusCode::NOT_FOUND,
        "unknown_answer",
        "There is no command with this id.",
    )
}

/// 409: the first one is still being sent.
pub(super) fn in_progress() -> HttpError {
    HttpError::new(
        StatusCode::CONFLICT,
        "command_in_progress",
        "A request with this Idempotency-Key is still in progress.",
    )
    .with_retry_after(Duration::from_secs(1))
}

/// 422: the key is that of another command.
pub(super) fn reused() -> HttpError {
    HttpError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency_key_reused",
        "This Idempotency-Key was used for another request.",
    )
}

/// 503: no more keys can be known; or 429 where those of others could.
pub(super) fn no_key(why: NoPlace) -> HttpError {
    let later = Duration::from_secs(60);
    match why {
        NoPlace::Full => HttpError::unavailable(
            "too_many_keys",
            "Too many commands with an Idempotency-Key are known.",
            later,
        ),
        NoPlace::Share => HttpError::too_many_requests(
            "too_many_keys",
            "Too many of your commands with an Idempotency-Key are known.",
            later,
        ),
    }
}
