//! What instances say to each other about answers, over the command topic.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, WrittenAnswer};
use super::delivered::Delivered;
use super::refusals::unreachable;
use super::table::Seen;
use crate::dispatch::Incarnation;
use crate::http::HttpError;
use crate::proxy::call::Caller;
use crate::shared::{CommandError, CommandLog};

/// The name of the command that hands an answer to the instance that waits for it.
const DELIVER_COMMAND: &str = "deliver_answer";
/// The name of the command that asks an instance for an answer that it keeps.
const ASK_COMMAND: &str = "ask_for_answer";
/// How long another instance may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The largest answer that is posted, in bytes: in base64 it fits a record, so that any instance can take it.
pub const MAX_ANSWER_BYTES: usize = 512 * 1024;
/// The largest that is passed on, with its headers.
const MAX_PASSED_BYTES: usize = MAX_ANSWER_BYTES + 128 * 1024;

/// What another instance asks for.
#[derive(Debug)]
pub(super) enum Wish<'a> {
    /// To hand an answer to whoever waits for it here; `None` for one that cannot be read.
    Deliver(&'a str, Option<Answer>),
    /// For an answer that is kept here, and to get it when it comes, under the id at the end, within this time.
    Ask(&'a str, Caller, Option<(&'a str, Duration)>),
}

impl<'a> Wish<'a> {
    /// Reads a command; `None` for one that has nothing to do with answers.
    pub(super) fn read(command: &'a Value) -> Option<Self> {
        let id = command["id"].as_str().unwrap_or_default();
        match command["command"].as_str()? {
            DELIVER_COMMAND => Some(Self::Deliver(id, read_answer(command))),
            ASK_COMMAND => Some(Self::Ask(
                id,
                read_caller(&command["caller"]),
                command["waits"].as_str().map(|id| (id, read_wait(command))),
            )),
            _ => None,
        }
    }
}

/// Hands an answer to another instance. Returns what became of it there.
///
/// # Errors
/// Why it did not come there.
pub(super) async fn pass(
    commands: &CommandLog,
    to: Incarnation,
    id: &str,
    answer: &Answer,
) -> Result<Delivered, Delivered> {
    if answer.size_bytes() > MAX_PASSED_BYTES {
        return Err(Delivered::TooLarge);
    }
    let answer = WrittenAnswer::from(answer);
    let command = json!({ "command": DELIVER_COMMAND, "id": id, "answer": answer });
    match commands.request(&to.to_string(), command, LIMIT).await {
        Ok(reply) => match result(&reply) {
            Some("delivered") => Ok(Delivered::Forwarded),
            Some("second") => Ok(Delivered::Second),
            Some("late" | "forged") => Ok(Delivered::Late),
            _ => Err(Delivered::Unreachable),
        },
        Err(CommandError::Gone) => Err(Delivered::Late),
        Err(error) => {
            tracing::debug!(%error, "an answer could not be passed on");
            Err(Delivered::Unreachable)
        }
    }
}

/// Returns what is said to the instance that handed an answer in.
pub(super) fn passed(delivered: Delivered) -> Value {
    json!({ "result": delivered.as_str() })
}

/// Asks another instance for an answer that it keeps; `waits` is the id under which it is taken when it comes later,
/// within a time.
///
/// # Errors
/// 503 when the instance cannot be reached, 502 when the answer is too large to be passed on.
pub(super) async fn ask(
    commands: &CommandLog,
    to: Incarnation,
    id: &str,
    caller: &Caller,
    waits: Option<(&str, Duration)>,
) -> Result<Seen, HttpError> {
    let sessions: Vec<&str> = caller.sessions.iter().map(AsRef::as_ref).collect();
    let command = json!({
        "command": ASK_COMMAND,
        "id": id,
        "caller": { "sessions": sessions, "user": caller.user.as_deref() },
        "waits": waits.map(|(id, _)| id),
        "waits_ms": waits.map(|(_, wait)| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
    });
    match commands.request(&to.to_string(), command, LIMIT).await {
        Ok(reply) => read_seen(&reply),
        Err(CommandError::Gone) => Ok(Seen::Gone),
        Err(error) => Err(unreachable().with_cause(error)),
    }
}

/// Returns what is said to the instance that asks.
pub(super) fn seen(seen: &Seen) -> Value {
    match seen {
        Seen::Answered(answer) if answer.size_bytes() > MAX_PASSED_BYTES => {
            json!({ "result": "too_large" })
        }
        Seen::Answered(answer) => {
            json!({ "result": "answered", "answer": WrittenAnswer::from(answer) })
        }
        Seen::Waiting => json!({ "result": "waiting" }),
        Seen::Crowded => json!({ "result": "crowded" }),
        Seen::Gone => json!({ "result": "gone" }),
        Seen::Foreign => json!({ "result": "foreign" }),
    }
}

fn read_seen(reply: &Value) -> Result<Seen, HttpError> {
    match result(reply) {
        Some("answered") => read_answer(reply)
            .map(Seen::Answered)
            .ok_or_else(unreachable),
        Some("waiting") => Ok(Seen::Waiting),
        Some("crowded") => Ok(Seen::Crowded),
        Some("gone") => Ok(Seen::Gone),
        Some("foreign") => Ok(Seen::Foreign),
        Some("too_large") => Err(HttpError::new(
            StatusCode::BAD_GATEWAY,
            "answer_too_large",
            "The answer is too large to be passed on by another instance.",
        )),
        _ => Err(unreachable()),
    }
}

fn read_wait(command: &Value) -> Duration {
    const USUAL_MS: u64 = 30_000;
    const LONGEST_MS: u64 = 24 * 3_600_000;
    let wait_ms = command["waits_ms"].as_u64().unwrap_or(USUAL_MS);
    Duration::from_millis(wait_ms.min(LONGEST_MS))
}

fn result(reply: &Value) -> Option<&str> {
    reply.get("result")?.as_str()
}

fn read_answer(message: &Value) -> Option<Answer> {
    let written = serde_json::from_value::<WrittenAnswer>(message["answer"].clone());
    written.ok()?.read()
}

fn read_caller(written: &Value) -> Caller {
    let sessions = written["sessions"].as_array().into_iter().flatten();
    Caller {
        sessions: sessions.filter_map(Value::as_str).map(Into::into).collect(),
        user: written["user"].as_str().map(Into::into),
    }
}
