//! Runs commands whose answers come later.

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant as StdInstant};

use http::HeaderMap;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::answer::Answer;
use super::attempts::Attempts;
use super::command::{Command, Sending, Sent};
use super::config::AnswersConfig;
use super::correlation::Holder;
use super::delivered::Delivered;
use super::desk::{Asked, Desk};
use super::key::IdempotencyKey;
use super::later::{accepted, later, not_yet};
use super::message::{Message, MessageFault};
use super::passed::{HeaderLog, Poster};
use super::places::{Party, Place, Places};
use super::pledge::Pledge;
use super::reader::Reader;
use super::refusals::{no_place, too_late};
use super::table::{Joined, Limits, Waiter};
use crate::dispatch::{Incarnation, TokenKey};
use crate::http::{HttpError, Reply};
use crate::kafka::KafkaConfig;
use crate::proxy::call::Caller;
use crate::proxy::route::AnswerFrom;
use crate::shared::{CommandLog, StateLog};
use crate::telemetry::{Metrics, Tasks};

/// What the waits stand on.
#[derive(Debug)]
pub struct AnswersParts {
    /// How answers come over Kafka.
    pub kafka: KafkaConfig,
    /// The number of partitions of a response topic that is created; `None` when none are to be created.
    pub create_partitions: Option<i32>,
    /// What all instances share.
    pub state: Arc<StateLog>,
    /// This life of this instance.
    pub own: Incarnation,
    /// Has the key of the cluster, once it is known.
    pub token_key: Arc<OnceLock<TokenKey>>,
    /// Counts the answers.
    pub metrics: Metrics,
    /// Has the tasks of the process.
    pub tasks: Tasks,
}

/// Where the commands of other instances about answers come in. What reads those commands holds this, and the answers
/// hold what reads them: so this keeps nothing alive.
#[derive(Debug, Clone)]
pub struct AnswersInbox(Weak<Desk>);

impl AnswersInbox {
    /// Does what another instance asks for, and returns the reply; `None` for a command that is not for here, or once
    /// the answers are gone.
    #[must_use]
    pub fn on_command(&self, command: &Value) -> Option<Value> {
        self.0.upgrade()?.on_command(command)
    }
}

/// Commands that wait for their answers, here and at the other instances. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Answers {
    pub(super) config: Arc<AnswersConfig>,
    pub(super) desk: Arc<Desk>,
    pub(super) attempts: Attempts,
    reader: Arc<Reader>,
    replies: Replies,
    pub(super) headers: Arc<HeaderLog>,
}

/// Places for replies of NATS, which are waited for when the client is gone, too.
#[derive(Debug, Clone)]
struct Replies {
    waiting: Places,
    kept: Places,
}

impl Answers {
    /// Begins with nothing to wait for. Other instances are reached from [`connect`](Self::connect) on.
    #[must_use]
    pub fn new(config: &AnswersConfig, parts: AnswersParts) -> Self {
        let gauge = |kind| parts.metrics.proxy.awaited.with_label_values(&[kind]);
        let places = |kind| Places::new(config.proxy_max_waiting, gauge(kind));
        let known = &parts.metrics.proxy.idempotency_keys;
        let keys = Places::new(config.max_idempotency_keys, known.clone());
        let replies = Replies {
            waiting: places("nats_waiting"),
            kept: places("nats_kept"),
        };
        let limits = Limits {
            waiting: places("waiting"),
            kept: places("kept"),
            kept_bytes: config.proxy_kept_answers_bytes,
            ttl: config.proxy_answer_ttl,
        };
        let desk = Desk::new(
            limits,
            parts.own,
            parts.token_key,
            parts.metrics,
            parts.tasks,
        );
        let desk = Arc::new(desk);
        let attempts = Attempts::new(parts.state, config.idempotency_ttl, keys, parts.own);
        let topics = config.proxy_kafka_response_topics.names();
        let reader = Reader::new(
            parts.kafka,
            topics,
            parts.create_partitions,
            Arc::clone(&desk),
        );
        Self {
            config: Arc::new(config.clone()),
            desk,
            attempts,
            reader: Arc::new(reader),
            replies,
            headers: Arc::default(),
        }
    }

    /// Begins to read the response topics, unless that was done before: to be called when there is a route whose
    /// answers come over Kafka. Without it, the first command of such a route begins it, and waits for that.
    ///
    /// Has to be called within a Tokio runtime.
    pub fn listen(&self) {
        self.reader.start();
    }

