//! A WebSocket over a stream of HTTP/2, as bytes in both directions.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::open_answer::OpenAnswer;

/// A WebSocket over a stream of HTTP/2, which counts as open until this is dropped.
pub(super) struct Tunnel {
    io: TokioIo<Upgraded>,
    answer: OpenAnswer,
}

impl Tunnel {
    pub(super) const fn new(io: TokioIo<Upgraded>, answer: OpenAnswer) -> Self {
        Self { io, answer }
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
        self.answer.complete();
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
