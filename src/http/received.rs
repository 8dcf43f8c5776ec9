//! The body of a request as it comes from the client.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::body_memory::HeldMemory;
use super::error::HttpError;
use super::idle::IdleTimer;
use super::unread::Http2Body;
use super::wire::Wire;

/// Where the body of a request comes from; its end is one only where the client said so.
#[derive(Debug)]
pub(super) enum Source {
    /// HTTP/1.1, where hyper knows an end from an early one, and the connection wants to know the end, too.
    Http1(Incoming, Wire),
    /// HTTP/2.
    Http2(Http2Body),
    Memory(Full<Bytes>),
    Taken,
}

impl HttpBody for Source {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Http1(body, wire) => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                let is_data = matches!(&frame, Some(Ok(frame)) if frame.is_data());
                if !is_data || body.is_end_stream() {
                    wire.end_body(!matches!(frame, Some(Err(_))));
                }
                Poll::Ready(frame.map(|frame| frame.map_err(io_error)))
            }
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
            Self::Memory(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Taken => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body, _) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Memory(body) => body.is_end_stream(),
            Self::Taken => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body, _) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
            Self::Memory(body) => body.size_hint(),
            Self::Taken => SizeHint::with_exact(0),
        }
    }
}

/// Says with the kind whether the body ended early, or is framed wrongly.
pub(super) fn io_error(error: hyper::Error) -> io::Error {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    let kind = match cause.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
            io::ErrorKind::InvalidData
        }
        _ => io::ErrorKind::UnexpectedEof,
    };
    io::Error::new(kind, error)
}

/// A [`Source`] that fails when nothing comes for too long while somebody waits for it.
pub(super) struct Received {
    source: Source,
    idle: IdleTimer,
}

impl Received {
    pub(super) const fn new(source: Source, patience: Duration) -> Self {
        Self {
            source,
            idle: IdleTimer::new(patience),
        }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = match Pin::new(&mut self.source).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.idle.stop();
                frame
            }
            Poll::Pending => {
                ready!(self.idle.poll(cx));
                Some(Err(io::ErrorKind::TimedOut.into()))
            }
        };
        if matches!(frame, Some(Err(_))) {
            // Nothing follows an error, and hyper reads no more of it.
            self.source = Source::Taken;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

/// The least that is taken for a body of more than one piece.
const MIN_ROOM_BYTES: usize = 16 * 1024;

/// Reads a body to its end; what it takes of memory, it takes from `held` beforehand.
///
/// # Errors
/// 413 over `limit_bytes`, 400 when it ends early or is framed wrongly, and as of [`HeldMemory::grow_to`].
pub(super) async fn collect(
    mut body: Source,
    limit_bytes: usize,
    held: &mut Option<HeldMemory>,
) -> Result<Bytes, HttpError> {
    let mut take = |bytes| held.as_mut().map_or(Ok(()), |held| held.grow_to(bytes));
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(incomplete)?.into_data() else {
            continue;
        };
        let length = first.len() + whole.len() + data.len();
        if length > limit_bytes {
            return Err(HttpError::too_large(limit_bytes));
        }
        if length == data.len() {
            take(length)?;
            first = data;
            continue;
        }
        if length > whole.capacity() {
            let left = body.size_hint().exact();
            let left = left.map_or(usize::MAX, |left| {
                usize::try_from(left).unwrap_or(usize::MAX)
            });
            let most = length.saturating_add(left).min(limit_bytes);
            let room = (whole.capacity() * 2)
                .max(MIN_ROOM_BYTES)
                .max(length)
                .min(most);
            take(room)?;
            whole.reserve_exact(room - whole.len());
        }
        whole.extend_from_slice(&std::mem::take(&mut first));
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.into()
    })
}

fn incomplete(error: io::Error) -> HttpError {
    let public = "The request body is incomplete or malformed.";
    HttpError::bad_request("incomplete_body", public)
        .with_cause(error)
        .and_close()
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;

    use super::*;
    use crate::http::BodyMemory;

    #[tokio::test]
    async fn a_body_takes_what_it_is_and_no_more() {
        let gauge = IntGauge::new("bytes", "bytes").unwrap();
        let memory = BodyMemory::for_trusted(100, gauge.clone());
        let mut held = Some(memory.of([127, 0, 0, 1].into()));
        let of = |length: usize| Source::Memory(Full::new(Bytes::from(vec![b'x'; length])));
        let collected = collect(of(60), 1000, &mut held).await.unwrap();
        assert_eq!((collected.len(), gauge.get()), (60, 60));
        let mut other = Some(memory.of([127, 0, 0, 1].into()));
        let refused = collect(of(60), 1000, &mut other).await.unwrap_err();
        assert_eq!(
            (refused.status().as_u16(), refused.code()),
            (503, "too_many_bodies")
        );
        drop(held);
        assert_eq!(collect(of(60), 1000, &mut other).await.unwrap().len(), 60);
    }
}
