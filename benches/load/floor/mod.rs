//! The floor: the least that a server of event streams can do, to compare an instance with.
//!
//! ```text
//! feed (this process) ─frames with their audience─▶ floor (child: one thread) ─one write each─▶ clients
//! ```
//!
//! It parses nothing but the number of the client, keeps nothing but the sockets, and writes ready
//! frames of the size of the gateway's: what it costs is what the kernel costs. A client for which the
//! kernel has no space is closed, which counts as a fault.

mod server;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;

pub(crate) use server::serve;

use crate::event::Stamp;
use crate::producer::Plan;
use crate::tally::Audience;

/// What the feed says in place of a request.
const FEED: &[u8] = b"FEED\n";
/// The audience of an event for all.
const ALL: u64 = u64::MAX;

/// A running floor, stopped by its id when dropped.
#[derive(Debug)]
pub(crate) struct Floor {
    child: Child,
    address: SocketAddr,
    feed: Feed,
}

/// Sends events to a floor. Cheap to clone; for one thread at a time.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    socket: Arc<TcpStream>,
    frame_bytes: usize,
}

impl Floor {
    /// Starts this program again as a floor whose frames are `frame_bytes` long.
    pub(crate) fn start(frame_bytes: usize) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--bench", "--serve-floor"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start the floor")?;
        let connected = Self::connect(&mut child);
        match connected {
            Ok((address, socket)) => Ok(Self {
                child,
                address,
                feed: Feed {
                    socket: Arc::new(socket),
                    frame_bytes,
                },
            }),
            Err(error) => {
                child.kill().and_then(|()| child.wait())?;
                Err(error)
            }
        }
    }

    fn connect(child: &mut Child) -> anyhow::Result<(SocketAddr, TcpStream)> {
        let output = child.stdout.take().context("the floor has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().context("the floor has no address")?;
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.write_all(FEED)?;
        Ok((address, socket))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn feed(&self) -> Feed {
        self.feed.clone()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("could not stop the process {}: {error}", self.child.id());
        }
    }
}

impl Feed {
    /// Sends what `plan` says; returns how many events were sent.
    ///
    /// Blocks: for a thread of its own.
    pub(crate) fn run(&self, plan: &Plan) -> anyhow::Result<u64> {
        plan.follow(|stamp| Ok((&*self.socket).write_all(&self.record(stamp, plan.audience))?))
    }

    /// Returns the length of what follows, the audience and the frame.
    fn record(&self, stamp: Stamp, audience: Audience) -> Vec<u8> {
        let to = audience.to(stamp.number);
        let event = stamp.event(audience.event_type(), to);
        let frame = frame(&event, self.frame_bytes);
        let to = match audience {
            Audience::All(_) => ALL,
            Audience::One(_) => to,
        };
        let length = u32::try_from(size_of::<u64>() + frame.len()).unwrap_or(u32::MAX);
        let mut record = length.to_le_bytes().to_vec();
        record.extend(to.to_le_bytes());
        record.extend(frame.as_bytes());
        record
    }
}

/// Returns a block of an event stream, as long as said where the event fits, with a cursor of ones.
fn frame(event: &str, bytes: usize) -> String {
    let around = "id: \ndata: \n\n".len();
    let cursor = "1".repeat(bytes.saturating_sub(around + event.len()));
    format!("id: {cursor}\ndata: {event}\n\n")
}
