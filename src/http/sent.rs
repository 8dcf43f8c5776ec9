//! What an HTTP/2 client gets after the head of an answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::reply::{Body, StreamBody};
use super::wire::OpenStream;

/// The body of an answer; its stream counts as open until the body has ended.
pub(super) struct Sent {
    content: Content,
    stream: Option<OpenStream>,
}

enum Content {
    Whole(Body),
    Stream(StreamBody),
}

impl Sent {
    /// An answer that is known as a whole; one to `HEAD` has only its length.
    pub(super) fn whole(
        response: Response<Body>,
        is_head: bool,
        mut stream: OpenStream,
    ) -> Response<Self> {
        let (mut head, mut body) = response.into_parts();
        if is_head && let Some(length) = body.size_hint().exact() {
            head.headers
                .entry(CONTENT_LENGTH)
                .or_insert_with(|| HeaderValue::from(length));
            body = Body::default();
        }
        if body.is_end_stream() {
            stream.complete();
        }
        let sent = Self {
            content: Content::Whole(body),
            stream: Some(stream),
        };
        Response::from_parts(head, sent)
    }

    /// An answer that goes on.
    pub(super) const fn stream(body: StreamBody, stream: OpenStream) -> Self {
        Self {
            content: Content::Stream(body),
            stream: Some(stream),
        }
    }

    /// No body: the stream goes on as a [`Tunnel`].
    pub(super) fn nothing() -> Self {
        Self {
            content: Content::Whole(Body::default()),
            stream: None,
        }
    }

    fn complete(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.complete();
        }
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = match &mut self.content {
            Content::Whole(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Content::Stream(body) => Pin::new(body).poll_frame(cx),
        };
        if matches!(polled, Poll::Ready(None)) || self.is_end_stream() {
            self.complete();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(body) => body.is_end_stream(),
            Content::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(body) => body.size_hint(),
            Content::Stream(body) => body.size_hint(),
        }
    }
}

/// A WebSocket over a stream of HTTP/2, which counts as open until this is dropped.
pub(super) struct Tunnel {
    io: TokioIo<Upgraded>,
    stream: OpenStream,
}

impl Tunnel {
    pub(super) const fn new(io: TokioIo<Upgraded>, stream: OpenStream) -> Self {
        Self { io, stream }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.complete();
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
