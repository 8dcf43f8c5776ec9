//! The body of a request on its way to a backend.
//!
//! It is read from the client once. Until a try begins to read it, another try can have it. What is left of it when the
//! answer has ended goes nowhere: else a request would go on that nobody counts any more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::HeaderName;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::headers;
use crate::http::StreamBody;
use crate::proxy::route::Route;

/// What a request waits for that was sent, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// The client has to send more of the body.
    Client,
    /// The backend has to read what there is of the body.
    Reading(Instant),
    /// The backend has everything, and has to answer.
    Answer(Instant),
}

/// The body of a call, for as many tries as there are. Dropped, the try that reads it is given up.
pub(super) struct Outgoing(Arc<Shared>);

struct Shared {
    is_given_up: AtomicBool,
    /// Who reads it.
    reader: AtomicWaker,
    state: Mutex<State>,
    /// Says which trailers must not go on.
    route: Arc<Route>,
    length: SizeHint,
    is_empty: bool,
}

enum State {
    /// No try has asked for it.
    Untouched(StreamBody),
    /// A try has asked, and the client has to send more.
    AwaitsClient,
    /// The backend gets what came from the client; the last of it, or of all, was taken then.
    Handed { at: Instant, is_whole: bool },
    /// The client broke it off.
    Failed(io::ErrorKind),
}

impl Outgoing {
    pub(super) fn new(body: StreamBody, route: Arc<Route>) -> Self {
        let (length, is_empty) = (body.size_hint(), body.is_end_stream());
        Self(Arc::new(Shared {
            is_given_up: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            state: Mutex::new(State::Untouched(body)),
            route,
            length,
            is_empty,
        }))
    }

    /// Returns how long it is, as far as that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.0.length.exact()
    }

    /// Whether a try can send it, although another one failed.
    pub(super) fn can_be_sent_again(&self) -> bool {
        self.0.is_empty || matches!(*self.0.state.lock(), State::Untouched(_))
    }

    /// Whether all of it has gone to a backend.
    pub(super) fn is_sent(&self) -> bool {
        let is_whole = |state: &State| matches!(state, State::Handed { is_whole: true, .. });
        self.0.is_empty || is_whole(&self.0.state.lock())
    }

    /// Returns the body for one try.
    pub(super) fn for_try(&self) -> RequestBody {
        RequestBody {
            shared: Some(Arc::clone(&self.0)),
            taken: None,
            passed: 0,
        }
    }

    /// Returns what a try waits for that began then. As long as no try has asked for the body, that is an answer.
    pub(super) fn waits(&self, begun: Instant) -> Waits {
        match *self.0.state.lock() {
            State::Untouched(_) | State::Failed(_) => Waits::Answer(begun),
            State::AwaitsClient => Waits::Client,
            State::Handed {
                at,
                is_whole: false,
            } => Waits::Reading(at.max(begun)),
            State::Handed { at, is_whole: true } => Waits::Answer(at.max(begun)),
        }
    }

    /// Returns how the client broke it off, if it did.
    pub(super) fn failure(&self) -> Option<io::ErrorKind> {
        match *self.0.state.lock() {
            State::Failed(kind) => Some(kind),
            _ => None,
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.0.is_given_up.store(true, Ordering::Release);
        self.0.reader.wake();
    }
}

/// The body of a request as hyper reads it.
pub(super) struct RequestBody {
    /// `None` for a request that never has one.
    shared: Option<Arc<Shared>>,
    taken: Option<StreamBody>,
    /// How many bytes of it were passed on.
    passed: u64,
}

impl RequestBody {
    /// No body.
    pub(super) const fn none() -> Self {
        Self {
            shared: None,
            taken: None,
            passed: 0,
        }
    }
}

impl State {
    fn handed(is_whole: bool) -> Self {
        Self::Handed {
            at: Instant::now(),
            is_whole,
        }
    }
}

impl Shared {
    fn take(&self) -> io::Result<StreamBody> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::AwaitsClient) {
            State::Untouched(body) => Ok(body),
            other => {
                *state = other;
                let text = "the request body went to another try";
                Err(io::Error::new(io::ErrorKind::BrokenPipe, text))
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let Some(shared) = &this.shared else {
            return Poll::Ready(None);
        };
        shared.reader.register(cx.waker());
        if shared.is_given_up.load(Ordering::Acquire) {
            let text = "the rest of the request is not wanted";
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::BrokenPipe, text))));
        }
        let body = match &mut this.taken {
            Some(body) => body,
            None => this.taken.insert(shared.take()?),
        };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        let mut state = shared.state.lock();
        if polled.is_pending() {
            *state = State::AwaitsClient;
        }
        let frame = ready!(polled);
        *state = match &frame {
            Some(Err(error)) => State::Failed(error.kind()),
            None => State::handed(true),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                this.passed += u64::try_from(bytes).unwrap_or(u64::MAX);
                // Nobody asks for the end of a body that is known to have ended.
                let has_all = shared.length.exact() == Some(this.passed) || body.is_end_stream();
                State::handed(has_all || frame.is_trailers())
            }
        };
        drop(state);
        let is_ours = |name: &HeaderName| shared.route.decides_by(name);
        let cleaned = |frame| headers::without_dangerous_trailers(frame, is_ours);
        Poll::Ready(frame.map(|frame| frame.map(cleaned)))
    }

    fn is_end_stream(&self) -> bool {
        match (&self.taken, &self.shared) {
            (Some(body), _) => body.is_end_stream(),
            (None, Some(shared)) => shared.is_empty,
            (None, None) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.taken, &self.shared) {
            (Some(body), _) => body.size_hint(),
            (None, Some(shared)) => shared.length,
            (None, None) => SizeHint::with_exact(0),
        }
    }
}
