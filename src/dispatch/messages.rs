//! What is said between the dispatcher and its shards.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::bell::Bell;
use super::connection::{Polled, Start};
use super::control::ControlEvent;
use super::pipe::ShardEnd;
use super::token::{ConnectionId, TokenKey};
use super::wire::{CloseReason, Format};
use crate::event::{Epoch, Positions};
use crate::replay::Batch;
use crate::subscription::Subscriptions;

/// What streams need before they can begin.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Seals connection tokens.
    pub token_key: TokenKey,
    /// Where the instance stands in Kafka.
    pub positions: Positions,
}

/// Where the events of a connection go.
#[derive(Debug)]
pub enum Outlet {
    /// To a non-blocking socket that the shard owns from now on.
    Socket {
        /// The socket.
        stream: TcpStream,
        /// The first bytes to write: the head of the HTTP response.
        head: Vec<u8>,
        /// What the client sent after its request.
        already_read: Vec<u8>,
    },
    /// To a task that carries them over TLS or HTTP/2.
    Pipe {
        /// The shard's end of the pipe.
        pipe: ShardEnd,
        /// The first bytes to write, as far as the task does not write them.
        head: Vec<u8>,
        /// What the client sent after its request.
        already_read: Vec<u8>,
    },
    /// To somebody who waits for the first events that match.
    Poll(oneshot::Sender<Polled>),
}

/// What lasts as long as a connection, such as its place among those that are allowed. It is dropped when
/// the connection ends, on the thread of its shard: neither that nor [`Held::attached`] may block.
pub trait Held: fmt::Debug + Send {
    /// Learns which connection holds it, before anything is written to its client or read from it. Returns
    /// why the connection is to end at once, if it is.
    fn attached(&self, _connection: ConnectionId) -> Option<CloseReason> {
        None
    }
}

/// Two that last as long as one connection.
impl<A: Held, B: Held> Held for (A, B) {
    fn attached(&self, connection: ConnectionId) -> Option<CloseReason> {
        let (first, second) = (self.0.attached(connection), self.1.attached(connection));
        first.or(second)
    }
}

impl<T: Held + ?Sized> Held for Box<T> {
    fn attached(&self, connection: ConnectionId) -> Option<CloseReason> {
        (**self).attached(connection)
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The address, as far as trusted proxies tell it.
    pub address: IpAddr,
    /// Whether the connection came over TLS.
    pub is_tls: bool,
}

impl Client {
    /// Nobody: for what the instance asks of itself.
    pub const NOBODY: Self = Self {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        is_tls: false,
    };
}

/// A connection for the shards.
#[derive(Debug)]
pub struct Attach {
    /// Who is at the other end.
    pub client: Client,
    /// Where its events go.
    pub outlet: Outlet,
    /// How they are written.
    pub format: Format,
    /// Which of them it wants.
    pub subscriptions: Subscriptions,
    /// From where on.
    pub start: Start,
    /// What is dropped when it ends.
    pub held: Option<Box<dyn Held>>,
}

/// A text message that a client sent on its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientText {
    /// On which connection.
    pub connection: ConnectionId,
    /// Who sent it.
    pub client: Client,
    /// What it says.
    pub text: String,
}

/// The connection is not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection no longer exists")]
pub struct Gone;

/// What others ask of a shard.
#[derive(Debug)]
pub(super) enum Request {
    /// Takes a connection in; the id is answered to those who ask for it.
    Attach(Box<Attach>, Option<oneshot::Sender<ConnectionId>>),
    /// What is for one connection; dropped when it has ended.
    Of(ConnectionId, Ask),
    /// Closes all connections, spread until the instant; then answers and ends the thread.
    Drain(Instant, oneshot::Sender<()>),
}

/// What others ask of one connection.
#[derive(Debug)]
pub(super) enum Ask {
    /// Lets it begin at these next offsets, where it was attached to begin later.
    Begin(Vec<(u16, u32, i64)>),
    /// Replaces its subscriptions.
    Replace(Subscriptions, oneshot::Sender<Result<(), Gone>>),
    /// Sends it an event.
    Tell(ControlEvent),
    /// Its text was acted on; it may send the next one.
    TextDone,
    /// Closes it.
    Close(CloseReason),
    /// Gives it something more to hold.
    Hold(Box<dyn Held>),
    /// Answers it, a poll, with what there is.
    EndPoll,
}

/// What the ingest thread hands on, in order.
#[derive(Debug, Clone)]
pub(super) enum Feed {
    /// The next events.
    Batch(Arc<Batch>),
    /// The instance has caught up: streams may begin.
    Open(Opening),
    /// The topic of this index was made anew: what comes next of it is of this epoch.
    Remade(u16, Epoch),
    /// Kafka was asked at this instant which topics there are; those made anew were told.
    Verified(Instant),
}

/// The ends of the queues that lead to a shard.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) feed: std_mpsc::Receiver<Feed>,
    pub(super) requests: mpsc::Receiver<Request>,
    /// Rung by whoever sent something since the shard looked.
    pub(super) bell: Arc<Bell>,
}