    /// Answers whoever still waits with 503: for what this instance cannot wait for before it ends.
    pub fn give_up(&self) {
        self.desk.table().close();
    }

    /// Stops reading the response topics.
    ///
    /// # Cancel safety
    /// Dropping the future may leave threads running until the process ends.
    pub async fn stop(&self) {
        let reader = Arc::clone(&self.reader);
        if tokio::task::spawn_blocking(move || reader.stop())
            .await
            .is_err()
        {
            tracing::error!("stopping the reading of answers panicked");
        }
    }

    /// Sets how other instances are reached; done once, at the start.
    pub fn connect(&self, commands: CommandLog) {
        self.desk.connect(commands);
    }

    /// Returns where the commands of other instances about answers come in.
    #[must_use]
    pub fn inbox(&self) -> AnswersInbox {
        AnswersInbox(Arc::downgrade(&self.desk))
    }

    /// Hands an answer in, from wherever it came; to this or, over the command topic, another instance.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the result; the answer may be on its way.
    pub async fn deliver(&self, correlation: &str, answer: Answer) -> Delivered {
        self.desk.deliver(correlation, answer).await
    }

    /// Hands in the answer of a message in RIG's format: its headers, and its body.
    ///
    /// # Errors
    /// [`MessageFault`] when it is no answer.
    ///
    /// # Cancel safety
    /// As [`deliver`](Self::deliver).
    pub async fn receive(
        &self,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Delivered, MessageFault> {
        let headers: Vec<(&str, Option<&[u8]>)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), Some(value.as_bytes())))
            .collect();
        let answer = Message::read(&headers, body).and_then(|message| {
            let answer = message.answer(Poster::Request, &self.headers)?;
            Ok((message.correlation.into_owned(), answer))
        });
        match answer {
            Ok((correlation, answer)) => Ok(self.deliver(&correlation, answer).await),
            Err(fault) => {
                self.desk.count(Delivered::Invalid);
                Err(fault)
            }
        }
    }

    /// Runs a command: `send` gets the names under which it is sent, and sends it. Then its answer is waited for, or,
    /// with `Prefer: respond-async`, the client is told where to ask for it.
    ///
    /// The `Idempotency-Key` of the command counts for [`run_once`](Self::run_once) only.
    ///
    /// # Errors
    /// Those of `send`; 503 when too many wait, 429 when too many of this caller do; 503 when what is needed to get the answer is not there yet.
    ///
    /// # Cancel safety
    /// Dropping the future, or the reply, ends the wait.
    pub(in crate::proxy) async fn run<F, Fut>(
        &self,
        command: Command,
        send: F,
    ) -> Result<Reply, HttpError>
    where
        F: FnOnce(Sending) -> Fut,
        Fut: Future<Output = Result<Sent, HttpError>>,
    {
        self.hear(command.from).await?;
        let (sending, begun) = self.begin(&command, None)?;
        match send(sending).await? {
            Sent::Waits => {
                let (number, waiter) = begun.sent();
                self.reply_later(command.from, number, waiter)
            }
            Sent::Done(answer) => Ok(answer.into()),
            Sent::Replied(reply) => Ok(reply),
        }
    }

    /// Answers a client at `address` that asks for the answer to a command: with the answer, or 202 where it has not
    /// come within `wait`.
    ///
    /// # Errors
    /// 404 for an id that is none or another one's, 410 for an answer that is not kept any more; 503 when the instance
    /// that has it cannot be reached.
    pub(in crate::proxy) async fn ask(
        &self,
        id: &str,
        caller: &Caller,
        address: IpAddr,
        wait: Option<Duration>,
    ) -> Result<Reply, HttpError> {
        let of = self.desk.asked(id)?;
        let wait = wait.map(|wait| wait.min(MAX_WAIT));
        let asking = (caller, &Party::of(caller, address));
        match self.desk.ask(of, asking, wait).await? {
            Asked::Answered(answer) => Ok(answer.into()),
            Asked::Waits(None) => Ok(not_yet().into()),
            Asked::Waits(Some(waiter)) => {
                let deadline = Instant::now() + wait.unwrap_or_default();
                Ok(later(waiter, deadline, not_yet))
            }
        }
    }

    /// Returns how long the answer to a command is waited for.
    pub(in crate::proxy) fn timeout(&self, from: AnswerFrom) -> Duration {
        match from {
            AnswerFrom::Target => Duration::ZERO,
            AnswerFrom::Kafka => self.config.proxy_kafka_response_timeout,
            AnswerFrom::Callback => self.config.proxy_http_async_response_timeout,
            AnswerFrom::Nats => self.config.proxy_nats_response_timeout,
        }
    }

    /// Takes a place for the reply to a command, as long as that is waited for.
    ///
    /// # Errors
    /// 503 when too many are waited for, 429 when too many of this caller are.
    pub(in crate::proxy) fn place_for_reply(&self, command: &Command) -> Result<Place, HttpError> {
        let places = if command.is_kept() {
            &self.replies.kept
        } else {
            &self.replies.waiting
        };
        places.take(&command.party).map_err(no_place)
    }

    /// Returns how long the answer to this command is of use: as long as its client waits, or may ask for it.
    pub(in crate::proxy) fn patience(&self, command: &Command) -> Duration {
        let timeout = self.timeout(command.from);
        if command.is_kept() {
            return timeout.max(self.config.proxy_answer_ttl);
        }
        timeout
    }

    /// Drops the answers that were kept long enough, and forgets the commands that are too old to come again.
    pub async fn remove_ended(&self) {
        self.desk.table().remove_ended(StdInstant::now());
        self.attempts.remove_ended().await;
    }

    /// Waits until no answer that comes can be missed.
    pub(super) async fn hear(&self, from: AnswerFrom) -> Result<(), HttpError> {
        if from != AnswerFrom::Kafka {
            return Ok(());
        }
        self.reader.start();
        if self.reader.stands(LISTEN_LIMIT).await {
            return Ok(());
        }
        let later = Duration::from_secs(1);
        let detail = "The response topics cannot be read yet.";
        Err(HttpError::unavailable("not_ready", detail, later))
    }

    /// Begins a command: takes the places that it needs, and says under which names it is sent. Its answer is kept for
    /// whoever asks later or, where the command has a `key`, sends it again.
    pub(super) fn begin(
        &self,
        command: &Command,
        key: Option<&IdempotencyKey>,
    ) -> Result<(Sending, Begun), HttpError> {
        let comes_later = command.from.comes_later();
        let is_kept = key.is_some() || comes_later && command.prefers_async;
        let waits = comes_later && !command.prefers_async;
        let pledge = is_kept.then(|| Pledge::begin(&self.desk, command));
        let pledge = pledge.transpose()?;
        let waiter = waits.then(|| self.desk.wait(&command.party)).transpose()?;
        let table = self.desk.table();
        let number = match (&pledge, &waiter) {
            (Some(pledge), Some(waiter)) => {
                let joined = Some(Joined::Here(waiter.number()));
                table.look(pledge.number(), &command.caller, joined, StdInstant::now());
                pledge.number()
            }
            (Some(pledge), None) => pledge.number(),
            (None, Some(waiter)) => waiter.number(),
            (None, None) => table.number(),
        };
        let event_id = key.map_or_else(Uuid::new_v4, |key| key.event_id);
        let sending = Sending {
            correlation: self.desk.id(self.desk.own(number), Holder::Answerer)?,
            event_id: event_id.to_string(),
        };
        let begun = Begun {
            number,
            pledge,
            waiter,
        };
        Ok((sending, begun))
    }

    /// Makes the reply to a command that was sent, and whose answer will come.
    pub(super) fn reply_later(
        &self,
        from: AnswerFrom,
        number: u64,
        waiter: Option<Waiter>,
    ) -> Result<Reply, HttpError> {
        let Some(waiter) = waiter else {
            let id = self.desk.id(self.desk.own(number), Holder::Asker)?;
            return Ok(accepted(&id)?.into());
        };
        let deadline = Instant::now() + self.timeout(from);
        Ok(later(waiter, deadline, || too_late().into_response()))
    }
}

/// How long a command waits for the reading of the response topics to begin.
const LISTEN_LIMIT: Duration = Duration::from_secs(5);
/// The longest that somebody who asks for an answer may wait at once.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// A command that is about to be sent; forgotten if it is not.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) number: u64,
    /// Keeps the answer, where it is kept.
    pub(super) pledge: Option<Pledge>,
    /// The wait of the client, if it waits.
    pub(super) waiter: Option<Waiter>,
}

impl Begun {
    /// The command was sent, and its answer will come; returns its number, and the wait for it.
    pub(super) fn sent(self) -> (u64, Option<Waiter>) {
        if let Some(pledge) = self.pledge {
            pledge.hold();
        }
        (self.number, self.waiter)
    }
}
