//! Connections that are opened and held, over every way that there is; each reads what comes, and says
//! when the server closes it.

mod http2;
mod poll;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::certificate::{Certificate, Handshakes};
use crate::clients::{Client, Crowd, Door, Transport, target};
use crate::tally::Tally;

/// How many sockets are opened at a time.
const OPENING: usize = 64;
/// How long one may take to open.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many event streams one connection of HTTP/2 carries.
const STREAMS: usize = 100;
/// How long a poll waits: longer than anything here.
const LONG: &str = "30m";
/// What an instance sends when subscriptions are in force.
const SUBSCRIBED: &[u8] = b"rig.subscriptions_set";

/// How clients are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Way {
    /// Event streams over HTTP/1.1
    Sse,
    /// WebSockets over HTTP/1.1
    Ws,
    /// Polls that wait
    LongPoll,
    /// Event streams over HTTP/1.1 and TLS
    Tls,
    /// Event streams, 100 over each connection of HTTP/2
    H2c,
    /// The same over TLS
    H2,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sse => "SSE",
            Self::Ws => "WebSocket",
            Self::LongPoll => "long polls",
            Self::Tls => "SSE over TLS",
            Self::H2c => "SSE over HTTP/2",
            Self::H2 => "SSE over HTTP/2 and TLS",
        })
    }
}

impl Way {
    pub(crate) const fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::H2)
    }

    /// Returns what an instance is told so that it can be connected to in this way.
    pub(crate) fn settings(self, certificate: &Certificate) -> Vec<(&str, &str)> {
        let mut settings = vec![("LONGPOLL_TIMEOUT", LONG)];
        if self.is_encrypted() {
            settings.extend(certificate.settings());
        }
        settings
    }

    /// Returns how many event streams one connection carries.
    const fn streams(self) -> usize {
        match self {
            Self::H2c | Self::H2 => STREAMS,
            Self::Sse | Self::Ws | Self::LongPoll | Self::Tls => 1,
        }
    }
}

/// Where and how connections are opened.
pub(crate) struct Entrance {
    way: Way,
    server: SocketAddr,
    handshakes: Option<Handshakes>,
}

/// Reads until the server closes.
type Listening = Pin<Box<dyn Future<Output = ()>>>;

/// Open connections, closed when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    closed: Rc<Cell<usize>>,
    _tasks: JoinSet<()>,
}

impl Held {
    /// Opens connections, or streams where one connection carries many; all their subscriptions are in
    /// force when this returns.
    pub(crate) async fn open(
        entrance: &Entrance,
        count: usize,
        subscriptions: impl Fn(usize) -> String,
    ) -> anyhow::Result<Self> {
        let (streams, crowd) = (entrance.way.streams(), Crowd::new());
        let opened: Vec<Vec<Listening>> = futures_util::stream::iter((0..count).step_by(streams))
            .map(|first| {
                let numbers = first..count.min(first + streams);
                let wanted: Vec<String> = numbers.map(&subscriptions).collect();
                let from = crowd.address(first / streams);
                async move {
                    let opened = timeout(PATIENCE, entrance.open(from, &wanted)).await;
                    let opened = opened.context("not in time").and_then(|opened| opened);
                    opened.with_context(|| format!("connection {first}"))
                }
            })
            .buffer_unordered(OPENING)
            .try_collect()
            .await?;
        let closed = Rc::new(Cell::new(0));
        let mut tasks = JoinSet::new();
        for listening in opened.into_iter().flatten() {
            let closed = Rc::clone(&closed);
            tasks.spawn_local(async move {
                listening.await;
                closed.set(closed.get() + 1);
            });
        }
        Ok(Self {
            closed,
            _tasks: tasks,
        })
    }

    /// Returns how many the server has closed.
    pub(crate) fn closed(&self) -> usize {
        self.closed.get()
    }
}

impl Entrance {
    /// Returns the way to a server.
    pub(crate) fn new(
        way: Way,
        server: SocketAddr,
        certificate: &Certificate,
    ) -> anyhow::Result<Self> {
        let protocol = match way {
            Way::Tls => Some("http/1.1"),
            Way::H2 => Some("h2"),
            Way::Sse | Way::Ws | Way::LongPoll | Way::H2c => None,
        };
        let handshakes = protocol.map(|protocol| certificate.handshakes(protocol));
        Ok(Self {
            way,
            server,
            handshakes: handshakes.transpose()?,
        })
    }

    /// Opens one connection with a stream for each of these subscriptions.
    async fn open(&self, from: Ipv4Addr, wanted: &[String]) -> anyhow::Result<Vec<Listening>> {
        let first = wanted.first().context("nothing is wanted")?;
        if self.way == Way::Ws {
            let door = Door::new(self.server, Transport::Ws, first.clone()).from(from);
            let client = Client::open(door).await?;
            let scratch = Rc::new(RefCell::new(vec![0; 256]));
            let tally = Rc::new(RefCell::new(Tally::default()));
            return Ok(vec![Box::pin(client.listen(0, tally, scratch))]);
        }
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let socket = socket.connect(self.server).await?;
        let Some(handshakes) = &self.handshakes else {
            return match self.way {
                Way::LongPoll => Ok(vec![poll::wait(socket, self.server, first).await?]),
                Way::H2c => http2::open(socket, "http", wanted).await,
                Way::Sse | Way::Ws | Way::Tls | Way::H2 => {
                    Ok(vec![open_stream(socket, self.server, first).await?])
                }
            };
        };
        let socket = handshakes.over(socket).await?;
        if self.way == Way::H2 {
            http2::open(socket, "https", wanted).await
        } else {
            Ok(vec![open_stream(socket, self.server, first).await?])
        }
    }
}

/// Opens an event stream over HTTP/1.1.
async fn open_stream<S>(
    mut socket: S,
    server: SocketAddr,
    wanted: &str,
) -> anyhow::Result<Listening>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let target = target("sse", wanted);
    let request = format!("GET {target} HTTP/1.1\r\nhost: {server}\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    socket.flush().await?;
    let mut answer = Vec::new();
    while find(&answer, SUBSCRIBED).is_none() {
        let count = socket.read_buf(&mut answer).await?;
        ensure!(count > 0, "closed: {}", String::from_utf8_lossy(&answer));
    }
    Ok(Box::pin(async move {
        let mut scratch = [0; 256];
        while matches!(socket.read(&mut scratch).await, Ok(1..)) {}
    }))
}

/// Returns where `wanted` begins in `bytes`.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}
