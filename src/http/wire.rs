//! What a connection does, as far as it decides when it has to end.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use http::Version;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::framing::{Framing, HeadWatch};
use super::limits::HttpLimits;
use super::open_answer::OpenAnswer;
use super::pause::Pause;
use super::reply::TakeOver;
use super::resets::Resets;

/// What the connection is doing, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Accepted; no byte has come.
    Opened,
    /// Bytes of a request have come, but not all of its head.
    ReadingHead,
    /// The handler has the request.
    Handling,
    /// Answered; the next request may come.
    Idle,
}

/// Why the connection is closed by a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// No byte came.
    Silent,
    /// The head did not become complete.
    SlowHead,
    /// No further request came; not the client's fault.
    Idle,
    /// The client takes no bytes.
    SlowReader,
    /// The client resets streams faster than anybody needs to (HTTP/2).
    ManyResets,
}

impl Expired {
    /// Returns the label value of the metric of refused connections.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "first_byte_timeout",
            Self::SlowHead => "header_timeout",
            Self::Idle => "idle_timeout",
            Self::SlowReader => "write_timeout",
            Self::ManyResets => "http2_resets",
        }
    }
}

/// How a connection leaves hyper.
pub(super) enum Departure {
    /// For good: who goes on with it, and the head that they have to write first.
    Stream(Box<dyn TakeOver>, Vec<u8>),
    /// Until the response is there.
    Pause(Pause),
}

/// The state that the connection task, the service and the socket share.
///
/// On HTTP/1.1 all of them run on the same task, so the lock is never contended; it only makes the state `Sync`.
/// On HTTP/2 each stream has a task of its own.
#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<State>>);

impl fmt::Debug for Wire {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Wire").field(&self.stage()).finish()
    }
}

struct State {
    stage: Stage,
    since: Instant,
    /// When the kernel's buffer was found full; `None` when the last write made progress.
    blocked_since: Option<Instant>,
    /// Whether all that hyper wrote is in the kernel.
    is_flushed: bool,
    is_shut_down: bool,
    saw_end: bool,
    /// An answer was broken off whose end only the end of the connection says.
    must_reset: bool,
    /// The request is no longer handled when its client ends its side (HTTP/1.1).
    ends_with_client: bool,
    /// The client has ended its side, or reset the connection, while it was watched.
    is_gone: bool,
    /// After how long the kernel is to find out that the client is gone, as soon as the socket is at hand.
    kernel_patience: Option<Duration>,
    heads: HeadWatch,
    /// The task of the connection, which waits for the end of a body that another task reads.
    waker: Option<Waker>,
    departure: Option<Departure>,
    /// The streams of HTTP/2 that have not ended; `None` on HTTP/1.1.
    streams: Option<Streams>,
}

/// What HTTP/2 does on one connection.
#[derive(Debug, Default)]
struct Streams {
    active: usize,
    resets: Resets,
}

