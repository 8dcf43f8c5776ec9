//! Commands between instances: a request to one incarnation, and its reply.

mod hello;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use uuid::Uuid;

use super::follower::{Follow, FollowError, Follower, ReadFrom};
use super::members::{Members, Verdict};
use super::message::Message;
use crate::kafka::{KafkaConfig, OutgoingRecord, ProduceError, Producer, TopicSpec};
use crate::telemetry::{Readiness, Tasks};

/// Requests that may wait for their replies.
const PENDING_LIMIT: usize = 10_000;
/// Messages that may wait to be worked on; then the topic is not polled further.
const QUEUE_LIMIT: usize = 1024;
/// Requests of others that are worked on at the same time.
const WORK_LIMIT: usize = 256;
/// How long Kafka keeps commands.
const RETENTION_MS: &str = "600000";
/// How long a goodbye may take.
const BYE_LIMIT: Duration = Duration::from_secs(2);

/// The reply to a command, once it is there.
pub type CommandReply = Pin<Box<dyn Future<Output = Value> + Send>>;

/// What answers the commands of other instances.
pub type CommandHandler = dyn Fn(Value) -> CommandReply + Send + Sync;

/// Why a command has no reply.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The incarnation does not live any more.
    #[error("the instance is gone")]
    Gone,
    /// No reply came in time. The command may have been carried out.
    #[error("the instance did not reply in time")]
    TimedOut,
    /// Too many commands wait for their replies.
    #[error("too many commands are waiting for replies")]
    Busy,
    /// Kafka did not take the command; see there whether it may have been written.
    #[error("the command could not be sent")]
    Kafka(#[from] ProduceError),
}

/// Sends commands to other instances, and has theirs answered. Cheap to clone.
#[derive(Clone)]
pub struct CommandLog {
    shared: Arc<Shared>,
    follower: Arc<Mutex<Option<Follower>>>,
}

struct Shared {
    topic: String,
    incarnation: String,
    producer: Producer,
    handler: Arc<CommandHandler>,
    members: watch::Sender<Members>,
    pending: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    work: Arc<Semaphore>,
    readiness: Readiness,
    tasks: Tasks,
}

impl fmt::Debug for CommandLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandLog")
            .field("topic", &self.shared.topic)
            .field("incarnation", &self.shared.incarnation)
            .finish_non_exhaustive()
    }
}

impl CommandLog {
    /// Starts to follow the topic `<CLUSTER_NAME>.commands` from its end, creating it if missing.
    ///
    /// `incarnation` names this start of this instance and must never be used again. `handler` answers
    /// the commands of others, at most 256 at a time. Waits for Kafka if need be. Sets
    /// [`KafkaWritable`](crate::telemetry::Condition::KafkaWritable) by whether Kafka takes the hellos. Has to be called within a Tokio
    /// runtime.
    ///
    /// # Errors
    /// [`FollowError`] when the settings are refused. Not when Kafka is away.
    pub fn start(
        config: &KafkaConfig,
        producer: Producer,
        incarnation: &str,
        handler: Arc<CommandHandler>,
        readiness: Readiness,
        tasks: &Tasks,
    ) -> Result<Self, FollowError> {
        let topic = format!("{}.commands", config.cluster_name);
        let spec = TopicSpec {
            name: topic.clone(),
            partitions: 1,
            config: vec![
                ("cleanup.policy", "delete".to_owned()),
                ("retention.ms", RETENTION_MS.to_owned()),
            ],
        };
        let shared = Arc::new(Shared {
            topic,
            incarnation: incarnation.to_owned(),
            producer,
            handler,
            members: watch::Sender::new(Members::new(incarnation)),
            pending: Mutex::default(),
            work: Arc::new(Semaphore::new(WORK_LIMIT)),
            readiness,
            tasks: tasks.clone(),
        });
        let (queue, messages) = mpsc::channel(QUEUE_LIMIT);
        let listening = Arc::new(watch::Sender::new(false));
        let reader = Reader {
            queue,
            listening: Arc::clone(&listening),
        };
        let follower = Follower::start(config, spec, ReadFrom::End, reader)?;
        tasks.spawn("commands", Arc::clone(&shared).work_on(messages));
        tasks.spawn("hello", Arc::clone(&shared).say_hello(listening));
        Ok(Self {
            shared,
            follower: Arc::new(Mutex::new(Some(follower))),
        })
    }

    /// Sends a command to the incarnation `target` and waits for its reply, at most `timeout`.
    ///
    /// A command to the own incarnation is handled at once. Right after the start of this instance,
    /// a target that was not heard of is waited for before it is said to be gone, some six seconds.
    ///
    /// # Errors
    /// [`CommandError`]; after `TimedOut` the command may still be carried out.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the reply; the command may be on its way.
    pub async fn request(
        &self,
        target: &str,
        body: Value,
        timeout: Duration,
    ) -> Result<Value, CommandError> {
        let answered = async {
            if target == self.shared.incarnation {
                return Ok((self.shared.handler)(body).await);
            }
            self.shared.wait_for(target).await?;
            self.shared.ask(target, body).await
        };
        tokio::time::timeout(timeout, answered)
            .await
            .unwrap_or(Err(CommandError::TimedOut))
    }

    /// Returns the other incarnations that live, as far as they were heard.
    #[must_use]
    pub fn alive(&self) -> Vec<String> {
        self.shared.members.borrow().alive(Instant::now())
    }

    /// Returns the name of this incarnation.
    #[must_use]
    pub fn incarnation(&self) -> &str {
        &self.shared.incarnation
    }

