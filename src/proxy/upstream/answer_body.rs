//! The body of an answer on its way from a backend to the client.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::addresses::InFlight;
use super::connection::Lease;
use super::headers;
use super::lasting::Until;
use super::request_body::Outgoing;
use crate::http::IdleTimer;

/// How long an answer may take.
pub(super) struct Patience {
    /// How long the backend may take for a piece.
    pub(super) idle: Option<Duration>,
    /// Until when there may be pieces.
    pub(super) until: Until,
}

/// What an answer comes over, and the request that it answers.
pub(super) type Held = (Lease, InFlight, Outgoing);

/// The body of an answer. At its end the connection goes back to those that have nothing to do; dropped before, or before
/// the request has ended, the connection is closed, or the stream of HTTP/2 reset.
pub(super) struct AnswerBody {
    body: Incoming,
    /// Until the end.
    held: Option<Held>,
    is_http2: bool,
    /// How long the backend may take for a piece.
    idle: Option<IdleTimer>,
    until: Until,
    is_over: bool,
}

impl AnswerBody {
    pub(super) fn new(body: Incoming, held: Held, patience: Patience) -> Self {
        let is_http2 = held.0.is_http2();
        let mut answer = Self {
            body,
            held: Some(held),
            is_http2,
            idle: patience.idle.map(IdleTimer::new),
            until: patience.until,
            is_over: false,
        };
        if answer.body.is_end_stream() {
            answer.end();
        }
        answer
    }

    fn end(&mut self) {
        self.is_over = true;
        self.idle = None;
        self.until = Until::open();
        if let Some((lease, _in_flight, request)) = self.held.take()
            && request.is_sent()
        {
            lease.give_back();
        }
    }

    /// Fails when nothing has come for too long while the client was ready for more.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(idle) = &mut self.idle else {
            return Poll::Pending;
        };
        ready!(idle.poll(cx));
        let text = "the backend has sent nothing for too long";
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, text))
    }

    /// Returns the next piece as it is, or why there is none.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(over) = self.until.over() {
            return Poll::Ready(Some(Err(over.into())));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => match self.until.poll(cx) {
                Poll::Ready(over) => Poll::Ready(Some(Err(over.into()))),
                Poll::Pending => self.poll_idle(cx).map(|error| Some(Err(error))),
            },
            // A reset with NO_ERROR looks like an end to hyper, but END_STREAM has not come.
            Poll::Ready(None) if self.is_http2 && !self.body.is_end_stream() => {
                let text = "the backend reset the stream before the end of its answer";
                Poll::Ready(Some(Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    text,
                ))))
            }
            Poll::Ready(piece) => Poll::Ready(piece.map(|piece| piece.map_err(broken))),
        }
    }
}

fn broken(error: hyper::Error) -> io::Error {
    let is_timeout = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut);
    let kind = if is_timeout {
        io::ErrorKind::TimedOut
    } else {
        io::ErrorKind::UnexpectedEof
    };
    io::Error::new(kind, error)
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let piece = ready!(self.poll_piece(cx));
        if let Some(idle) = &mut self.idle {
            idle.stop();
        }
        match &piece {
            Some(Err(error)) => {
                tracing::debug!(%error, "the answer of a backend broke off");
                self.is_over = true;
                // Closes the connection.
                self.held = None;
            }
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            None | Some(Ok(_)) => self.end(),
        }
        let cleaned = |frame| headers::without_dangerous_trailers(frame, |_| false);
        Poll::Ready(piece.map(|piece| piece.map(cleaned)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
