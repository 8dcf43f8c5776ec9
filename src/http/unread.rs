//! The body of a request on HTTP/2, and what the client still sends of it when nobody reads on.
//!
//! A stream of which only the client's side is open is reset with `NO_ERROR` when it is given up (RFC 9113, 8.1).
//! Some clients, curl 7.88 among them, take that for a failure, although they have the answer. So it is put off until
//! the client has sent the rest, within limits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::ending::{LINGER, LINGER_BYTES};
use super::received::io_error;
use crate::telemetry::Tasks;

/// The body of a request on HTTP/2.
#[derive(Debug)]
pub(super) struct Http2Body {
    /// `None` when nothing more can come.
    incoming: Option<Incoming>,
    tasks: Tasks,
}

impl Http2Body {
    /// Takes what is to be read; `tasks` read what nobody else does.
    pub(super) fn new(incoming: Incoming, tasks: &Tasks) -> Self {
        Self {
            incoming: Some(incoming),
            tasks: tasks.clone(),
        }
    }
}

impl HttpBody for Http2Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        // A reset with NO_ERROR looks like an end to hyper, but END_STREAM has not come.
        let is_whole = incoming.is_end_stream();
        let frame = match frame {
            None if !is_whole => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            frame => frame.map(|frame| frame.map_err(io_error)),
        };
        if !matches!(frame, Some(Ok(_))) {
            self.incoming = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.incoming.as_ref().map(Incoming::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        let Some(mut incoming) = self.incoming.take() else {
            return;
        };
        let mut cx = Context::from_waker(Waker::noop());
        let may_come = !incoming.is_end_stream()
            && !matches!(
                Pin::new(&mut incoming).poll_frame(&mut cx),
                Poll::Ready(None | Some(Err(_)))
            );
        if may_come && tokio::runtime::Handle::try_current().is_ok() {
            let stopping = self.tasks.stopping();
            self.tasks.spawn("http2.unread", async move {
                let discarding = tokio::time::timeout(LINGER, discard(incoming));
                let ended = stopping.run_until_cancelled(discarding).await;
                tracing::trace!(?ended, "nobody reads the rest of a body");
            });
        }
    }
}

/// Reads a body to its end, or for a while.
async fn discard(mut body: Incoming) {
    let mut left = LINGER_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}
