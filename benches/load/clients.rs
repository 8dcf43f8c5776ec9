//! The clients: one task and one socket each, all on one thread, without a buffer of their own while
//! nothing is cut off.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::event::Stamp;
use crate::tally::Tally;

/// How many connections are opened at a time.
const OPENING: usize = 64;
/// How long one connection may take to open.
const PATIENCE: Duration = Duration::from_secs(15);
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
    tasks: JoinSet<()>,
}

impl Clients {
    /// Opens `count` connections; all their subscriptions are in force when this returns.
    pub(crate) async fn open(
        server: SocketAddr,
        transport: Transport,
        count: usize,
        subscriptions: impl Fn(usize) -> String,
    ) -> anyhow::Result<Self> {
        let opened: Vec<(usize, Client)> = futures_util::stream::iter(0..count)
            .map(|number| {
                let opening = Client::open(server, transport, subscriptions(number));
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
        Ok(Self { tally, tasks })
    }

    /// Returns how many are open.
    pub(crate) fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Returns what they have received; borrowed only between awaits.
    pub(crate) fn tally(&self) -> &RefCell<Tally> {
        &self.tally
    }
}

/// One connection.
#[derive(Debug)]
struct Client {
    transport: Transport,
    socket: TcpStream,
    /// The beginning of a frame whose end has not come.
    unread: Vec<u8>,
}

impl Client {
    async fn open(
        server: SocketAddr,
        transport: Transport,
        subscriptions: String,
    ) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(server).await?;
        let (path, status, headers) = match transport {
            Transport::Sse => ("sse", "HTTP/1.1 200 ", ""),
            Transport::Ws => (
                "ws",
                "HTTP/1.1 101 ",
                "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ),
        };
        let query = utf8_percent_encode(&subscriptions, NON_ALPHANUMERIC);
        let request = format!(
            "GET /_rig/v1/connection/{path}?subscriptions={query} HTTP/1.1\r\nhost: {server}\r\n{headers}\r\n"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut client = Self {
            transport,
            socket,
            unread: Vec::new(),
        };
        client.read_head(status).await?;
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
    async fn listen(
        mut self,
        number: usize,
        tally: Rc<RefCell<Tally>>,
        scratch: Rc<RefCell<Vec<u8>>>,
    ) {
        while self.socket.readable().await.is_ok() {
            let mut scratch = scratch.borrow_mut();
            match self.socket.try_read(&mut scratch) {
                Ok(0) => break,
                Ok(count) => {
                    let bytes = scratch.get(..count).unwrap_or_default();
                    self.take(bytes, number, &mut tally.borrow_mut());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        tally.borrow_mut().on_closed();
    }

    fn take(&mut self, bytes: &[u8], number: usize, tally: &mut Tally) {
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
                let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
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
