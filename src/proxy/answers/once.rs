//! Runs commands that may come again under the same `Idempotency-Key`.

use std::future::Future;
use std::time::Instant as StdInstant;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::answer::{Answer, WrittenAnswer};
use super::claims::{Claimed, SentCommand, Won};
use super::command::{AnswerFrom, Command, Sending, Sent};
use super::correlation::Holder;
use super::desk::Asked;
use super::exchange::{Answers, accepted, later};
use super::pledge::Pledge;
use super::refusals::too_late;
use super::table::{Joined, Waiter};
use crate::http::{HttpError, Reply};

/// The largest answer that is written into the shared state; a larger one is kept by this instance only.
const MAX_SHARED_BYTES: usize = 2048;

/// How a command went.
enum Outcome {
    /// Its answer will come.
    Waits,
    /// This is what the client gets.
    Over(Reply),
}

impl Answers {
    /// As [`run`](Self::run), but a command that comes again with the same `Idempotency-Key` is not sent again: it gets
    /// the answer of the first. `send` goes on when the client is gone.
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
        let event_id = key.event_id.to_string();
        let number = self.desk.table().number();
        let is_alive = |by| self.desk.is_alive(by);
        let won = match self.claims.claim(&key, number, is_alive).await? {
            Claimed::Won(won) => won,
            Claimed::Sent(sent) => return self.again(command, &sent).await,
        };
        let begun = match self.begin_kept(&command, event_id) {
            Ok(begun) => begun,
            Err(error) => {
                self.claims.release(&won).await;
                return Err(error);
            }
        };
        let number = begun.pledge.number();
        let outcome = self.spawn_sending(won, begun.pledge, send(begun.sending));
        match outcome.await.map_err(HttpError::internal)?? {
            Outcome::Over(reply) => Ok(reply),
            Outcome::Waits => self.reply_later(command.from, number, begun.waiter),
        }
    }

    /// Answers a command that was sent before as it was answered then.
    async fn again(&self, command: Command, sent: &SentCommand) -> Result<Reply, HttpError> {
        if let Some(answer) = sent.done.as_ref().and_then(WrittenAnswer::read) {
            return Ok(answer.into());
        }
        let of = sent.correlation();
        if command.prefers_async && command.from != AnswerFrom::Target {
            return Ok(accepted(&self.desk.id(of, Holder::Asker)?)?.into());
        }
        let deadline = Instant::now() + self.timeout(command.from);
        match self.desk.ask(of, &command.caller, true).await? {
            Asked::Answered(answer) => Ok(answer.into()),
            Asked::Waits(Some(waiter)) => {
                Ok(later(waiter, deadline, || too_late().into_response()))
            }
            Asked::Waits(None) => Err(too_late()),
        }
    }

    /// Begins a command whose answer is kept for whoever sends it again.
    fn begin_kept(&self, command: &Command, event_id: String) -> Result<Begun, HttpError> {
        let number = self.desk.keep(command.caller.clone())?;
        let pledge = Pledge::new(&self.desk, number);
        let waits = command.from != AnswerFrom::Target && !command.prefers_async;
        let waiter = waits.then(|| self.desk.wait()).transpose()?;
        if let Some(waiter) = &waiter {
            let joined = Some(Joined::Here(waiter.number()));
            let table = self.desk.table();
            table.look(number, &command.caller, joined, StdInstant::now());
        }
        let correlation = self.correlation(number)?;
        let sending = Sending {
            correlation,
            event_id,
        };
        Ok(Begun {
            pledge,
            sending,
            waiter,
        })
    }

    /// Sends the command, whether or not its client stays, and keeps that it was sent.
    fn spawn_sending(
        &self,
        won: Won,
        pledge: Pledge,
        sending: impl Future<Output = Result<Sent, HttpError>> + Send + 'static,
    ) -> oneshot::Receiver<Result<Outcome, HttpError>> {
        let (tell, outcome) = oneshot::channel();
        let answers = self.clone();
        self.desk.tasks().spawn("command.once", async move {
            let told = match sending.await {
                Ok(Sent::Waits) => {
                    let number = pledge.hold();
                    // The answer may be there before it is kept that it will come.
                    let told = tell.send(Ok(Outcome::Waits));
                    answers.claims.sent(&won, number, None).await;
                    told
                }
                Ok(Sent::Done(answer)) => {
                    answers.keep_answer(&won, pledge, &answer).await;
                    tell.send(Ok(Outcome::Over(answer.into())))
                }
                Ok(Sent::Replied(reply)) => {
                    drop(pledge);
                    answers.claims.release(&won).await;
                    tell.send(Ok(Outcome::Over(reply)))
                }
                Err(error) => {
                    drop(pledge);
                    answers.claims.release(&won).await;
                    tell.send(Err(error))
                }
            };
            // The client is gone.
            drop(told);
        });
        outcome
    }

    /// Keeps the answer to a command that was answered at once.
    async fn keep_answer(&self, won: &Won, pledge: Pledge, answer: &Answer) {
        if answer.size_bytes() <= MAX_SHARED_BYTES {
            let written = Some(WrittenAnswer::from(answer));
            return self.claims.sent(won, pledge.number(), written).await;
        }
        let number = pledge.hold();
        self.desk.table().deliver(number, answer.clone());
        self.claims.sent(won, number, None).await;
    }

    fn reply_later(
        &self,
        from: AnswerFrom,
        number: u64,
        waiter: Option<Waiter>,
    ) -> Result<Reply, HttpError> {
        match waiter {
            Some(waiter) => {
                let deadline = Instant::now() + self.timeout(from);
                Ok(later(waiter, deadline, || too_late().into_response()))
            }
            None => {
                let id = self.desk.id(self.desk.own(number), Holder::Asker)?;
                Ok(accepted(&id)?.into())
            }
        }
    }
}

/// A command that is about to be sent once.
struct Begun {
    pledge: Pledge,
    sending: Sending,
    waiter: Option<Waiter>,
}
