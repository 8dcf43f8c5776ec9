//! Connections to one address: kept while they have nothing to do, and shared on HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::Authority;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::dial::{DialError, Dialer};
use super::headers;
use super::request_body::RequestBody;
use crate::proxy::route::Protocol;

/// The most requests beside each other on a connection of HTTP/2, whatever more the backend allows.
const MAX_STREAMS: usize = 256;

/// Sends requests on one connection.
pub(super) enum Sender {
    /// One after another.
    Http1(http1::SendRequest<RequestBody>),
    /// Beside each other.
    Http2(Multiplexed),
}

/// A connection of HTTP/2. Cheap to clone.
#[derive(Clone)]
pub(super) struct Multiplexed {
    sender: http2::SendRequest<RequestBody>,
    usage: Arc<Usage>,
}

struct Usage {
    streams: AtomicUsize,
    limit: AtomicUsize,
    is_retired: AtomicBool,
    idle_since: Mutex<Instant>,
}

/// How many requests a connection of HTTP/2 takes at a time.
pub(super) struct StreamLimit(Arc<Usage>);

impl StreamLimit {
    pub(super) fn set(&self, limit: usize) {
        self.0
            .limit
            .store(limit.clamp(1, MAX_STREAMS), Ordering::Relaxed);
    }
}

impl Multiplexed {
    /// Shares a connection that takes so many requests at a time.
    pub(super) fn new(sender: http2::SendRequest<RequestBody>, limit: usize) -> Self {
        let usage = Usage {
            streams: AtomicUsize::new(0),
            limit: AtomicUsize::new(0),
            is_retired: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
        };
        let shared = Self {
            sender,
            usage: Arc::new(usage),
        };
        shared.limit().set(limit);
        shared
    }

    pub(super) fn limit(&self) -> StreamLimit {
        StreamLimit(Arc::clone(&self.usage))
    }

    fn is_usable(&self) -> bool {
        !self.sender.is_closed() && !self.usage.is_retired.load(Ordering::Relaxed)
    }

    /// Takes a place on the connection, if there is one.
    fn join(&self) -> Option<Stream> {
        let limit = self.usage.limit.load(Ordering::Relaxed);
        let joined =
            self.usage
                .streams
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |streams| {
                    (streams < limit).then_some(streams + 1)
                });
        joined.ok().map(|_| Stream(self.clone()))
    }

    fn is_idle_since(&self, before: Instant) -> bool {
        self.usage.streams.load(Ordering::Relaxed) == 0 && *self.usage.idle_since.lock() < before
    }
}

/// A place on a connection of HTTP/2.
struct Stream(Multiplexed);

impl Drop for Stream {
    fn drop(&mut self) {
        *self.0.usage.idle_since.lock() = Instant::now();
        self.0.usage.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections to one address.
pub(super) struct Connections {
    protocol: Protocol,
    address: Authority,
    dialer: Dialer,
    max_idle: usize,
    keep: Duration,
    /// Those of HTTP/1.1 that have nothing to do, the one used last at the end.
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Vec<Multiplexed>>,
    /// Held by whoever opens a connection that others may share.
    opening: tokio::sync::Mutex<()>,
    /// Whether the last connection was of HTTP/1.1, so that none is waited for to share it.
    speaks_http1: AtomicBool,
}

struct Idle {
    sender: http1::SendRequest<RequestBody>,
    /// When it is closed.
    until: Instant,
}

impl Idle {
    fn is_usable(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now < self.until
    }
}

/// How connections are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeping {
    pub(super) max_idle: usize,
    pub(super) keep: Duration,
}

impl Connections {
    pub(super) fn new(
        protocol: Protocol,
        address: Authority,
        dialer: Dialer,
        keeping: Keeping,
    ) -> Self {
        Self {
            protocol,
            address,
            dialer,
            max_idle: keeping.max_idle,
            keep: keeping.keep,
            idle: Mutex::default(),
            shared: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            speaks_http1: AtomicBool::new(matches!(protocol, Protocol::Http)),
        }
    }

    /// Returns a connection for one request: one that is there, unless it has to be `fresh`, or a new one.
    ///
    /// # Errors
    /// [`DialError`]; nothing was sent then.
    pub(super) async fn lease(self: &Arc<Self>, fresh: bool) -> Result<Lease, DialError> {
        if !self.speaks_http1.load(Ordering::Relaxed) {
            if let Some(lease) = self.join() {
                return Ok(lease);
            }
            // While the one before tries in vain, nobody waits longer than if he tried himself.
            let _opening = self.dialer.within_timeout(self.opening.lock()).await?;
            if let Some(lease) = self.join() {
                return Ok(lease);
            }
            // Whoever had the lock before may have learnt that nothing is to be shared.
            if !self.speaks_http1.load(Ordering::Relaxed) {
                return self.open().await;
            }
        }
        if fresh {
            return self.open().await;
        }
        match self.take_idle() {
            Some(sender) if sender.is_ready() => Ok(self.lend(Leased::Kept(sender), true)),
            // Its last answer has just ended, and its task may have a word to say; a new connection is begun
            // meanwhile.
            Some(mut sender) => {
                tokio::select! {
                    biased;
                    ready = sender.ready() => match ready {
                        Ok(()) => Ok(self.lend(Leased::Kept(sender), true)),
                        Err(_) => self.open().await,
                    },
                    opened = self.open() => {
                        self.keep(sender, None);
                        opened
                    }
                }
            }
            None => self.open().await,
        }
    }

