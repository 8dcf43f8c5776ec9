//! What a handler gives back for a request.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::io::{AsyncRead, AsyncWrite};

use super::error::HttpError;
use super::request::Request;

/// The body of a response: known as a whole, so it always has a `Content-Length`.
pub type Body = http_body_util::Full<Bytes>;

/// A body that comes bit by bit, in either direction. What nobody reads yet waits where it comes from.
///
/// An error says that the rest will not come. In an answer it ends the connection, or the stream of HTTP/2, so
/// that nobody takes what came before for the whole.
pub type StreamBody = UnsyncBoxBody<Bytes, io::Error>;

/// Goes on with a request that becomes a stream. One of its functions is called, or none when the
/// client goes away before the answers to its earlier requests are on the wire.
///
/// They run on the connection's task and must not block.
pub trait TakeOver: Send {
    /// HTTP/1.1, or a WebSocket over HTTP/2: gets all that the client sends from now on, and writes to
    /// it: first [`TakenConnection::head`].
    fn connection(self: Box<Self>, taken: TakenConnection);

    /// HTTP/2: returns what the client gets after the head.
    fn body(self: Box<Self>) -> StreamBody;
}

/// A response that somebody waits for.
pub type Later = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// What becomes of a request.
pub enum Reply {
    /// hyper writes this response; the connection goes on.
    Response(Response<Body>),
    /// hyper writes this response while its body comes, as fast as the client takes it; the connection goes on.
    ///
    /// A body that knows its length, or a head that says it, gives a `Content-Length`; else the end is marked
    /// as the version of HTTP does. `HEAD` and the statuses without a body drop it. Trailers reach a client of
    /// HTTP/2, and one of HTTP/1.1 that accepts those which the head names in `Trailer`.
    ///
    /// The body is dropped when the client is gone or takes nothing for the write timeout (HTTP/1.1).
    Streamed(Response<StreamBody>),
    /// The response comes when something has happened. Meanwhile the connection takes little memory,
    /// so the future should, too, and keep nothing of the request.
    ///
    /// It is dropped when the client is gone.
    Later(Later),
    /// The request becomes a stream with this head: 101 for one that goes both ways, else an answer
    /// whose end is not known yet.
    TakenOver(Response<()>, Box<dyn TakeOver>),
}

impl Reply {
    /// Returns the status, as far as it is known.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Response(response) => Some(response.status()),
            Self::Later(_) => None,
            Self::Streamed(response) => Some(response.status()),
            Self::TakenOver(head, _) => Some(head.status()),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(response) => formatter.debug_tuple("Response").field(response).finish(),
            Self::Streamed(response) => {
                let head = (response.status(), response.headers());
                formatter.debug_tuple("Streamed").field(&head).finish()
            }
            Self::Later(_) => formatter.write_str("Later"),
            Self::TakenOver(head, _) => formatter.debug_tuple("TakenOver").field(head).finish(),
        }
    }
}

impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        Self::Response(response)
    }
}

impl From<Response<StreamBody>> for Reply {
    fn from(response: Response<StreamBody>) -> Self {
        Self::Streamed(response)
    }
}

impl From<HttpError> for Reply {
    fn from(error: HttpError) -> Self {
        Self::Response(error.into_response())
    }
}

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// How the client of a stream is reached.
pub enum Link {
    /// Over a socket without TLS: non-blocking, and registered with no event loop.
    Socket(TcpStream),
    /// Through TLS or a stream of HTTP/2, which need a task that reads and writes.
    Carried(Box<dyn Duplex>),
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(socket) => formatter.debug_tuple("Socket").field(socket).finish(),
            Self::Carried(_) => formatter.write_str("Carried"),
        }
    }
}

/// A connection that has left HTTP; hyper holds nothing of it any more.
#[derive(Debug)]
pub struct TakenConnection {
    /// The way to the client.
    pub link: Link,
    /// The head of the response, which whoever takes over has to write; empty where it was written.
    pub head: Vec<u8>,
    /// What the client sent after the head of the request, and was already read.
    pub already_read: Bytes,
    /// The client's address.
    pub peer: SocketAddr,
}

/// Answers the requests of a listener.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    ///
    /// # Cancel safety
    /// The future is dropped when the connection breaks or the client takes no bytes for too long. A
    /// client that merely stops sending (a half-closed connection) still gets its answer.
    fn handle(&self, request: Request) -> impl Future<Output = Reply> + Send;
}
