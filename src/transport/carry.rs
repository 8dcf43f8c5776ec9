//! Carries the bytes of a stream between a shard's pipe and a client that TLS or HTTP/2 stands before.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::Sleep;

use crate::dispatch::ClientEnd;
use crate::http::Duplex;

/// How long the last bytes of a stream may take when its shard has forgotten it already.
const TAIL: Duration = Duration::from_secs(30);
/// How long a client may take for the end of TLS when its connection has ended otherwise.
const FAREWELL: Duration = Duration::from_secs(1);
/// How much is read at a time.
const READ_BYTES: usize = 2 * 1024;

/// Copies in both directions until the shard ends the connection and the client has everything, or
/// one of them is gone.
///
/// A client that stops taking bytes is the shard's to judge, as on a socket: its pipe is full then.
pub(super) async fn carry(mut link: Box<dyn Duplex>, client: ClientEnd) {
    let mut carrier = Carrier {
        client,
        to_write: Bytes::new(),
        is_flushed: true,
        is_ended: false,
        is_shut_down: false,
        sends: true,
        tail: None,
    };
    let ended = poll_fn(|cx| carrier.poll(cx, Pin::new(&mut link))).await;
    let can_take_more = carrier.to_write.is_empty() && carrier.is_flushed;
    // Before the farewell, so that the shard learns at once that the client is gone.
    drop(carrier);
    match ended {
        Err(error) => tracing::debug!(%error, "a stream broke"),
        Ok(Ended::Complete) => {}
        Ok(Ended::GivenUp) if can_take_more => {
            if let Ok(Err(error)) = tokio::time::timeout(FAREWELL, link.shutdown()).await {
                tracing::debug!(%error, "a stream ended without a farewell");
            }
        }
        Ok(Ended::GivenUp) => {}
    }
}

/// How a connection ended.
enum Ended {
    /// The client got all that there was for it, and the end.
    Complete,
    /// The shard has given it up.
    GivenUp,
}

struct Carrier {
    client: ClientEnd,
    /// What was taken from the shard and is not written yet.
    to_write: Bytes,
    is_flushed: bool,
    /// The shard writes no more.
    is_ended: bool,
    is_shut_down: bool,
    /// The client may still send.
    sends: bool,
    /// Runs once nobody watches the client's pace any more.
    tail: Option<Pin<Box<Sleep>>>,
}

impl Carrier {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut link: Pin<&mut Box<dyn Duplex>>,
    ) -> Poll<io::Result<Ended>> {
        if let Poll::Ready(given_up) = self.poll_write(cx, link.as_mut())? {
            return Poll::Ready(Ok(given_up));
        }
        if self.client.is_aborted() {
            return Poll::Ready(Ok(Ended::GivenUp));
        }
        let heard = self.poll_read(cx, link)?;
        let is_unwatched = self.client.is_unwatched();
        if self.is_shut_down && (heard.is_ready() || is_unwatched) {
            return Poll::Ready(Ok(Ended::Complete));
        }
        if is_unwatched {
            let tail = self
                .tail
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(TAIL)));
            return tail.as_mut().poll(cx).map(|()| Ok(Ended::GivenUp));
        }
        Poll::Pending
    }

    /// Writes what the shard has for the client; ready when the shard has given the connection up.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut link: Pin<&mut Box<dyn Duplex>>,
    ) -> Poll<io::Result<Ended>> {
        while !self.is_ended || !self.to_write.is_empty() {
            if self.to_write.is_empty() {
                match self.client.poll_take(cx) {
                    Poll::Ready(Some(Ok(bytes))) => self.to_write = bytes,
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Ok(Ended::GivenUp)),
                    Poll::Ready(None) => self.is_ended = true,
                    Poll::Pending => break,
                }
                continue;
            }
            let count = ready!(link.as_mut().poll_write(cx, &self.to_write))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.to_write.advance(count);
            self.is_flushed = false;
        }
        if !self.is_flushed {
            ready!(link.as_mut().poll_flush(cx))?;
            self.is_flushed = true;
        }
        if self.is_ended && !self.is_shut_down {
            ready!(link.as_mut().poll_shutdown(cx))?;
            self.is_shut_down = true;
        }
        Poll::Pending
    }

    /// Hands on what the client sends; ready when it sends no more.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut link: Pin<&mut Box<dyn Duplex>>,
    ) -> Poll<io::Result<()>> {
        while self.sends {
            let Ok(room) = ready!(self.client.poll_room(cx)) else {
                return Poll::Ready(Ok(()));
            };
            let mut scratch = [0; READ_BYTES];
            let part = scratch.get_mut(..room.min(READ_BYTES)).unwrap_or_default();
            let mut buffer = ReadBuf::new(part);
            ready!(link.as_mut().poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                self.client.end();
                self.sends = false;
            } else {
                self.client.give(buffer.filled());
            }
        }
        Poll::Ready(Ok(()))
    }
}
