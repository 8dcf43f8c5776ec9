//! What the shards need to know of a transport: how it writes and how it reads.

use crate::telemetry::Transport;

/// An event as a transport sees it when it encodes a frame.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The CloudEvent's type; free of control characters.
    pub event_type: &'a str,
    /// The CloudEvent as JSON; may hold line ends between its tokens.
    pub json: &'a [u8],
    /// Where the client stands once it has seen this event.
    pub cursor: &'a str,
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client closed, or its socket broke.
    ByClient,
    /// The instance shuts down; the client finds another one.
    Drain,
    /// The client took no byte for the write timeout.
    Stalled,
    /// The client was too slow, and the policy is to disconnect it; it may resume.
    TooSlow,
    /// The client did not answer a ping within an interval.
    Unresponsive,
    /// The client broke the protocol.
    Violation,
    /// The client sent more than it may, or did not read the answers to what it sent.
    Flooding,
    /// The server has more to do than it can; the client may try again.
    Overloaded,
    /// The poll was answered.
    Answered,
    /// Its session was ended by an operator.
    SessionKilled,
    /// The token of its client has expired.
    SessionExpired,
}

impl CloseReason {
    /// Returns the value of the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByClient => "by_client",
            Self::Drain => "drain",
            Self::Stalled => "stalled",
            Self::TooSlow => "too_slow",
            Self::Unresponsive => "unresponsive",
            Self::Violation => "violation",
            Self::Flooding => "flooding",
            Self::Overloaded => "overloaded",
            Self::Answered => "answered",
            Self::SessionKilled => "session_killed",
            Self::SessionExpired => "session_expired",
        }
    }
}

/// What a client sent, as far as a shard has to act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// The client lives: it answered a heartbeat.
    Alive,
    /// Bytes to be written as they are, such as a pong.
    Answer(Vec<u8>),
    /// A whole text message.
    Text(String),
    /// The connection ends after these bytes.
    Close {
        /// The last bytes to write, such as a close frame; may be empty.
        farewell: Vec<u8>,
        /// Who ended it and why.
        reason: CloseReason,
    },
}

/// What a client has sent and nobody could use yet; gone while it is empty.
#[derive(Debug, Default)]
pub struct Input {
    /// Bytes after the last whole frame.
    pub unread: Vec<u8>,
    /// The payload of a message whose last fragment has not come.
    pub fragments: Option<Vec<u8>>,
}

impl Input {
    /// Returns whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unread.is_empty() && self.fragments.is_none()
    }
}

/// One way to put events on a connection. There is one static instance for each wire format, and
/// every event is encoded once for each format and shard.
pub trait Wire: std::fmt::Debug + Send + Sync {
    /// Returns the transport that the metrics name.
    fn transport(&self) -> Transport;

    /// Appends the frame of an event to `frame`.
    fn encode(&self, event: Outgoing<'_>, frame: &mut Vec<u8>);

    /// Appends the frame that keeps a quiet connection alive and, where the format can, moves its
    /// cursor; `cursor` is `None` while the client has not caught up.
    fn heartbeat(&self, cursor: Option<&str>, frame: &mut Vec<u8>);

    /// Returns whether a client has to answer each heartbeat.
    fn expects_answers(&self) -> bool {
        false
    }

    /// Returns the last bytes of a connection that the server ends.
    fn farewell(&self, reason: CloseReason) -> Vec<u8>;

    /// Takes what it can from the front of `input` and appends what it means to `incoming`; after a
    /// text or the end it stops, and is called again when the text was acted on.
    fn read(&self, input: &mut Input, incoming: &mut Vec<Incoming>);
}

/// A wire format by its index in the table that [`Dispatcher::start`](super::Dispatcher::start) got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format(pub u8);