    /// Says goodbye, so that the others need not wait to notice, and stops reading.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the thread running until the process ends.
    pub async fn stop(&self) {
        let bye = Message::Bye {
            from: self.shared.incarnation.clone(),
        };
        match tokio::time::timeout(BYE_LIMIT, self.shared.send(&bye)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "could not say goodbye to the other instances")
            }
            Err(_) => tracing::warn!("could not say goodbye to the other instances in time"),
        }
        let follower = self.follower.lock().take();
        if let Some(follower) = follower {
            let stopped = tokio::task::spawn_blocking(move || follower.stop());
            if stopped.await.is_err() {
                tracing::error!("stopping the reading of commands panicked");
            }
        }
    }
}

impl Shared {
    /// Waits until it is known whether `target` lives.
    async fn wait_for(&self, target: &str) -> Result<(), CommandError> {
        let mut members = self.members.subscribe();
        loop {
            let verdict = members.borrow_and_update().verdict(target, Instant::now());
            match verdict {
                Verdict::Alive => return Ok(()),
                Verdict::Gone => return Err(CommandError::Gone),
                Verdict::Unknown => {}
            }
            // Time passes also when nothing is heard.
            let heard = tokio::time::timeout(Duration::from_millis(250), members.changed());
            if let Ok(Err(_)) = heard.await {
                return Err(CommandError::Gone);
            }
        }
    }

    async fn ask(&self, target: &str, body: Value) -> Result<Value, CommandError> {
        let id = Uuid::new_v4().to_string();
        let (sender, reply) = oneshot::channel();
        {
            let mut pending = self.pending.lock();
            if pending.len() >= PENDING_LIMIT {
                return Err(CommandError::Busy);
            }
            pending.insert(id.clone(), sender);
        }
        let _forget = Forget {
            shared: self,
            id: &id,
        };
        let request = Message::Request {
            id: id.clone(),
            from: self.incarnation.clone(),
            to: target.to_owned(),
            body,
        };
        self.send(&request).await?;
        self.reply_or_gone(target, reply).await
    }

    /// Waits for the reply, and no longer than its sender lives.
    async fn reply_or_gone(
        &self,
        target: &str,
        mut reply: oneshot::Receiver<Value>,
    ) -> Result<Value, CommandError> {
        let mut look = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                reply = &mut reply => return reply.map_err(|_dropped| CommandError::TimedOut),
                _ = look.tick() => {
                    if self.members.borrow().verdict(target, Instant::now()) == Verdict::Gone {
                        return Err(CommandError::Gone);
                    }
                }
            }
        }
    }

    async fn send(&self, message: &Message) -> Result<(), ProduceError> {
        let json = serde_json::to_vec(message).expect("messages have string keys only");
        let record = OutgoingRecord {
            topic: &self.topic,
            key: None,
            headers: &[],
            payload: Some(&json),
        };
        self.producer.produce(record).await.map(|_delivered| ())
    }

    async fn work_on(self: Arc<Self>, mut messages: mpsc::Receiver<Message>) {
        let stopping = self.tasks.stopping();
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.take(message).await,
                    None => return,
                },
                () = stopping.cancelled() => return,
            }
        }
    }

    async fn take(self: &Arc<Self>, message: Message) {
        let now = Instant::now();
        if let Message::Bye { from } = &message {
            self.members.send_modify(|members| members.left(from, now));
            return;
        }
        self.members
            .send_modify(|members| members.heard(message.from(), now));
        match message {
            Message::Who { from } if from != self.incarnation => self.greet(),
            Message::Request { id, from, to, body } if to == self.incarnation => {
                self.answer(id, from, body).await;
            }
            Message::Reply { id, to, body, .. } if to == self.incarnation => {
                let waiting = self.pending.lock().remove(&id);
                // Without a receiver the caller has given up.
                waiting.and_then(|waiting| waiting.send(body).err());
            }
            _ => {}
        }
    }

    /// Starts to work on a command; waits while too many are worked on.
    async fn answer(self: &Arc<Self>, id: String, asker: String, body: Value) {
        let Ok(permit) = Arc::clone(&self.work).acquire_owned().await else {
            return;
        };
        let shared = Arc::clone(self);
        self.tasks.spawn("command", async move {
            let body = (shared.handler)(body).await;
            let from = shared.incarnation.clone();
            let reply = Message::Reply {
                id,
                from,
                to: asker,
                body,
            };
            if let Err(error) = shared.send(&reply).await {
                tracing::warn!(%error, "could not reply to a command");
            }
            drop(permit);
        });
    }
}

/// Forgets a pending request when its caller is done.
struct Forget<'a> {
    shared: &'a Shared,
    id: &'a str,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.pending.lock().remove(self.id);
    }
}

/// Hands the messages of the topic on.
struct Reader {
    queue: mpsc::Sender<Message>,
    listening: Arc<watch::Sender<bool>>,
}

impl Follow for Reader {
    fn restarted(&mut self) {}

    fn record(&mut self, offset: i64, _key: Option<&[u8]>, value: Option<&[u8]>) {
        match serde_json::from_slice(value.unwrap_or_default()) {
            // An error means that the process is stopping.
            Ok(message) => drop(self.queue.blocking_send(message)),
            // A newer instance may say what this one does not know.
            Err(error) => tracing::debug!(offset, %error, "a command is not understood, ignored"),
        }
    }

    fn caught_up(&mut self) {
        self.listening.send_replace(true);
    }
}
