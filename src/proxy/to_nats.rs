//! Routes to NATS: a request becomes a message.

use std::time::Duration;

use http::StatusCode;

use super::answers::{
    Answer, Answers, CORRELATION_HEADER, Command, Place, Sending, Sent, bad_answer,
};
use super::call::Call;
use super::command_event::{CommandConfig, CommandEvent};
use crate::event::JSON_EVENT;
use crate::http::{HttpError, Reply};
use crate::nats::{AwaitedReply, NatsClient, NatsError, NatsMessage, OutgoingMessage};
use crate::telemetry::{Tasks, TraceContext};

/// How long the server may take to confirm that it has a message.
const CONFIRM_LIMIT: Duration = Duration::from_secs(5);
/// How long a caller should wait before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Publishes commands to NATS.
#[derive(Debug)]
pub(super) struct ToNats {
    /// The connection; `None` where no servers are set.
    client: Option<NatsClient>,
    answers: Answers,
    config: CommandConfig,
    tasks: Tasks,
}

/// What a message is made of, but for what is known only when it is sent.
struct Outgoing {
    client: NatsClient,
    subject: Box<str>,
    event: CommandEvent,
    trace: TraceContext,
    /// How the reply is waited for, if it is.
    wait: Option<Wait>,
}

/// How a reply is waited for.
struct Wait {
    answers: Answers,
    limit: Duration,
    place: Place,
    tasks: Tasks,
}

impl ToNats {
    /// Without a `client`, all commands are refused.
    pub(super) fn new(
        client: Option<NatsClient>,
        answers: Answers,
        config: CommandConfig,
        tasks: Tasks,
    ) -> Self {
        Self {
            client,
            answers,
            config,
            tasks,
        }
    }

    /// Publishes the message of a request to `subject`, and answers 202 once the server has it; or, where the route
    /// says so, waits for the reply.
    ///
    /// The server hands a message to those who listen, and keeps nothing.
    ///
    /// # Errors
    /// 400, 413 or 415 for a body that cannot be taken, 413 for an event that is larger than the server takes: then
    /// nothing was sent. 503 while there is no NATS or nobody listens for a request, 502 where we may not publish, and
    /// what [`Answers::run_once`] refuses.
    ///
    /// # Cancel safety
    /// Dropping the future or the reply ends the wait for the answer; the message may be sent.
    pub(super) async fn call(&self, mut call: Call, subject: &str) -> Result<Reply, HttpError> {
        let client = self.client.clone().ok_or_else(not_configured)?;
        let event = CommandEvent::read(&mut call, &self.config).await?;
        let command = event.command(&call)?;
        let waits = call.route.answer_from.comes_later();
        let wait = waits.then(|| self.wait(&command)).transpose()?;
        let outgoing = Outgoing {
            client,
            subject: subject.into(),
            event,
            trace: call.trace,
            wait,
        };
        let send = |sending| outgoing.send(sending);
        self.answers.run_once(command, send).await
    }

    fn wait(&self, command: &Command) -> Result<Wait, HttpError> {
        Ok(Wait {
            answers: self.answers.clone(),
            limit: self.answers.patience(command),
            place: self.answers.place_for_reply(command)?,
            tasks: self.tasks.clone(),
        })
    }
}

impl Outgoing {
    async fn send(self, sending: Sending) -> Result<Sent, HttpError> {
        let correlation = self.wait.as_ref().map(|_| sending.correlation.as_str());
        let trace = self.trace.to_string();
        let mut headers = vec![
            ("content-type", JSON_EVENT),
            ("traceparent", trace.as_str()),
        ];
        headers.extend(self.trace.state().map(|state| ("tracestate", state)));
        headers.extend(correlation.map(|id| (CORRELATION_HEADER, id)));
        let message = OutgoingMessage {
            subject: &self.subject,
            headers: &headers,
            payload: self.event.to_json(correlation, &sending.event_id),
        };
        let Some(wait) = self.wait else {
            let published = self.client.publish(message, CONFIRM_LIMIT).await;
            published.map_err(failed)?;
            let accepted = Answer::new(StatusCode::ACCEPTED, "Accepted.");
            return Ok(Sent::Done(accepted.with_type("text/plain")));
        };
        let reply = self.client.request(message, CONFIRM_LIMIT).await;
        wait.begin(reply.map_err(failed)?, sending.correlation);
        Ok(Sent::Waits)
    }
}

impl Wait {
    /// Hands the reply in as the answer to its command, when it comes.
    fn begin(self, reply: AwaitedReply, correlation: String) {
        let tasks = self.tasks.clone();
        let stopping = tasks.stopping();
        tasks.spawn("nats.reply", async move {
            let replied = stopping.run_until_cancelled(reply.within(self.limit)).await;
            let answer = match replied {
                Some(Ok(message)) => self.answer(message),
                Some(Err(error @ (NatsError::NoResponders | NatsError::Refused))) => {
                    failed(error).into()
                }
                // Who waits finds out by their own deadline.
                Some(Err(_)) | None => return,
            };
            self.answers.deliver(&correlation, answer).await;
            drop(self.place);
        });
    }

    fn answer(&self, message: NatsMessage) -> Answer {
        let answer = self.answers.of_reply(&message.headers, message.payload);
        answer.unwrap_or_else(|fault| bad_answer().with_cause(fault).into())
    }
}

fn failed(error: NatsError) -> HttpError {
    let unavailable = |code, public| HttpError::unavailable(code, public, RETRY_AFTER);
    match error {
        NatsError::Away => unavailable(
            "nats_unavailable",
            "NATS cannot be reached now; nothing was sent.",
        ),
        NatsError::NotConfirmed => unavailable(
            "nats_timeout",
            "NATS did not confirm the command in time; it may have been taken.",
        ),
        NatsError::NoResponders => unavailable(
            "no_responders",
            "Nobody takes such commands now; nothing was done.",
        ),
        NatsError::TooLarge { .. } => HttpError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "event_too_large",
            "The event is larger than NATS takes.",
        ),
        NatsError::Refused => HttpError::new(
            StatusCode::BAD_GATEWAY,
            "nats_refused",
            "NATS refused the command.",
        ),
        NatsError::NoReply => HttpError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "answer_timeout",
            "No answer to the command came in time.",
        ),
        NatsError::Invalid => HttpError::internal("the subject of the route cannot be sent"),
    }
    .with_cause(error)
}

fn not_configured() -> HttpError {
    let public = "Commands cannot be sent over NATS here.";
    HttpError::unavailable("nats_not_configured", public, RETRY_AFTER)
        .with_cause("the route is for nats, but NATS_SERVERS is not set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_the_client_can_do() {
        for (error, status, code) in [
            (NatsError::Away, 503, "nats_unavailable"),
            (NatsError::NotConfirmed, 503, "nats_timeout"),
            (NatsError::NoResponders, 503, "no_responders"),
            (
                NatsError::TooLarge { limit_bytes: 1 },
                413,
                "event_too_large",
            ),
            (NatsError::Refused, 502, "nats_refused"),
            (NatsError::NoReply, 504, "answer_timeout"),
            (NatsError::Invalid, 500, "internal_error"),
        ] {
            let failed = failed(error);
            assert_eq!((failed.status().as_u16(), failed.code()), (status, code));
        }
    }
}
