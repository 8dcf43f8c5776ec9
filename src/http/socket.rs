//! The socket, or the TLS over it, as hyper reads and writes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::ending::notice_vanished_peers;
use super::reply::Link;
use super::wire::Wire;

/// The first bytes of a client that speaks HTTP/2 without asking (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that was accepted: a socket, or TLS over one.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Returns the socket itself, to set its options.
    fn socket(&self) -> &TcpStream;

    /// Gives the connection to whoever goes on with it.
    fn into_link(self) -> io::Result<Link>;
}

impl Io for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }

    fn into_link(self) -> io::Result<Link> {
        self.into_std().map(Link::Socket)
    }
}

impl Io for Box<tokio_rustls::server::TlsStream<TcpStream>> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }

    fn into_link(self) -> io::Result<Link> {
        Ok(Link::Carried(self))
    }
}

/// How much of what a client sends is read before its turn, so that its end is noticed.
pub(super) const READ_AHEAD_BYTES: usize = 256;

/// Reads what is there, a little at most; 0 at the end.
pub(super) fn read_some<S: Io>(
    stream: &mut S,
    unread: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut space = [0; READ_AHEAD_BYTES];
    let mut buffer = ReadBuf::new(&mut space);
    Pin::new(stream).poll_read(cx, &mut buffer).map_ok(|()| {
        unread.extend_from_slice(buffer.filled());
        buffer.filled().len()
    })
}

/// An [`Io`] that reports to a [`Wire`].
pub(super) struct WatchedSocket<S> {
    stream: S,
    wire: Wire,
    /// Bytes that were read from the stream, and not by hyper yet.
    unread: Bytes,
    /// hyper waits for bytes, so that it sees the end itself.
    is_awaited: bool,
    /// Bytes were read while hyper did not ask for any.
    has_read_ahead: bool,
    /// The first bytes may still be a part of [`PREFACE`].
    is_opening: bool,
}

impl<S: Io> WatchedSocket<S> {
    /// Watches a connection from which nothing was read.
    ///
    /// hyper gets a preface of HTTP/2 in one piece, so that it knows it for one.
    pub(super) const fn new(stream: S, wire: Wire) -> Self {
        Self {
            stream,
            wire,
            unread: Bytes::new(),
            is_awaited: false,
            has_read_ahead: false,
            is_opening: true,
        }
    }

    /// Watches a connection from which these bytes were read.
    pub(super) const fn resumed(stream: S, unread: Bytes, wire: Wire) -> Self {
        Self {
            stream,
            wire,
            unread,
            is_awaited: false,
            has_read_ahead: false,
            is_opening: false,
        }
    }

    /// Returns the stream, and what was read from it and not by hyper.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.unread)
    }

    /// Looks whether the client has ended its side, while hyper, which handles a request, does not read.
    ///
    /// What the client sends comes before its end: a little is read ahead, and hyper gets it in its place.
    fn watch(&mut self, cx: &mut Context<'_>) {
        if let Some(patience) = self.wire.take_kernel_patience() {
            notice_vanished_peers(self.stream.socket(), patience);
        }
        while self.unread.len() < READ_AHEAD_BYTES {
            let mut unread = BytesMut::new();
            match read_some(&mut self.stream, &mut unread, cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(ended) => {
                    tracing::debug!(?ended, "a client left before its answer");
                    self.wire.note_gone();
                    return;
                }
            }
            self.unread = [&*self.unread, &*unread].concat().into();
            self.has_read_ahead = true;
        }
    }

    fn poll_any(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_opening {
            ready!(self.poll_opening(cx, buffer))?;
            self.is_opening = false;
            return Poll::Ready(Ok(()));
        }
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(count));
        Poll::Ready(Ok(()))
    }

    /// Reads until it is clear whether the client begins with the preface.
    fn poll_opening(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        loop {
            buffer.set_filled(start);
            buffer.put_slice(&self.unread);
            // While this is pending, what came so far is kept in `unread`.
            let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
            if !matches!(read, Poll::Ready(Ok(()))) {
                buffer.set_filled(start);
                return read;
            }
            let seen = buffer.filled().get(start..).unwrap_or_default();
            let is_end = seen.len() == self.unread.len();
            let is_undecided = seen.len() < PREFACE.len() && PREFACE.starts_with(seen);
            if is_end || !is_undecided || buffer.remaining() == 0 {
                self.unread = Bytes::new();
                return Poll::Ready(Ok(()));
            }
            self.unread = Bytes::copy_from_slice(seen);
        }
    }
}

impl<S: Io> AsyncRead for WatchedSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = self.poll_any(cx, buffer);
        self.is_awaited = polled.is_pending();
        ready!(polled).inspect_err(|_| self.wire.note_gone())?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        self.wire.note_read(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: Io> AsyncWrite for WatchedSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wire.note_write(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wire.note_write(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS takes bytes before the socket does; a flush that waits is a client that takes nothing.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        match &flushed {
            Poll::Ready(Ok(())) => {
                // At the end of each poll of hyper.
                let has_to_watch = self.wire.note_flushed(cx);
                if has_to_watch && !self.is_awaited {
                    self.watch(cx);
                } else if !has_to_watch && std::mem::take(&mut self.has_read_ahead) {
                    cx.waker().wake_by_ref();
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.wire.note_write(false),
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.note_shut_down();
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
