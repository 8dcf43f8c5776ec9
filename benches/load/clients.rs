//! The clients: one task and one socket each, all on one thread, without a buffer of their own while
//! nothing is cut off.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::event::Stamp;
use crate::tally::{Book, Tally};

/// How many connections are opened at a time.
const OPENING: usize = 64;
/// How long one connection may take to open.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many clients connect from one address.
const CLIENTS_PER_ADDRESS: usize = 10_000;
/// How much the kernel keeps for a client that reads nothing.
const NARROW_BYTES: u32 = 32 * 1024;
/// A masked pong without payload.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// How clients connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Sse,
    Ws,
}

/// Open connections, closed when dropped.
#[derive(Debug)]
pub(crate) struct Clients {
    tally: Rc<RefCell<Tally>>,
    _tasks: JoinSet<()>,
}

impl Clients {
    /// Opens `count` connections; all their subscriptions are in force when this returns.
    pub(crate) async fn open(
        server: SocketAddr,
        transport: Transport,
        count: usize,
        subscriptions: impl Fn(usize) -> String,
    ) -> anyhow::Result<Self> {
        let crowd = Crowd::new();
        let opened: Vec<(usize, Client)> = futures_util::stream::iter(0..count)
            .map(|number| {
                let door = Door::new(server, transport, subscriptions(number));
                let opening = Client::open(door.from(crowd.address(number)));
                async move {
                    let client = tokio::time::timeout(PATIENCE, opening).await;
                    let client = client.context("not in time").and_then(|opened| opened);
                    anyhow::Ok((
                        number,
                        client.with_context(|| format!("connection {number}"))?,
                    ))
                }
            })
            .buffer_unordered(OPENING)
            .try_collect()
            .await?;
        let tally = Rc::new(RefCell::new(Tally::default()));
        let scratch = Rc::new(RefCell::new(vec![0; 64 * 1024]));
        let mut tasks = JoinSet::new();
        for (number, client) in opened {
            tasks.spawn_local(client.listen(number, Rc::clone(&tally), Rc::clone(&scratch)));
        }
        Ok(Self {
            tally,
            _tasks: tasks,
        })
    }

    /// Returns what they have received; borrowed only between awaits.
    pub(crate) fn tally(&self) -> &RefCell<Tally> {
        &self.tally
    }
}

/// The addresses of clients that are opened together: others than those of all earlier ones, as ports
/// stay taken for a minute after their connections, and enough of them that ports suffice.
#[derive(Debug)]
pub(crate) struct Crowd(u8);

impl Crowd {
    pub(crate) fn new() -> Self {
        static CROWDS: AtomicU8 = AtomicU8::new(0);
        Self(CROWDS.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns where a client connects from; all of 127.0.0.0/8 is loopback.
    pub(crate) fn address(&self, number: usize) -> Ipv4Addr {
        let part = u8::try_from(number / CLIENTS_PER_ADDRESS).unwrap_or(u8::MAX);
        Ipv4Addr::new(127, self.0, part, 2)
    }
}

/// How one connection is opened.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    server: SocketAddr,
    transport: Transport,
    subscriptions: String,
    cursor: Option<String>,
    source: Option<Ipv4Addr>,
    is_narrow: bool,
}

impl Door {
    pub(crate) const fn new(
        server: SocketAddr,
        transport: Transport,
        subscriptions: String,
    ) -> Self {
        Self {
            server,
            transport,
            subscriptions,
            cursor: None,
            source: None,
            is_narrow: false,
        }
    }

    /// Connects from an address of this machine.
    pub(crate) const fn from(mut self, source: Ipv4Addr) -> Self {
        self.source = Some(source);
        self
    }

    /// Goes on after a cursor.
    pub(crate) fn after(mut self, cursor: &str) -> Self {
        self.cursor = Some(cursor.to_owned());
        self
    }

    /// Lets the kernel keep little that is not read.
    pub(crate) const fn narrow(mut self) -> Self {
        self.is_narrow = true;
        self
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(source) = self.source {
            socket.bind((source, 0).into())?;
        }
        if self.is_narrow {
            socket.set_recv_buffer_size(NARROW_BYTES)?;
        }
        socket.connect(self.server).await
    }

    fn request(&self) -> String {
        let (path, headers) = match self.transport {
            Transport::Sse => ("sse", ""),
            Transport::Ws => (
                "ws",
                "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ),
        };
        let server = self.server;
        let target = target(path, &self.subscriptions);
        let cursor = match &self.cursor {
            Some(cursor) => format!("last-event-id: {cursor}\r\n"),
            None => String::new(),
        };
        format!("GET {target} HTTP/1.1\r\nhost: {server}\r\n{headers}{cursor}\r\n")
    }
}

/// Returns what is asked for to connect with these subscriptions.
pub(crate) fn target(path: &str, subscriptions: &str) -> String {
    let query = utf8_percent_encode(subscriptions, NON_ALPHANUMERIC);
    format!("/_rig/v1/connection/{path}?subscriptions={query}")
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    transport: Transport,
    socket: TcpStream,
    /// What was read with the head, then the beginning of a frame whose end has not come.
    unread: Vec<u8>,
    /// The cursor that came with its subscriptions; empty on a WebSocket.
    pub(crate) cursor: String,
}

impl Client {
    /// Opens a connection; its subscriptions are in force when this returns.
    pub(crate) async fn open(door: Door) -> anyhow::Result<Self> {
        let mut socket = door.connect().await?;
        socket.write_all(door.request().as_bytes()).await?;
        let mut client = Self {
            transport: door.transport,
            socket,
            unread: Vec::new(),
            cursor: String::new(),
        };
        client
            .read_head(match door.transport {
                Transport::Sse => "HTTP/1.1 200 ",
                Transport::Ws => "HTTP/1.1 101 ",
            })
            .await?;
        client.read_until_subscribed().await?;
        client.unread.shrink_to_fit();
        Ok(client)
    }

