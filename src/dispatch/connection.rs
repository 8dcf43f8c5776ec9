//! One connection as its shard holds it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use socket2::SockRef;
use tokio::sync::oneshot;

use super::control::ControlEvent;
use super::latest::Latest;
use super::messages::{Client, Held, Outlet};
use super::outbox::Outbox;
use super::pipe::ShardEnd;
use super::wire::{CloseReason, Format, Input};
use crate::event::{Cursor, Epoch, Positions, Range};
use crate::replay::{LoggedEvent, Page, Sequence};
use crate::subscription::Subscriptions;

/// Where a connection begins to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Start {
    /// With the first event after the connection is in force.
    #[default]
    Live,
    /// After everything that a client with this cursor has seen.
    After(Cursor),
    /// At these next offsets, as (topic, partition, offset); other partitions begin live.
    At(Vec<(u16, u32, i64)>),
    /// Where [`Dispatcher::begin`](super::Dispatcher::begin) will say.
    Later,
}

/// The answer to a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// The events that matched, as JSON, oldest first.
    pub events: Vec<Vec<u8>>,
    /// Where the client stands once it has seen them.
    pub cursor: String,
}

/// Where the frames of a connection go.
#[derive(Debug)]
pub(super) enum Sink {
    /// To a socket that the shard owns.
    Socket(TcpStream),
    /// To a task that carries them over TLS or HTTP/2.
    Pipe(ShardEnd),
    /// To somebody who waits for the first events, once.
    Poll(Option<oneshot::Sender<Polled>>),
}

/// What a non-blocking socket does, and a pipe that stands for one.
pub(super) trait Stream {
    /// Reads what the client sent; 0 at its end, `WouldBlock` when nothing has come.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes as much as is taken; `WouldBlock` when nothing is.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ends what is written.
    fn shutdown(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, buffer)
    }

    /// `send` and `sendmsg` cost the kernel less than `write` and `writev`, which go through the layer of
    /// files.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [slice] => io::Write::write(self, slice),
            _ => SockRef::from(&*self).send_vectored(slices),
        }
    }

    fn shutdown(&self) -> io::Result<()> {
        Self::shutdown(self, Shutdown::Write)
    }
}

impl Stream for ShardEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::read(self, buffer)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::write_vectored(self, slices)
    }

    fn shutdown(&self) -> io::Result<()> {
        Self::shutdown(self);
        Ok(())
    }
}

impl Sink {
    /// Returns where the frames go, the first bytes to write, and what the client sent already.
    pub(super) fn of(outlet: Outlet) -> (Self, Vec<u8>, Vec<u8>) {
        match outlet {
            Outlet::Poll(answer) => (Self::Poll(Some(answer)), Vec::new(), Vec::new()),
            Outlet::Socket {
                stream,
                head,
                already_read,
            } => (
                Self::Socket(TcpStream::from_std(stream)),
                head,
                already_read,
            ),
            Outlet::Pipe {
                pipe,
                head,
                already_read,
            } => (Self::Pipe(pipe), head, already_read),
        }
    }

    /// Returns whether frames are written as they come, and not all at once to somebody who polls.
    pub(super) const fn is_stream(&self) -> bool {
        !matches!(self, Self::Poll(_))
    }

    /// Returns where frames are written.
    pub(super) fn stream(&mut self) -> Option<&mut dyn Stream> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::Pipe(pipe) => Some(pipe),
            Self::Poll(_) => None,
        }
    }
}

/// How far the life of a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It gets events.
    Open,
    /// It gets what its outbox holds, then its end.
    Closing(CloseReason),
    /// Everything was written; for a moment, the client may close first.
    Lingering(CloseReason),
}

/// A connection that has not begun.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Where it will begin.
    pub(super) start: Start,
    /// What is told once it has: before, it stands nowhere, and no cursor would be right.
    told: Vec<ControlEvent>,
}

/// How many events about itself may wait for a connection to begin.
const MAX_TOLD: usize = 16;

impl Waiting {
    pub(super) fn new(start: Start) -> Box<Self> {
        let told = Vec::new();
        Box::new(Self { start, told })
    }

    /// Keeps an event until the connection begins; one too many is dropped.
    pub(super) fn tell(&mut self, event: &ControlEvent) {
        if self.told.len() < MAX_TOLD {
            self.told.push(event.clone());
        }
    }

    pub(super) fn take_told(&mut self) -> Vec<ControlEvent> {
        std::mem::take(&mut self.told)
    }
}

/// From where a connection reads that catches up.
#[derive(Debug)]
pub(super) enum Reading {
    /// From the log, this event next.
    Ring(Sequence),
    /// From Kafka, because the log does not reach back far enough; with the pages at hand.
    Kafka(Vec<Arc<Page>>),
}

