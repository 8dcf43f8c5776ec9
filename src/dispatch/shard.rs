//! A shard: one thread that owns its connections whole.
//!
//! # Invariants
//! - Nothing here is shared but what comes in through the inbox, and the pipes to the tasks that carry
//!   TLS and HTTP/2; there are no other locks in the state.
//! - A shard never waits for a client: what a socket does not take waits in the bounded outbox.
//! - A live connection has every matching event up to `next` in its outbox or on its socket; one that
//!   catches up has a [`Replay`](super::connection::Replay) that says where it stands.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use slab::Slab;
use tokio::sync::{mpsc, oneshot};

use super::bell::Bell;
use super::config::DispatchConfig;
use super::connection::{Connection, Life};
use super::index::{Hits, Index};
use super::messages::{Ask, ClientText, Feed, Inbox, Opening, Request};
use super::pace::Pace;
use super::past::Places;
use super::token::{ConnectionId, Incarnation};
use super::wire::{Format, Wire};
use crate::event::Positions;
use crate::replay::{History, ReplayLog, Sequence};
use crate::telemetry::Metrics;

pub(super) use super::index::Slot;

/// The token of the waker; no slot reaches it.
pub(super) const WAKER: Token = Token(usize::MAX);

/// How many messages are taken in before the sockets are served.
const MESSAGES_PER_TURN: usize = 64;

/// What a shard is given.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) number: u16,
    pub(super) incarnation: Incarnation,
    pub(super) config: DispatchConfig,
    pub(super) topics: Arc<[String]>,
    pub(super) formats: &'static [&'static dyn Wire],
    pub(super) log: Arc<ReplayLog>,
    pub(super) history: Arc<History>,
    pub(super) texts: mpsc::Sender<ClientText>,
    pub(super) metrics: Metrics,
}

/// The state of one shard.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) setup: Setup,
    pub(super) poll: Poll,
    inbox: Inbox,
    pub(super) connections: Slab<Connection>,
    /// How often each slot was freed.
    pub(super) generations: Vec<u32>,
    pub(super) index: Index,
    /// Set once streams may begin.
    pub(super) opening: Option<Opening>,
    /// Where the shard stands in Kafka.
    pub(super) positions: Positions,
    /// The number of the next event to come.
    pub(super) next: Sequence,
    pub(super) dirty: Vec<Slot>,
    /// When they are written next.
    pub(super) pace: Pace,
    pub(super) catching_up: VecDeque<Slot>,
    /// Connections that read pages of the past, and those that wait for it.
    pub(super) places: Places,
    /// Connections whose cursors are ahead of this shard; they wait for it.
    pub(super) ahead: Vec<Slot>,
    /// Connections with cursors of topics that are not known here, and since when they wait.
    pub(super) unverified: Vec<(ConnectionId, Instant)>,
    /// Connections that have ended and wait for the client to close first, and since which tick.
    pub(super) lingering: VecDeque<(ConnectionId, u32)>,
    /// Connections whose sockets may have more to read than one turn takes.
    pub(super) readable: Vec<Slot>,
    pub(super) scratch: Scratch,
    /// Ticks since the start.
    pub(super) tick: u32,
    pub(super) next_tick: Instant,
    pub(super) drain: Option<Drain>,
    pub(super) now_ms: i64,
}

/// A drain that is under way.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) began: Instant,
    pub(super) until: Instant,
    pub(super) done: Option<oneshot::Sender<()>>,
}

/// Buffers that are used again and again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) hits: Hits,
    pub(super) frame: Vec<u8>,
    pub(super) read: Vec<u8>,
    /// The frames of the event at hand, by format.
    pub(super) frames: Vec<Option<Rc<[u8]>>>,
    /// Events written since they were last counted, by format.
    pub(super) delivered: Vec<u64>,
}

impl Shard {
    pub(super) fn new(setup: Setup, poll: Poll, inbox: Inbox) -> Self {
        let positions = Positions::of_topics(setup.topics.iter().map(String::as_str));
        Self {
            poll,
            inbox,
            connections: Slab::new(),
            generations: Vec::new(),
            index: Index::new(),
            opening: None,
            positions,
            next: 0,
            dirty: Vec::new(),
            pace: Pace::default(),
            catching_up: VecDeque::new(),
            places: Places::default(),
            lingering: VecDeque::new(),
            ahead: Vec::new(),
            unverified: Vec::new(),
            readable: Vec::new(),
            scratch: Scratch {
                read: vec![0; 16 * 1024],
                delivered: vec![0; setup.formats.len()],
                ..Scratch::default()
            },
            tick: 0,
            next_tick: Instant::now() + setup.config.tick(),
            drain: None,
            now_ms: crate::telemetry::now_ms(),
            setup,
        }
    }

