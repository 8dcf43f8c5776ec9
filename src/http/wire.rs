//! The socket under hyper, and what it tells about the connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::framing::{Framing, HeadWatch};
use super::limits::HttpLimits;
use super::reply::TakeOver;

/// What the connection is doing, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Accepted; no byte has come.
    Opened,
    /// Bytes of a request have come, but not all of its head.
    ReadingHead,
    /// The handler has the request.
    Handling,
    /// Answered; the next request may come.
    Idle,
}

/// Why the connection is closed by a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// No byte came.
    Silent,
    /// The head did not become complete.
    SlowHead,
    /// No further request came; not the client's fault.
    Idle,
    /// The client takes no bytes.
    SlowReader,
}

impl Expired {
    /// Returns the label value of the metric of refused connections.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "first_byte_timeout",
            Self::SlowHead => "header_timeout",
            Self::Idle => "idle_timeout",
            Self::SlowReader => "write_timeout",
        }
    }
}

/// The state that the connection task, the service and the socket share.
///
/// All of them run on the same task, so the lock is never contended; it only makes the state `Sync`.
#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<State>>);

struct State {
    stage: Stage,
    since: Instant,
    /// When the kernel's buffer was found full; `None` when the last write made progress.
    blocked_since: Option<Instant>,
    /// Whether all that hyper wrote is in the kernel.
    is_flushed: bool,
    is_shut_down: bool,
    saw_end: bool,
    heads: HeadWatch,
    take_over: Option<TakeOver>,
}

impl Wire {
    /// Starts with a connection that was accepted just now.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            stage: Stage::Opened,
            since: Instant::now(),
            blocked_since: None,
            is_flushed: true,
            is_shut_down: false,
            saw_end: false,
            heads: HeadWatch::default(),
            take_over: None,
        })))
    }

    pub(super) fn stage(&self) -> Stage {
        self.0.lock().stage
    }

    /// Notes that hyper hands out a request, and returns how its length was declared.
    pub(super) fn begin_request(&self, body_bytes: u64) -> Framing {
        let mut state = self.0.lock();
        state.enter(Stage::Handling);
        state.heads.take_head(body_bytes)
    }

    /// Notes that the handler has answered.
    pub(super) fn end_request(&self) {
        self.0.lock().enter(Stage::Idle);
    }

    /// Leaves the function that gets the socket as soon as everything written is in the kernel.
    pub(super) fn request_take_over(&self, take_over: TakeOver) {
        self.0.lock().take_over = Some(take_over);
    }

    /// Returns that function when its time has come.
    ///
    /// To be called after hyper was polled and is pending: hyper flushes at the end of each poll, so if the last
    /// flush went through, its write buffer is empty.
    pub(super) fn ready_take_over(&self) -> Option<TakeOver> {
        let mut state = self.0.lock();
        if state.is_flushed {
            state.take_over.take()
        } else {
            None
        }
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.0.lock().is_flushed
    }

    /// Returns whether the write side was shut down.
    pub(super) fn is_shut_down(&self) -> bool {
        self.0.lock().is_shut_down
    }

    /// Returns whether the client has closed its side.
    pub(super) fn saw_end(&self) -> bool {
        self.0.lock().saw_end
    }

    /// Returns when the connection has to be closed, and why, if nothing happens until then.
    pub(super) fn deadline(&self, limits: &HttpLimits) -> Option<(Instant, Expired)> {
        let state = self.0.lock();
        let after = |since: Instant, limit: Duration, expired| Some((since + limit, expired));
        if let Some(since) = state.blocked_since {
            return after(since, limits.http_write_timeout, Expired::SlowReader);
        }
        match state.stage {
            Stage::Opened => after(state.since, limits.http_first_byte_timeout, Expired::Silent),
            Stage::ReadingHead => after(state.since, limits.http_header_timeout, Expired::SlowHead),
            Stage::Idle => after(state.since, limits.http_idle_timeout, Expired::Idle),
            Stage::Handling => None,
        }
    }
}

impl State {
    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.since = Instant::now();
    }

    fn note_read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.saw_end = true;
            return;
        }
        if matches!(self.stage, Stage::Opened | Stage::Idle) {
            self.enter(Stage::ReadingHead);
        }
        self.heads.record(bytes);
    }

    fn note_write(&mut self, made_progress: bool) {
        self.is_flushed = false;
        if made_progress {
            self.blocked_since = None;
            if self.stage == Stage::Idle {
                // The time to the next request counts from the end of the answer.
                self.since = Instant::now();
            }
        } else if self.blocked_since.is_none() {
            self.blocked_since = Some(Instant::now());
        }
    }
}

/// A socket that reports to a [`Wire`].
pub(super) struct WatchedSocket {
    stream: TcpStream,
    wire: Wire,
}

impl WatchedSocket {
    pub(super) const fn new(stream: TcpStream, wire: Wire) -> Self {
        Self { stream, wire }
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.wire
            .0
            .lock()
            .note_read(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WatchedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wire.0.lock().note_write(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wire.0.lock().note_write(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.wire.0.lock().is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.0.lock().is_shut_down = true;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
