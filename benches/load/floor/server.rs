//! The process that is the floor: one thread, one write for each delivery.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::ops::ControlFlow;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::{ALL, FEED};

/// What a client gets at once: that it is connected, and that its subscriptions are in force.
const WELCOME: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\r\n\
    event: rig.subscriptions_set\ndata: {}\n\n";
/// What stands before the number of a client in the subscriptions of its request.
const TO: &str = "%22to%22%3A%22";
/// The token of the listener; connections have their places.
const LISTENER: Token = Token(usize::MAX);

/// Serves on a free port, which is written to standard output, until the feed ends.
pub(crate) fn serve() -> anyhow::Result<()> {
    let poll = Poll::new()?;
    let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("{}", listener.local_addr()?);
    let mut server = Server {
        poll,
        listener,
        sockets: Slab::new(),
        is_client: Vec::new(),
        by_number: HashMap::new(),
        feed: None,
        unread: Vec::new(),
        scratch: vec![0; 256 * 1024],
    };
    let mut events = Events::with_capacity(1024);
    loop {
        server.poll.poll(&mut events, None)?;
        for event in &events {
            let went_on = match event.token() {
                LISTENER => server.accept().map(ControlFlow::Continue)?,
                Token(place) => server.read(place),
            };
            if went_on.is_break() {
                return Ok(());
            }
        }
    }
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    sockets: Slab<TcpStream>,
    /// Whether the one at this place gets events.
    is_client: Vec<bool>,
    /// Where the client with a number is.
    by_number: HashMap<u64, usize>,
    /// Where the feed is.
    feed: Option<usize>,
    /// The beginning of a record of the feed whose end has not come.
    unread: Vec<u8>,
    scratch: Vec<u8>,
}

impl Server {
    fn accept(&mut self) -> std::io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((mut socket, _)) => {
                    socket.set_nodelay(true)?;
                    let entry = self.sockets.vacant_entry();
                    let (registry, token) = (self.poll.registry(), Token(entry.key()));
                    registry.register(&mut socket, token, Interest::READABLE)?;
                    entry.insert(socket);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what one has sent; ends when the feed has ended.
    fn read(&mut self, place: usize) -> ControlFlow<()> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut went_on = ControlFlow::Continue(());
        while let Some(socket) = self.sockets.get_mut(place) {
            match socket.read(&mut scratch) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) => {
                    if self.feed == Some(place) {
                        went_on = ControlFlow::Break(());
                    }
                    self.close(place);
                }
                Ok(count) => self.take(place, scratch.get(..count).unwrap_or_default()),
            }
        }
        self.scratch = scratch;
        went_on
    }

    fn take(&mut self, place: usize, bytes: &[u8]) {
        if self.feed == Some(place) {
            self.pass_on(bytes);
        } else if let Some(rest) = bytes.strip_prefix(FEED) {
            self.feed = Some(place);
            self.pass_on(rest);
        } else {
            // A request of these clients comes whole, as it is small.
            self.welcome(place, &String::from_utf8_lossy(bytes));
        }
    }

    fn welcome(&mut self, place: usize, request: &str) {
        if self.is_client.len() <= place {
            self.is_client.resize(place + 1, false);
        }
        if let Some(is_client) = self.is_client.get_mut(place) {
            *is_client = true;
        }
        let number = request.split_once(TO).and_then(|(_, rest)| {
            let (digits, _) = rest.split_once('%')?;
            digits.parse().ok()
        });
        if let Some(number) = number {
            self.by_number.insert(number, place);
        }
        self.write(place, WELCOME);
    }

    /// Writes the frames of all records that are there.
    fn pass_on(&mut self, bytes: &[u8]) {
        let mut unread = std::mem::take(&mut self.unread);
        unread.extend_from_slice(bytes);
        let mut rest = unread.as_slice();
        while let Some((to, frame, after)) = record(rest) {
            if to == ALL {
                for place in 0..self.is_client.len() {
                    if self.is_client.get(place) == Some(&true) {
                        self.write(place, frame);
                    }
                }
            } else if let Some(place) = self.by_number.get(&to) {
                self.write(*place, frame);
            }
            rest = after;
        }
        let read = unread.len() - rest.len();
        unread.drain(..read);
        self.unread = unread;
    }

    fn write(&mut self, place: usize, bytes: &[u8]) {
        let written = self.sockets.get_mut(place).map(|to| to.write(bytes));
        if !matches!(written, Some(Ok(count)) if count == bytes.len()) {
            self.close(place);
        }
    }

    fn close(&mut self, place: usize) {
        if let Some(is_client) = self.is_client.get_mut(place) {
            *is_client = false;
        }
        self.sockets.try_remove(place);
    }
}

/// Reads the first record: its audience, its frame, and what follows; `None` while it is cut off.
fn record(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (record, rest) = rest.split_at_checked(length)?;
    let (to, frame) = record.split_first_chunk()?;
    Some((u64::from_le_bytes(*to), frame, rest))
}