/// A connection that reads for itself, because it resumes or was too slow for live events.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) reading: Reading,
    /// Where the client stands; events before that are skipped.
    pub(super) position: Positions,
    /// Subscriptions that were replaced meanwhile, each with where the shard stood then.
    pub(super) earlier: VecDeque<(Positions, Subscriptions)>,
    /// Since when the position is ahead of the shard, although the log is read.
    pub(super) ahead_since: Option<Instant>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Who is at the other end, for what may say something; in a box, since most connections only listen.
    pub(super) client: Option<Box<Client>>,
    pub(super) sink: Sink,
    pub(super) format: Format,
    pub(super) life: Life,
    pub(super) outbox: Outbox,
    pub(super) subscriptions: Subscriptions,
    /// Set until it begins: when the shard is open and it is known where.
    pub(super) waiting: Option<Box<Waiting>>,
    pub(super) replay: Option<Box<Replay>>,
    /// Set while the client is too slow and gets only the newest event of each key.
    pub(super) latest: Option<Box<Latest>>,
    pub(super) input: Option<Box<Input>>,
    /// In the shard's list of connections to flush.
    pub(super) is_dirty: bool,
    /// In the shard's list of connections that catch up.
    pub(super) is_catching_up: bool,
    /// The socket took less than it was given; it will say when it takes more.
    pub(super) is_blocked: bool,
    /// A text of the client is being acted on; nothing more is read until that is done.
    pub(super) is_paused: bool,
    /// A heartbeat was sent that the client has to answer.
    pub(super) awaits_answer: bool,
    /// The tick of the last progress: a frame written whole, or the first to wait.
    pub(super) progress_tick: u32,
    /// What ends with it.
    held: Option<Box<dyn Held>>,
}

impl Connection {
    pub(super) fn new(
        client: Option<Box<Client>>,
        (sink, format): (Sink, Format),
        subscriptions: Subscriptions,
        held: Option<Box<dyn Held>>,
    ) -> Self {
        Self {
            client,
            sink,
            format,
            life: Life::Open,
            outbox: Outbox::default(),
            subscriptions,
            waiting: None,
            replay: None,
            latest: None,
            input: None,
            is_dirty: false,
            is_catching_up: false,
            is_blocked: false,
            is_paused: false,
            awaits_answer: false,
            progress_tick: 0,
            held,
        }
    }

    /// Goes on with a topic that was made anew, where the connection does not stand where its shard
    /// does; returns what it misses of the old one.
    pub(super) fn begin_anew(&mut self, topic: u16, epoch: Epoch) -> Option<Vec<Range>> {
        if let Some(replay) = &mut self.replay {
            if let Reading::Kafka(pages) = &mut replay.reading {
                pages.retain(|page| page.topic != topic);
            }
            return Some(replay.position.begin_anew(topic, epoch));
        }
        let latest = self.latest.as_mut();
        latest.map(|latest| latest.position.begin_anew(topic, epoch))
    }

    /// Returns what ends with it.
    pub(super) fn held(&self) -> Option<&dyn Held> {
        self.held.as_deref()
    }

    /// Lets go of what it holds, before its end is known to anybody.
    pub(super) fn release(&mut self) {
        self.held = None;
    }

    /// Holds something more until it ends.
    pub(super) fn hold(&mut self, more: Box<dyn Held>) {
        self.held = match self.held.take() {
            None => Some(more),
            Some(held) => Some(Box::new((held, more))),
        };
    }

    pub(super) fn is_open(&self) -> bool {
        self.life == Life::Open
    }
}

impl Replay {
    pub(super) fn new(reading: Reading, position: Positions) -> Self {
        Self {
            reading,
            position,
            earlier: VecDeque::new(),
            ahead_since: None,
        }
    }

    /// Returns the replaced subscriptions that were in force when an event came.
    pub(super) fn wanted_at(&self, logged: &LoggedEvent) -> Option<&Subscriptions> {
        self.earlier
            .iter()
            .find(|(until, _)| {
                until.is_same_topic(logged.topic, &self.position)
                    && logged.offset < until.next_offset(logged.topic, logged.partition)
            })
            .map(|(_, earlier)| earlier)
    }

    /// Returns the page at hand with the first record of a range.
    pub(super) fn page(&self, range: Range) -> Option<Arc<Page>> {
        let Reading::Kafka(pages) = &self.reading else {
            return None;
        };
        let has_it = |page: &&Arc<Page>| {
            (page.topic, page.partition) == (range.topic, range.partition)
                && (page.from..page.next).contains(&range.from)
        };
        pages.iter().find(has_it).cloned()
    }
}
