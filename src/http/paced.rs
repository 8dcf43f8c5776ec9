//! Streams of HTTP/2 whose clients take nothing of an answer.
//!
//! hyper asks for no more of a body than the client's window lets it send, and nobody hears of a window that stays
//! closed while the connection lives. So the body says when it has given something away, and the stream's task ends
//! when it is not asked for more in time, which resets the stream.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use prometheus::IntCounter;
use tokio::time::{Instant, Sleep};

use super::reply::StreamBody;

/// How much is given to hyper at once: so much of an answer shows that its client takes it.
const PIECE_BYTES: usize = 16 * 1024;

/// What a body did when the task of its stream was polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// It was not asked.
    No,
    /// It had nothing.
    InVain,
    /// It gave something, which the client has to take before there is more.
    Answered,
}

thread_local! {
    /// What the body of the stream did that is being polled on this thread.
    static ASKED: Cell<Asked> = const { Cell::new(Asked::No) };
}

/// A body in small pieces, whose client has to take them in time.
pub(super) struct Paced {
    body: StreamBody,
    rest: Bytes,
}

impl Paced {
    /// Cuts a body into pieces.
    pub(super) fn of(body: StreamBody) -> StreamBody {
        let rest = Bytes::new();
        Self { body, rest }.boxed_unsync()
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let count = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(count)))))
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = self.poll_piece(cx);
        ASKED.set(if polled.is_pending() {
            Asked::InVain
        } else {
            Asked::Answered
        });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower().saturating_add(rest));
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// How long clients may take, and who counts those that take longer.
#[derive(Debug)]
pub(super) struct Patience {
    pub(super) write_timeout: Duration,
    pub(super) expired: IntCounter,
}

/// The task of a stream, which ends when its client takes nothing of a [`Paced`] body for too long.
pub(super) struct Watched<F> {
    task: Pin<Box<F>>,
    patience: Arc<Patience>,
    /// Made when it is needed first.
    stall: Option<Box<Stall>>,
}

impl<F: Future<Output = ()>> Watched<F> {
    pub(super) fn new(task: F, patience: Arc<Patience>) -> Self {
        Self {
            task: Box::pin(task),
            patience,
            stall: None,
        }
    }

    /// Notes whether the body has waited for its client since the task was polled, and how it is now.
    fn note(&mut self, asked: Asked) {
        match (asked, &mut self.stall) {
            (Asked::Answered, stall) => {
                let now = Instant::now();
                let until = now + self.patience.write_timeout;
                stall.get_or_insert_with(|| Stall::new(until)).since = Some(now);
            }
            (Asked::InVain, Some(stall)) => stall.since = None,
            (Asked::InVain, None) | (Asked::No, _) => {}
        }
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ASKED.set(Asked::No);
        if self.task.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.note(ASKED.replace(Asked::No));
        let limit = self.patience.write_timeout;
        let Some(stall) = &mut self.stall else {
            return Poll::Pending;
        };
        ready!(stall.poll(limit, cx));
        self.patience.expired.inc();
        Poll::Ready(())
    }
}

struct Stall {
    /// Since when the client has to take something; `None` while there is nothing for it.
    since: Option<Instant>,
    /// Set anew when it ends, not whenever the client takes something.
    timer: Pin<Box<Sleep>>,
}

impl Stall {
    fn new(until: Instant) -> Box<Self> {
        Box::new(Self {
            since: None,
            timer: Box::pin(tokio::time::sleep_until(until)),
        })
    }

    /// Waits until the client has had `limit` to take something.
    fn poll(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let Some(since) = self.since else {
            return Poll::Pending;
        };
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let until = since + limit;
            if self.timer.deadline() >= until {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(until);
        }
    }
}
