//! Runs commands that may come again under the same `Idempotency-Key`.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::answer::{Answer, WrittenAnswer};
use super::attempt::{Attempt, Won};
use super::attempts::{Claimed, SentCommand};
use super::command::{Command, Sending, Sent};
use super::correlation::Holder;
use super::desk::Asked;
use super::key::IdempotencyKey;
use super::later::{accepted, later};
use super::refusals::too_late;
use super::run::{Answers, Begun};
use super::table::Waiter;
use crate::http::{HttpError, Reply};

/// The largest answer that is written into the shared state; a larger one is kept by this instance only.
const MAX_SHARED_BYTES: usize = 2048;

/// How a command went.
enum Outcome {
    /// It was sent under this number, and its answer will come; the wait for it, if the client waits.
    Waits(u64, Option<Waiter>),
    /// This is what the client gets.
    Over(Reply),
    /// It was sent before.
    Again(SentCommand),
}

/// Tells the client how its command went.
type Tell = oneshot::Sender<Result<Outcome, HttpError>>;

impl Answers {
    /// As [`run`](Self::run), but a command that comes again with the same `Idempotency-Key` is not sent again: it gets
    /// the answer of the first. What was begun goes on when the client is gone.
    ///
    /// When `send` fails, the command counts as not sent, and is sent when it comes again, under the same event id.
    ///
    /// # Errors
    /// As [`run`](Self::run); 422 when the command is another one than before, 409 when it is still being sent, 410
    /// when the answer is not kept any more.
    ///
    /// # Cancel safety
    /// Dropping the future, or the reply, ends the wait, not the sending.
    pub(in crate::proxy) async fn run_once<F, Fut>(
        &self,
        mut command: Command,
        send: F,
    ) -> Result<Reply, HttpError>
    where
        F: FnOnce(Sending) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Sent, HttpError>> + Send + 'static,
    {
        let Some(key) = command.key.take() else {
            return self.run(command, send).await;
        };
        self.hear(command.from).await?;
        let (tell, outcome) = oneshot::channel();
        let (answers, command) = (self.clone(), Arc::new(command));
        let sent = Arc::clone(&command);
        // On its own, since a client that goes away must not leave a claim under which nobody sends.
        self.desk.tasks().spawn("command.once", async move {
            answers.claim_and_send(key, &sent, send, tell).await;
        });
        match outcome.await.map_err(HttpError::internal)?? {
            Outcome::Over(reply) => Ok(reply),
            Outcome::Waits(number, waiter) => self.reply_later(command.from, number, waiter),
            Outcome::Again(sent) => self.again(&command, &sent).await,
        }
    }

    /// Sends the command, unless that was done before, and tells its client.
    async fn claim_and_send<F, Fut>(
        &self,
        key: IdempotencyKey,
        command: &Command,
        send: F,
        tell: Tell,
    ) where
        F: FnOnce(Sending) -> Fut,
        Fut: Future<Output = Result<Sent, HttpError>>,
    {
        let number = self.desk.table().number();
        let is_alive = |by| self.desk.is_alive(by);
        let is_wanted = || !tell.is_closed();
        let claimed = self.attempts.claim(&key, number, is_alive, is_wanted).await;
        let won = match claimed {
            Ok(Claimed::Won(won)) => won,
            Ok(Claimed::Sent(sent)) => return told(tell, Ok(Outcome::Again(sent))),
            Ok(Claimed::Unsure(attempt, error)) => {
                // The body, which nobody sends: releasing may take minutes.
                drop(send);
                told(tell, Err(error));
                return self.release(attempt).await;
            }
            Err(error) => return told(tell, Err(error)),
        };
        let (sending, mut begun) = match self.begin(command, Some(&key)) {
            Ok(begun) => begun,
            Err(error) => {
                drop(send);
                return self.not_sent(won, tell, Err(error)).await;
            }
        };
        let outcome = match send(sending).await {
            Ok(Sent::Waits) => {
                let (number, waiter) = begun.sent();
                // The answer may be there before it is kept that it will come.
                told(tell, Ok(Outcome::Waits(number, waiter)));
                return self.keep_sent(won, number, None).await;
            }
            Ok(Sent::Done(answer)) => {
                begun.waiter = None;
                told(tell, Ok(Outcome::Over(answer.clone().into())));
                return self.keep_answer(won, begun, &answer).await;
            }
            Ok(Sent::Replied(reply)) => Ok(Outcome::Over(reply)),
            Err(error) => Err(error),
        };
        drop(begun);
        self.not_sent(won, tell, outcome).await;
    }

    /// A command was not sent, or nothing is kept of it: it may be sent again, before its client learns of it.
    async fn not_sent(&self, won: Won, tell: Tell, outcome: Result<Outcome, HttpError>) {
        let attempt = won.give_up();
        told(tell, outcome);
        self.release(attempt).await;
    }

    async fn release(&self, attempt: Attempt) {
        let stopping = self.desk.tasks().stopping();
        self.attempts.release(attempt, &stopping).await;
    }

    async fn keep_sent(&self, won: Won, number: u64, done: Option<WrittenAnswer>) {
        let stopping = self.desk.tasks().stopping();
        self.attempts.sent(won, number, done, &stopping).await;
    }

    /// Answers a command that was sent before as it was answered then.
    async fn again(&self, command: &Command, sent: &SentCommand) -> Result<Reply, HttpError> {
        if let Some(answer) = sent.done.as_ref().and_then(WrittenAnswer::read) {
            return Ok(answer.into());
        }
        let of = sent.correlation();
        if command.prefers_async && command.from.comes_later() {
            return Ok(accepted(&self.desk.id(of, Holder::Asker)?)?.into());
        }
        let timeout = self.timeout(command.from);
        let deadline = Instant::now() + timeout;
        let asking = (&command.caller, &command.party);
        match self.desk.ask(of, asking, Some(timeout)).await? {
            Asked::Answered(answer) => Ok(answer.into()),
            Asked::Waits(Some(waiter)) => {
                Ok(later(waiter, deadline, || too_late().into_response()))
            }
            Asked::Waits(None) => Err(too_late()),
        }
    }

    /// Keeps the answer to a command that was answered at once.
    async fn keep_answer(&self, won: Won, begun: Begun, answer: &Answer) {
        if answer.size_bytes() <= MAX_SHARED_BYTES {
            let written = Some(WrittenAnswer::from(answer));
            return self.keep_sent(won, begun.number, written).await;
        }
        let (number, _) = begun.sent();
        self.desk.table().deliver(number, answer.clone());
        self.keep_sent(won, number, None).await;
    }
}

/// Tells the client how its command went, if it is still there.
fn told(tell: Tell, outcome: Result<Outcome, HttpError>) {
    // What comes back is for a client that is gone.
    drop(tell.send(outcome));
}
