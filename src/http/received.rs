//! The body of a request as it comes from the client.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

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

/// Reads a body to its end.
///
/// # Errors
/// 413 over `limit_bytes`, 400 when it ends early or is framed wrongly.
pub(super) async fn collect(mut body: Source, limit_bytes: usize) -> Result<Bytes, HttpError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            HttpError::bad_request(
                "incomplete_body",
                "The request body is incomplete or malformed.",
            )
            .with_cause(error)
            .and_close()
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit_bytes {
            return Err(HttpError::too_large(limit_bytes));
        }
        if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                let hint = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
                rest.reserve(data.len().saturating_add(hint).min(limit_bytes));
            }
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}