    /// Runs until a drain is complete or everybody who could send is gone.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut has_more = false;
        loop {
            self.wait(&mut events, has_more)?;
            self.now_ms = crate::telemetry::now_ms();
            for event in events.iter().filter(|event| event.token() != WAKER) {
                self.on_socket(event);
            }
            self.read_on();
            has_more = self.take_in();
            if self.inbox.bell.has_pages() {
                self.on_pages();
            }
            if Instant::now() >= self.next_tick {
                self.on_tick();
            }
            self.catch_up();
            if !self.pace.holds(Instant::now()) {
                self.flush_dirty();
                has_more |= !self.dirty.is_empty();
            }
            has_more |= !self.readable.is_empty() || !self.catching_up.is_empty();
            if self.is_drained() {
                return Ok(());
            }
        }
    }

    fn wait(&mut self, events: &mut Events, has_more: bool) -> io::Result<()> {
        let timeout = if has_more {
            Duration::ZERO
        } else {
            let now = Instant::now();
            let tick = self.next_tick.saturating_duration_since(now);
            if self.dirty.is_empty() {
                tick
            } else {
                tick.min(self.pace.left(now))
            }
        };
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    /// Takes messages in; returns whether more may wait.
    fn take_in(&mut self) -> bool {
        // Before the queues are looked at, so that whoever sends afterwards wakes the shard again.
        for connection in self.inbox.bell.answer() {
            self.on_pipe(connection);
        }
        let mut taken = 0;
        while taken < MESSAGES_PER_TURN {
            let mut is_idle = true;
            if let Ok(request) = self.inbox.requests.try_recv() {
                self.on_request(request);
                is_idle = false;
            }
            if let Ok(feed) = self.inbox.feed.try_recv() {
                match feed {
                    Feed::Batch(batch) => self.on_batch(&batch),
                    Feed::Open(opening) => self.open(opening),
                    Feed::Remade(topic, epoch) => self.begin_anew(topic, epoch),
                    Feed::Verified(asked) => self.begin_verified(asked),
                }
                is_idle = false;
            }
            if is_idle {
                return false;
            }
            taken += 1;
        }
        true
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Attach(attach, reply) => self.attach(*attach, reply),
            Request::Of(id, ask) => {
                if let Some(slot) = self.slot_of(id) {
                    self.on_ask(slot, ask);
                }
            }
            Request::Drain(until, done) => {
                self.drain = Some(Drain {
                    began: Instant::now(),
                    until,
                    done: Some(done),
                });
            }
        }
    }

    fn on_ask(&mut self, slot: Slot, ask: Ask) {
        match ask {
            Ask::Begin(next_offsets) => self.begin_at(slot, next_offsets),
            Ask::Replace(subscriptions, reply) => {
                let result = self.replace(slot, &subscriptions);
                if reply.send(result).is_err() {
                    tracing::debug!("nobody waits for the change of subscriptions any more");
                }
            }
            Ask::Tell(event) => {
                self.tell(slot, &event);
                self.refuse_unread(slot);
            }
            Ask::TextDone => self.resume_reading(slot),
            Ask::Close(reason) => self.close(slot, reason),
            Ask::Hold(held) => self.hold(slot, held),
            Ask::EndPoll => self.end_poll(slot),
        }
    }

    /// Returns what wakes this shard.
    pub(super) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.inbox.bell)
    }

    /// Returns the slot of a connection that is open.
    pub(super) fn slot_of(&self, id: ConnectionId) -> Option<Slot> {
        let is_current = self.generation(id.slot) == id.generation;
        let is_open = self
            .connections
            .get(id.slot as usize)
            .is_some_and(Connection::is_open);
        (is_current && is_open).then_some(id.slot)
    }

    /// Returns how often a slot was freed.
    pub(super) fn generation(&self, slot: Slot) -> u32 {
        self.generations.get(slot as usize).copied().unwrap_or(0)
    }

    pub(super) fn id_of(&self, slot: Slot) -> ConnectionId {
        ConnectionId {
            shard: self.setup.number,
            slot,
            generation: self.generation(slot),
        }
    }

    pub(super) fn wire(&self, format: Format) -> &'static dyn Wire {
        let formats = self.setup.formats;
        *formats
            .get(usize::from(format.0))
            .expect("attach refuses formats that are not in the table")
    }

    pub(super) fn mark_dirty(&mut self, slot: Slot) {
        if let Some(connection) = self.connections.get_mut(slot as usize)
            && !connection.is_dirty
        {
            connection.is_dirty = true;
            self.dirty.push(slot);
        }
    }

    pub(super) fn mark_catching_up(&mut self, slot: Slot) {
        if let Some(connection) = self.connections.get_mut(slot as usize)
            && !connection.is_catching_up
        {
            connection.is_catching_up = true;
            self.catching_up.push_back(slot);
        }
    }

    fn is_drained(&mut self) -> bool {
        let is_over = |drain: &Drain| Instant::now() >= drain.until;
        let is_empty = self.connections.is_empty();
        let Some(drain) = self
            .drain
            .as_mut()
            .filter(|drain| is_empty || is_over(drain))
        else {
            return false;
        };
        if let Some(done) = drain.done.take()
            && done.send(()).is_err()
        {
            tracing::debug!("nobody waits for the drain any more");
        }
        true
    }

    /// Returns whether the connection in `slot` is open.
    pub(super) fn is_open(&self, slot: Slot) -> bool {
        self.connections
            .get(slot as usize)
            .is_some_and(|connection| connection.life == Life::Open)
    }
}
