//! The shards from outside: what the other rooms ask of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Poll, Waker};
use tokio::sync::{mpsc, oneshot};

use super::bell::Bell;
use super::config::DispatchConfig;
use super::control::ControlEvent;
use super::messages::{Ask, Attach, ClientText, Feed, Gone, Held, Inbox, Opening, Request};
use super::shard::{Setup, Shard, WAKER};
use super::token::{ConnectionId, Incarnation};
use super::wire::{CloseReason, Wire};
use crate::event::Epoch;
use crate::replay::{Batch, History, ReplayLog};
use crate::subscription::Subscriptions;
use crate::telemetry::Metrics;

/// How many batches may wait for a shard before ingest waits for it.
const FEED_CAPACITY: usize = 64;
/// How many requests may wait for a shard before those who ask wait for it.
const REQUESTS_CAPACITY: usize = 1024;
/// How many texts of clients may wait to be read, one of each at most; a client that sends into a
/// full queue is closed.
const TEXTS_CAPACITY: usize = 4096;

/// Why the shards could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system gave no poller, waker or thread.
    #[error("shard {number}: could not start its thread")]
    Shard {
        /// Which shard.
        number: u16,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// What the dispatcher needs of the rooms around it.
#[derive(Debug)]
pub struct Surroundings {
    /// This life of the instance.
    pub incarnation: Incarnation,
    /// The source topics in their configured order.
    pub topics: Arc<[String]>,
    /// The wire formats; [`Format`](super::Format) is an index into them.
    pub formats: &'static [&'static dyn Wire],
    /// The replay log that the batches were appended to.
    pub log: Arc<ReplayLog>,
    /// What the log has dropped.
    pub history: Arc<History>,
    /// Where to count.
    pub metrics: Metrics,
}

/// Hands batches to all shards, and requests to the one that is meant. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    shards: Arc<[ShardHandle]>,
    turn: Arc<AtomicUsize>,
    incarnation: Incarnation,
}

#[derive(Debug)]
struct ShardHandle {
    feed: std_mpsc::SyncSender<Feed>,
    requests: mpsc::Sender<Request>,
    bell: Arc<Bell>,
    thread: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl Dispatcher {
    /// Starts one thread for each shard.
    ///
    /// Also returns the queue of what clients say on their connections.
    ///
    /// # Errors
    /// [`StartError`] when the operating system refuses a thread or a poller.
    pub fn start(
        config: &DispatchConfig,
        surroundings: &Surroundings,
    ) -> Result<(Self, mpsc::Receiver<ClientText>), StartError> {
        let (texts, incoming) = mpsc::channel(TEXTS_CAPACITY);
        let incarnation = surroundings.incarnation;
        let shards: Result<Vec<ShardHandle>, StartError> = (0..config.shard_count())
            .map(|number| {
                start_shard(number, config, surroundings, texts.clone())
                    .map_err(|source| StartError::Shard { number, source })
            })
            .collect();
        let dispatcher = Self {
            shards: shards?.into(),
            turn: Arc::new(AtomicUsize::new(0)),
            incarnation,
        };
        Ok((dispatcher, incoming))
    }

    /// Returns which life of the instance this is.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Hands a batch to every shard; blocks while one is 64 batches behind.
    pub fn dispatch(&self, batch: &Arc<Batch>) {
        self.feed(&Feed::Batch(Arc::clone(batch)));
    }

    /// Lets streams begin after everything that was dispatched before; blocks like
    /// [`Dispatcher::dispatch`].
    pub fn open(&self, opening: Opening) {
        self.feed(&Feed::Open(opening));
    }

    /// Tells every connection that a topic was made anew, after everything that was dispatched before;
    /// blocks like [`Dispatcher::dispatch`].
    pub fn begin_anew(&self, topic: u16, epoch: Epoch) {
        self.feed(&Feed::Remade(topic, epoch));
    }

    /// Lets those begin who came before `asked` with cursors of other topics than those known here:
    /// Kafka was asked since, and the shards were told what it said. Blocks like
    /// [`Dispatcher::dispatch`].
    pub fn verified(&self, asked: Instant) {
        self.feed(&Feed::Verified(asked));
    }

    fn feed(&self, feed: &Feed) {
        for shard in &*self.shards {
            if shard.feed.send(feed.clone()).is_err() {
                tracing::debug!("a shard has ended; it gets no more events");
            }
            shard.bell.ring();
        }
    }

    /// Gives a connection to a shard, in turn.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready drops the connection.
    pub async fn attach(&self, attach: Attach) {
        self.send_attach(attach, None).await;
    }

    /// Like [`Dispatcher::attach`], and returns the id under which to begin a connection or to end a
    /// poll.
    ///
    /// # Errors
    /// [`Gone`] while the shards end.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection.
    pub async fn attach_known(&self, attach: Attach) -> Result<ConnectionId, Gone> {
        let (reply, id) = oneshot::channel();
        self.send_attach(attach, Some(reply)).await;
        id.await.map_err(|_| Gone)
    }

    async fn send_attach(&self, attach: Attach, reply: Option<oneshot::Sender<ConnectionId>>) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.shards.len().max(1);
        if let Some(shard) = self.shards.get(turn) {
            shard.ask(Request::Attach(Box::new(attach), reply)).await;
        }
    }