impl Wire {
    /// Starts with a connection that was accepted just now.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            stage: Stage::Opened,
            since: Instant::now(),
            blocked_since: None,
            is_flushed: true,
            is_shut_down: false,
            saw_end: false,
            must_reset: false,
            ends_with_client: false,
            is_gone: false,
            kernel_patience: None,
            heads: HeadWatch::default(),
            waker: None,
            departure: None,
            streams: None,
        })))
    }

    /// Starts with a connection that speaks HTTP/2.
    pub(super) fn multiplexed() -> Self {
        let wire = Self::new();
        wire.0.lock().streams = Some(Streams::default());
        wire
    }

    /// Notes that a stream of HTTP/2 begins.
    pub(super) fn begin_stream(&self) -> OpenAnswer {
        let mut state = self.0.lock();
        if let Some(streams) = &mut state.streams {
            streams.active += 1;
        }
        if state.stage != Stage::Handling {
            state.enter(Stage::Handling);
        }
        OpenAnswer::of_stream(self.clone())
    }

    /// Notes that the answer of HTTP/1.1 comes bit by bit: the request is handled until its end.
    pub(super) fn begin_answer(&self, version: Version) -> OpenAnswer {
        self.end_with_client();
        OpenAnswer::of_connection(self.clone(), version)
    }

    /// Notes that the answer is broken off, if all that hyper wrote of it has left us; else it returns `false`.
    pub(super) fn break_off(&self, must_reset: bool) -> bool {
        let mut state = self.0.lock();
        state.must_reset = must_reset && state.is_flushed;
        state.is_flushed
    }

    /// Notes that an [`OpenAnswer`] has ended.
    pub(super) fn end_answer(&self, is_complete: bool) {
        self.0.lock().end_answer(is_complete);
    }

    /// Says that the request is not to be handled any longer when its client ends its side (HTTP/1.1).
    pub(super) fn end_with_client(&self) {
        let mut state = self.0.lock();
        state.ends_with_client = state.streams.is_none() && state.stage == Stage::Handling;
    }

    /// Returns whether the socket has to be watched for the client's end.
    pub(super) fn ends_with_client(&self) -> bool {
        self.0.lock().ends_with_client
    }

    /// Notes that the client has ended its side, or reset the connection, while a request was handled.
    pub(super) fn note_gone(&self) {
        self.0.lock().is_gone = true;
    }

    /// Returns whether nobody waits for what is done.
    pub(super) fn is_gone(&self) -> bool {
        let state = self.0.lock();
        state.ends_with_client && (state.is_gone || state.saw_end)
    }

    /// Has the kernel look for a client that is gone without a word, as soon as the socket is at hand.
    pub(super) fn watch_with_kernel(&self, patience: Duration) {
        self.0.lock().kernel_patience = Some(patience);
    }

    pub(super) fn take_kernel_patience(&self) -> Option<Duration> {
        self.0.lock().kernel_patience.take()
    }

    /// Returns whether more of the body of the request has to come.
    pub(super) fn expects_body(&self) -> bool {
        self.0.lock().heads.expects_body()
    }

    pub(super) fn stage(&self) -> Stage {
        self.0.lock().stage
    }

    /// Notes that hyper hands out a request, and returns how its length was declared.
    pub(super) fn begin_request(&self, body_bytes: u64) -> Framing {
        let mut state = self.0.lock();
        state.enter(Stage::Handling);
        state.heads.take_head(body_bytes)
    }

    /// Notes that the handler has answered.
    pub(super) fn end_request(&self) {
        self.0.lock().enter(Stage::Idle);
    }

    /// Says that the connection leaves hyper as soon as everything written is in the kernel.
    pub(super) fn request_departure(&self, departure: Departure) {
        self.0.lock().departure = Some(departure);
    }

    /// Returns how the connection leaves hyper, when its time has come.
    ///
    /// To be called after hyper was polled and is pending: hyper flushes at the end of each poll, so if the last
    /// flush went through, its write buffer is empty.
    pub(super) fn ready_departure(&self) -> Option<Departure> {
        let mut state = self.0.lock();
        if state.is_flushed {
            state.departure.take()
        } else {
            None
        }
    }

    /// Notes what was read; nothing is the client's end.
    pub(super) fn note_read(&self, bytes: &[u8]) {
        self.0.lock().note_read(bytes);
    }

    /// Notes that hyper wrote, or could not.
    pub(super) fn note_write(&self, made_progress: bool) {
        self.0.lock().note_write(made_progress);
    }

    /// Notes that all that hyper wrote has left us; returns whether to watch for the client's end. Until a body has
    /// come, hyper does that; the task is woken when it has.
    pub(super) fn note_flushed(&self, cx: &Context<'_>) -> bool {
        let mut state = self.0.lock();
        state.is_flushed = true;
        state.blocked_since = None;
        if !state.ends_with_client {
            return false;
        }
        let expects_body = state.heads.expects_body();
        if expects_body {
            state.set_waker(cx.waker());
        }
        !expects_body
    }

    /// Notes that somebody has read the body of the request to its end.
    pub(super) fn end_body(&self) {
        let mut state = self.0.lock();
        state.heads.end_body();
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn note_shut_down(&self) {
        self.0.lock().is_shut_down = true;
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.0.lock().is_flushed
    }

    /// Returns whether the write side was shut down.
    pub(super) fn is_shut_down(&self) -> bool {
        self.0.lock().is_shut_down
    }

    /// Returns whether the connection has to be reset, since a client would take its end for that of an answer.
    pub(super) fn must_reset(&self) -> bool {
        self.0.lock().must_reset
    }

    /// Returns whether the client has closed its side.
    pub(super) fn saw_end(&self) -> bool {
        self.0.lock().saw_end
    }

    /// Returns when the connection has to be closed, and why, if nothing happens until then.
    pub(super) fn deadline(&self, limits: &HttpLimits) -> Option<(Instant, Expired)> {
        let state = self.0.lock();
        let after = |since: Instant, limit: Duration, expired| Some((since + limit, expired));
        if let Some(streams) = &state.streams
            && streams.resets.are_too_many()
        {
            return after(state.since, Duration::ZERO, Expired::ManyResets);
        }
        // While HTTP/2 has streams, its pings find a client that takes nothing.
        let has_streams = state.streams.as_ref().is_some_and(|s| s.active > 0);
        if let Some(since) = state.blocked_since.filter(|_| !has_streams) {
            return after(since, limits.http_write_timeout, Expired::SlowReader);
        }
        match state.stage {
            Stage::Opened => after(state.since, limits.http_first_byte_timeout, Expired::Silent),
            Stage::ReadingHead => after(state.since, limits.http_header_timeout, Expired::SlowHead),
            Stage::Idle => after(state.since, limits.http_idle_timeout, Expired::Idle),
            Stage::Handling => None,
        }
    }
}

impl State {
    fn set_waker(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|set| set.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.ends_with_client = false;
        self.waker = None;
        self.since = Instant::now();
    }

    fn note_read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.saw_end = true;
            return;
        }
        if self.streams.is_some() {
            // What comes later may be an answer to a ping, which is no request.
            if self.stage == Stage::Opened {
                self.enter(Stage::ReadingHead);
            }
            return;
        }
        // The rest of the body of a request that was answered early is no head.
        if self.heads.record(bytes) && matches!(self.stage, Stage::Opened | Stage::Idle) {
            self.enter(Stage::ReadingHead);
        }
    }

    fn end_answer(&mut self, is_complete: bool) {
        let Some(streams) = &mut self.streams else {
            self.enter(Stage::Idle);
            return;
        };
        streams.active = streams.active.saturating_sub(1);
        if !is_complete {
            streams.resets.record(Instant::now());
        }
        if streams.active == 0 {
            self.enter(Stage::Idle);
        }
    }

    fn note_write(&mut self, made_progress: bool) {
        self.is_flushed = false;
        if made_progress {
            self.blocked_since = None;
            if self.stage == Stage::Idle && self.streams.is_none() {
                // The time to the next request counts from the end of the answer.
                self.since = Instant::now();
            }
        } else if self.blocked_since.is_none() {
            self.blocked_since = Some(Instant::now());
        }
    }
}