    /// Returns a connection of HTTP/1.1 of its own, for a request that may turn it into something else.
    ///
    /// # Errors
    /// [`DialError`]; nothing was sent then.
    pub(super) async fn lease_for_upgrade(self: &Arc<Self>) -> Result<Lease, DialError> {
        let sender = self.dialer.dial_for_upgrade(self.protocol, &self.address);
        Ok(self.lend(Leased::Own(sender.await?), false))
    }

    /// Closes what has had nothing to do for too long.
    pub(super) fn close_idle(&self, now: Instant) {
        self.idle.lock().retain(|idle| idle.is_usable(now));
        let is_over = |shared: &Multiplexed| {
            let before = now.checked_sub(self.keep);
            before.is_some_and(|before| shared.is_idle_since(before))
        };
        let is_kept = |shared: &Multiplexed| shared.is_usable() && !is_over(shared);
        self.shared.lock().retain(is_kept);
    }

    fn join(self: &Arc<Self>) -> Option<Lease> {
        let mut shared = self.shared.lock();
        shared.retain(Multiplexed::is_usable);
        let stream = shared.iter().find_map(Multiplexed::join)?;
        Some(self.lend(Leased::Shared(stream), true))
    }

    async fn open(self: &Arc<Self>) -> Result<Lease, DialError> {
        let sender = match self.dialer.dial(self.protocol, &self.address).await? {
            Sender::Http1(sender) => {
                self.speaks_http1.store(true, Ordering::Relaxed);
                Leased::Kept(sender)
            }
            Sender::Http2(connection) => {
                self.speaks_http1.store(false, Ordering::Relaxed);
                let stream = connection
                    .join()
                    .expect("a connection that nobody else has seen has room");
                self.shared.lock().push(connection);
                Leased::Shared(stream)
            }
        };
        Ok(self.lend(sender, false))
    }

    fn lend(self: &Arc<Self>, sender: Leased, was_kept: bool) -> Lease {
        Lease {
            sender,
            was_kept,
            backend_keeps: None,
            connections: Arc::clone(self),
        }
    }

    /// Takes the connection that was used last, one that is ready if there is any.
    fn take_idle(&self) -> Option<http1::SendRequest<RequestBody>> {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        idle.retain(|idle| idle.is_usable(now));
        let ready = idle.iter().rposition(|idle| idle.sender.is_ready());
        match ready {
            Some(at) => Some(idle.remove(at).sender),
            None => idle.pop().map(|idle| idle.sender),
        }
    }

    /// Keeps a connection, for as long as its backend does if that has said so.
    fn keep(&self, sender: http1::SendRequest<RequestBody>, backend_keeps: Option<Duration>) {
        let keep = backend_keeps.map_or(self.keep, |time| self.keep.min(time));
        let mut idle = self.idle.lock();
        if !sender.is_closed() && idle.len() < self.max_idle {
            idle.push(Idle {
                sender,
                until: Instant::now() + keep,
            });
        }
    }
}

/// A connection, or a part of one, for one request and its answer.
pub(super) struct Lease {
    sender: Leased,
    was_kept: bool,
    /// How long the backend keeps the connection after the answer.
    backend_keeps: Option<Duration>,
    connections: Arc<Connections>,
}

enum Leased {
    /// Goes back once the answer has ended.
    Kept(http1::SendRequest<RequestBody>),
    Shared(Stream),
    /// Serves nobody else.
    Own(Sender),
}

impl Lease {
    /// Whether the connection is of HTTP/2.
    pub(super) const fn is_http2(&self) -> bool {
        matches!(
            self.sender,
            Leased::Shared(_) | Leased::Own(Sender::Http2(_))
        )
    }

    /// Whether the connection was there before.
    pub(super) const fn was_kept(&self) -> bool {
        self.was_kept
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// What hyper saw; with the request, if nothing of it was sent.
    ///
    /// # Cancel safety
    /// Dropping the future gives the request up: on HTTP/1.1 its connection is closed.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        let answer = match &mut self.sender {
            Leased::Kept(sender) | Leased::Own(Sender::Http1(sender)) => {
                sender.try_send_request(request).await?
            }
            Leased::Shared(Stream(connection)) | Leased::Own(Sender::Http2(connection)) => {
                connection.sender.try_send_request(request).await?
            }
        };
        self.backend_keeps = headers::keep_alive(answer.headers());
        Ok(answer)
    }

    /// Gives the connection back after the end of an answer.
    pub(super) fn give_back(self) {
        if let Leased::Kept(sender) = self.sender {
            self.connections.keep(sender, self.backend_keeps);
        }
    }

    /// Sees to it that nobody else gets the connection.
    pub(super) fn retire(self) {
        if let Leased::Shared(Stream(connection)) = &self.sender {
            connection.usage.is_retired.store(true, Ordering::Relaxed);
        }
    }
}