    async fn read_head(&mut self, status: &str) -> anyhow::Result<()> {
        let end = loop {
            if let Some(at) = self
                .unread
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n")
            {
                break at + 4;
            }
            self.read_more().await?;
        };
        let is_expected = self.unread.starts_with(status.as_bytes());
        ensure!(
            is_expected,
            "refused: {}",
            String::from_utf8_lossy(&self.unread)
        );
        self.unread.drain(..end);
        Ok(())
    }

    async fn read_until_subscribed(&mut self) -> anyhow::Result<()> {
        let name = b"rig.subscriptions_set";
        loop {
            while let Some(frame) = Frame::first(self.transport, &self.unread) {
                let is_it = frame.payload.windows(name.len()).any(|bytes| bytes == name);
                let length = frame.length;
                self.cursor = cursor_of(frame.payload);
                self.unread.drain(..length);
                if is_it {
                    return Ok(());
                }
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> anyhow::Result<()> {
        if self.socket.read_buf(&mut self.unread).await? == 0 {
            bail!("closed: {}", String::from_utf8_lossy(&self.unread));
        }
        Ok(())
    }

    /// Reads until the server closes.
    pub(crate) async fn listen<B: Book>(
        mut self,
        number: usize,
        tally: Rc<RefCell<B>>,
        scratch: Rc<RefCell<Vec<u8>>>,
    ) {
        // A replay may have begun with the head.
        self.take(&[], number, &mut *tally.borrow_mut());
        while self.socket.readable().await.is_ok() {
            // So that one that always has something to read leaves the others their turns.
            tokio::task::coop::consume_budget().await;
            let mut scratch = scratch.borrow_mut();
            match self.socket.try_read(&mut scratch) {
                Ok(0) => break,
                Ok(count) => {
                    let bytes = scratch.get(..count).unwrap_or_default();
                    let mut tally = tally.borrow_mut();
                    tally.on_read(count);
                    self.take(bytes, number, &mut *tally);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        tally.borrow_mut().on_closed();
    }

    fn take(&mut self, bytes: &[u8], number: usize, tally: &mut impl Book) {
        let mut unread = std::mem::take(&mut self.unread);
        let mut rest = if unread.is_empty() {
            bytes
        } else {
            unread.extend_from_slice(bytes);
            &unread
        };
        while let Some(frame) = Frame::first(self.transport, rest) {
            if frame.is_ping && self.socket.try_write(&PONG).is_err() {
                // The server will close the connection, and that is counted.
                break;
            }
            if let Some(stamp) = Stamp::read(frame.payload) {
                tally.on_event(number, stamp);
            }
            rest = rest.get(frame.length..).unwrap_or_default();
        }
        self.unread = rest.to_vec();
    }
}

/// Returns the cursor of a block of an event stream, if it has one.
fn cursor_of(block: &[u8]) -> String {
    let mut lines = block.split(|byte| *byte == b'\n');
    let cursor = lines.find_map(|line| line.strip_prefix(b"id: "));
    String::from_utf8_lossy(cursor.unwrap_or_default()).into_owned()
}

/// Returns where the first two ends of lines follow each other; looks at every second byte, as one of
/// the two is among them.
fn empty_line(bytes: &[u8]) -> Option<usize> {
    let is_end = |at: usize| bytes.get(at) == Some(&b'\n');
    (1..bytes.len()).step_by(2).find_map(|at| {
        if !is_end(at) {
            None
        } else if is_end(at - 1) {
            Some(at - 1)
        } else {
            is_end(at + 1).then_some(at)
        }
    })
}

/// A block of an event stream, or a frame of a WebSocket.
#[derive(Debug)]
struct Frame<'a> {
    payload: &'a [u8],
    /// How many bytes it takes with everything around the payload.
    length: usize,
    is_ping: bool,
}

impl<'a> Frame<'a> {
    /// Reads the frame that `bytes` begin with; `None` while it is cut off.
    fn first(transport: Transport, bytes: &'a [u8]) -> Option<Self> {
        match transport {
            Transport::Sse => {
                let end = empty_line(bytes)?;
                Some(Self {
                    payload: bytes.get(..end)?,
                    length: end + 2,
                    is_ping: false,
                })
            }
            Transport::Ws => {
                let (head, short) = (*bytes.first()?, *bytes.get(1)?);
                let (start, size): (usize, usize) = match short {
                    126 => (
                        4,
                        usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
                    ),
                    127 => {
                        let size = u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
                        (10, usize::try_from(size).ok()?)
                    }
                    size => (2, usize::from(size)),
                };
                let payload = bytes.get(start..start.checked_add(size)?)?;
                Some(Self {
                    payload,
                    length: start + size,
                    is_ping: head == 0x89,
                })
            }
        }
    }
}
