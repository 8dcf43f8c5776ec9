//! What a handler gives back for a request.

use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use http::Response;

use super::error::HttpError;
use super::request::Request;

/// The body of a response: known as a whole, so it always has a `Content-Length`.
pub type Body = http_body_util::Full<Bytes>;

/// Receives the socket of a request that becomes a stream.
pub type TakeOver = Box<dyn FnOnce(TakenSocket) + Send>;

/// What becomes of a request.
pub enum Reply {
    /// hyper writes this response; the connection goes on.
    Response(Response<Body>),
    /// The connection leaves HTTP: the function gets the socket and owes the client the response head.
    ///
    /// It runs on the connection's task and must not block. It is dropped without being called when the
    /// client goes away before the answers to its earlier requests are on the wire.
    TakeOver(TakeOver),
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(response) => formatter.debug_tuple("Response").field(response).finish(),
            Self::TakeOver(_) => formatter.write_str("TakeOver"),
        }
    }
}

impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        Self::Response(response)
    }
}

impl From<HttpError> for Reply {
    fn from(error: HttpError) -> Self {
        Self::Response(error.into_response())
    }
}

/// A connection that has left HTTP; hyper holds nothing of it any more.
#[derive(Debug)]
pub struct TakenSocket {
    /// The socket: non-blocking, and registered with no event loop.
    pub stream: TcpStream,
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
