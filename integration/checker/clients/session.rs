//! One connection of a client, whatever its transport.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

use super::Transport;
use super::poll::{Poll, Polling};
use super::sse::SseSession;
use super::ws::WsSession;

/// How much the kernel keeps for a client that does not read.
const WINDOW_BYTES: u32 = 32 * 1024;

/// Why a connection is over.
#[derive(Debug)]
pub enum Broken {
    /// It ended, or was cut; faults do that.
    Cut,
    /// It was refused with a status that no fault explains.
    Refused(String),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Cut
    }
}

/// What came as a whole: events, and the cursor after them.
#[derive(Debug, Default)]
pub struct Batch {
    pub events: Vec<Value>,
    pub cursor: Option<String>,
    /// Whether a client that polls was greeted as a new one, and is none.
    pub is_anew: bool,
}

/// An open connection.
#[derive(Debug)]
pub enum Session {
    Sse(SseSession),
    Ws(Box<WsSession>),
    Poll(Polling),
}

impl Session {
    /// Connects with the cursor of the last whole frame.
    ///
    /// # Errors
    /// [`Broken`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; nothing was received.
    pub async fn open(
        transport: Transport,
        address: SocketAddr,
        query: String,
        cursor: Option<String>,
    ) -> Result<Self, Broken> {
        Ok(match transport {
            Transport::Sse => Self::Sse(SseSession::open(address, &query, cursor).await?),
            Transport::Ws => Self::Ws(Box::new(WsSession::open(address, &query, cursor).await?)),
            Transport::LongPolling => Self::Poll(Polling::new(address, query, cursor)),
        })
    }

    /// Returns what comes next; a frame that is cut never does.
    ///
    /// # Errors
    /// [`Broken`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing of a stream. A poll that is dropped has to be asked again.
    pub async fn next(&mut self, poll: &mut Poll) -> Result<Batch, Broken> {
        match self {
            Self::Sse(session) => session.next().await,
            Self::Ws(session) => session.next().await,
            Self::Poll(session) => session.next(poll).await,
        }
    }
}

/// Connects a socket that takes little that is not read.
///
/// # Errors
/// Where nobody answers.
pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(WINDOW_BYTES)?;
    socket.connect(address).await
}

/// Judges a status that is not that of success.
pub fn refused(status: u16, body: &[u8], cursor: Option<&str>) -> Broken {
    // Kafka is away, or the instance is about to go.
    if matches!(status, 429 | 503 | 504) {
        return Broken::Cut;
    }
    let body = String::from_utf8_lossy(body);
    Broken::Refused(format!("was answered {status} to {cursor:?}: {body}"))
}