    /// Lets a connection begin at these next offsets that was attached with [`Start::Later`]; nothing
    /// happens when it has ended.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves the connection as it is.
    ///
    /// [`Start::Later`]: super::Start::Later
    pub async fn begin(&self, connection: ConnectionId, next_offsets: Vec<(u16, u32, i64)>) {
        self.ask(connection, Ask::Begin(next_offsets)).await;
    }

    /// Ends a connection; nothing happens when it has ended.
    ///
    /// What waits for it is written first, but for [`CloseReason::SessionKilled`]: then events that
    /// were not written yet are dropped.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves the connection as it is.
    pub async fn close(&self, connection: ConnectionId, reason: CloseReason) {
        self.ask(connection, Ask::Close(reason)).await;
    }

    /// Has a connection hold something until it ends, besides what it holds already; dropped at once when it
    /// has ended.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready drops `held`.
    pub async fn hold(&self, connection: ConnectionId, held: Box<dyn Held>) {
        self.ask(connection, Ask::Hold(held)).await;
    }

    /// Replaces the subscriptions of a connection; when this returns, they are in force.
    ///
    /// # Errors
    /// [`Gone`] when the connection has ended.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the change is made.
    pub async fn replace(
        &self,
        connection: ConnectionId,
        subscriptions: Subscriptions,
    ) -> Result<(), Gone> {
        let (reply, result) = oneshot::channel();
        self.ask(connection, Ask::Replace(subscriptions, reply))
            .await;
        result.await.unwrap_or(Err(Gone))
    }

    /// Sends an event about itself to a connection; nothing happens when it has ended.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready sends nothing.
    pub async fn tell(&self, connection: ConnectionId, event: ControlEvent) {
        self.ask(connection, Ask::Tell(event)).await;
    }

    /// Lets a connection send its next text, after the last one was acted on, or while few enough are.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves the client unread until its connection ends.
    pub async fn text_done(&self, connection: ConnectionId) {
        self.ask(connection, Ask::TextDone).await;
    }

    /// Has a poll answered with what there is; nothing happens when it was answered already.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves the poll waiting.
    pub async fn end_poll(&self, connection: ConnectionId) {
        self.ask(connection, Ask::EndPoll).await;
    }

    async fn ask(&self, connection: ConnectionId, ask: Ask) {
        if let Some(shard) = self.shards.get(usize::from(connection.shard)) {
            shard.ask(Request::Of(connection, ask)).await;
        }
    }

    /// Closes all connections, spread over `grace`, and ends the shards.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the drain.
    pub async fn drain(&self, grace: Duration) {
        let until = Instant::now() + grace;
        let mut drained = Vec::new();
        for shard in &*self.shards {
            let (done, wait) = oneshot::channel();
            shard.ask(Request::Drain(until, done)).await;
            drained.push(wait);
        }
        for wait in drained {
            if wait.await.is_err() {
                tracing::debug!("a shard ended before its drain was complete");
            }
        }
        for shard in &*self.shards {
            let thread = shard.thread.lock().take();
            if thread.is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("a shard ended by a panic");
            }
        }
    }
}

impl ShardHandle {
    async fn ask(&self, request: Request) {
        if self.requests.send(request).await.is_err() {
            tracing::debug!("a shard has ended; it takes no more requests");
        }
        self.bell.ring();
    }
}

fn start_shard(
    number: u16,
    config: &DispatchConfig,
    surroundings: &Surroundings,
    texts: mpsc::Sender<ClientText>,
) -> std::io::Result<ShardHandle> {
    let poll = Poll::new()?;
    let bell = Arc::new(Bell::new(Waker::new(poll.registry(), WAKER)?));
    let (feed, batches) = std_mpsc::sync_channel(FEED_CAPACITY);
    let (requests, asked) = mpsc::channel(REQUESTS_CAPACITY);
    let told = Arc::clone(&bell);
    surroundings.history.listen(move || told.ring_for_pages());
    let setup = Setup {
        number,
        incarnation: surroundings.incarnation,
        config: config.clone(),
        topics: Arc::clone(&surroundings.topics),
        formats: surroundings.formats,
        log: Arc::clone(&surroundings.log),
        history: Arc::clone(&surroundings.history),
        texts,
        metrics: surroundings.metrics.clone(),
    };
    let inbox = Inbox {
        feed: batches,
        requests: asked,
        bell: Arc::clone(&bell),
    };
    let thread = std::thread::Builder::new()
        .name(format!("shard-{number}"))
        .spawn(move || {
            if let Err(error) = Shard::new(setup, poll, inbox).run() {
                tracing::error!(%error, number, "a shard ended: its poller failed");
            }
        })?;
    Ok(ShardHandle {
        feed,
        requests,
        bell,
        thread: parking_lot::Mutex::new(Some(thread)),
    })
}
