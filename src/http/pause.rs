//! A connection whose response is waited for, without hyper: a poll may wait long, and many do.
//!
//! hyper keeps buffers of some kilobytes for a connection that is being answered. So it is let go, as for a
//! stream, and begins anew when the response is there: it reads a head that asks for as much as the
//! client's own did (method, version, `Connection`), gets the response for it, and goes on with what the
//! client has sent meanwhile.

use std::future::poll_fn;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::request::Parts;
use http::{Method, Response, Version};
use tokio_util::sync::CancellationToken;

use super::framing::Framing;
use super::reply::{Body, Later};
use super::socket::{Io, READ_AHEAD_BYTES, WatchedSocket, read_some};
use super::wire::Wire;

/// A response that is waited for.
pub(super) struct Pause {
    /// The head that hyper reads again.
    head: Vec<u8>,
    response: Later,
    /// Nobody waits any longer when the client ends its side.
    ends_with_client: bool,
}

/// A connection for hyper: a new one, or one that has waited.
pub(super) struct Resumed<S> {
    stream: S,
    /// What hyper reads first, and the response to it.
    waited: Option<(Bytes, Response<Body>)>,
}

impl<S: Io> Resumed<S> {
    /// Starts with a connection from which nothing was read.
    pub(super) const fn first(stream: S) -> Self {
        Self {
            stream,
            waited: None,
        }
    }

    /// Returns what hyper reads from, and the response to its first request, if that is known.
    pub(super) fn watch(self, wire: Wire) -> (WatchedSocket<S>, Option<Response<Body>>) {
        match self.waited {
            None => (WatchedSocket::new(self.stream, wire), None),
            Some((unread, response)) => {
                let socket = WatchedSocket::resumed(self.stream, unread, wire);
                (socket, Some(response))
            }
        }
    }
}

/// What a response depends on of the head of its request.
pub(super) struct Asked {
    method: Method,
    version: &'static str,
    connection: Vec<HeaderValue>,
    has_body: bool,
}

impl Asked {
    /// Returns `None` for a request with a chunked body, whose end only hyper knows.
    pub(super) fn of(head: &Parts, framing: Framing) -> Option<Self> {
        if framing.is_chunked() {
            return None;
        }
        let version = match head.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_11 => "HTTP/1.1",
            _ => return None,
        };
        Some(Self {
            method: head.method.clone(),
            version,
            connection: head.headers.get_all(CONNECTION).iter().cloned().collect(),
            has_body: head.headers.contains_key(CONTENT_LENGTH),
        })
    }

    /// Returns whether the request has a body, which hyper has to see to its end.
    pub(super) const fn has_body(&self) -> bool {
        self.has_body
    }

    /// Writes a head that asks for as much.
    fn into_head(self) -> Vec<u8> {
        let line = format!("{} / {}\r\nhost: localhost\r\n", self.method, self.version);
        let mut head = line.into_bytes();
        for value in self.connection {
            head.extend_from_slice(b"connection: ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

impl Pause {
    /// Leaves hyper until `response` is there, or, where that is said, the client ends its side.
    pub(super) fn new(asked: Asked, response: Later, ends_with_client: bool) -> Self {
        Self {
            head: asked.into_head(),
            response,
            ends_with_client,
        }
    }

    /// Waits for the response; `None` when the client is gone before.
    ///
    /// `left` is what the client has sent behind its request. A client that only ends its own side still
    /// gets its response, unless it was said otherwise.
    pub(super) async fn wait<S: Io>(
        self,
        mut stream: S,
        left: Bytes,
        stopping: &CancellationToken,
    ) -> Option<Resumed<S>> {
        let Self {
            head,
            mut response,
            ends_with_client,
        } = self;
        // A copy, mostly of nothing: what hyper leaves is a part of its whole buffer.
        let mut unread = BytesMut::from(&*left);
        drop(left);
        let mut has_ended = false;
        let response = poll_fn(|cx| {
            if let Poll::Ready(response) = response.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            while !has_ended && unread.len() < READ_AHEAD_BYTES {
                match read_some(&mut stream, &mut unread, cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(0)) if ends_with_client => return Poll::Ready(None),
                    Poll::Ready(Ok(count)) => has_ended = count == 0,
                    Poll::Ready(Err(error)) => {
                        tracing::debug!(%error, "a client went away while it waited");
                        return Poll::Ready(None);
                    }
                }
            }
            Poll::Pending
        })
        .await;
        let mut response = response?;
        if stopping.is_cancelled() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        let mut first = BytesMut::from(head.as_slice());
        first.extend_from_slice(&unread);
        Some(Resumed {
            stream,
            waited: Some((first.freeze(), response)),
        })
    }
}
