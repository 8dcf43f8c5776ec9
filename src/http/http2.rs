//! HTTP/2 on one connection: after ALPN on TLS, or with prior knowledge on a port without.
//!
//! A request is made to look as it does on HTTP/1.1 before a handler sees it, also the one that opens a
//! WebSocket (RFC 8441).
//!
//! # Source
//! RFC 9113; RFC 8441 (WebSocket).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, COOKIE, HOST, HeaderValue, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::connection::{self, End, Shared};
use super::ending::notice_vanished_peers;
use super::error::HttpError;
use super::framing;
use super::limits::{HttpLimits, MIN_HEAD_BYTES};
use super::meter::Meter;
use super::open_answer::OpenAnswer;
use super::paced::{Paced, Patience, Watched};
use super::peer::Peer;
use super::received::Source;
use super::reply::{Handler, Link, Reply, TakeOver, TakenConnection};
use super::request::Request;
use super::sent::Sent;
use super::socket::{Io, WatchedSocket};
use super::tunnel::Tunnel;
use super::unread::Http2Body;
use super::wire::Wire;
use crate::telemetry::Tasks;

/// How many streams a client may have open on one connection.
const MAX_STREAMS: u32 = 256;
/// How much of the body of a request may come before it is read.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for all requests of a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// How much of an answer waits for the client to open its window.
const SEND_BUFFER_BYTES: usize = 16 * 1024;
/// How often a client has to show that it lives, and how long it has for that.
const PING_INTERVAL: Duration = Duration::from_secs(40);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection that was told to go may take to answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// Configures hyper for HTTP/2.
pub(super) type Builder = http2::Builder<Spawner>;

/// Runs the tasks that hyper makes for the streams.
#[derive(Debug, Clone)]
pub(super) struct Spawner {
    tasks: Tasks,
    patience: Arc<Patience>,
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let watched = Watched::new(future, Arc::clone(&self.patience));
        self.tasks.spawn("http2.stream", watched);
    }
}

pub(super) fn builder(limits: &HttpLimits, tasks: Tasks, meter: &Meter) -> Builder {
    let head_bytes = limits.http_max_header_bytes.max(MIN_HEAD_BYTES);
    let patience = Arc::new(Patience {
        write_timeout: limits.http_write_timeout,
        expired: meter.slow_readers(),
    });
    let mut builder = Builder::new(Spawner { tasks, patience });
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .enable_connect_protocol();
    builder
}

/// Serves one connection until it ends or its time is over; `unread` are its first bytes, as far as
/// they were read.
pub(super) async fn serve<H: Handler, S: Io>(
    shared: Arc<Shared<H>>,
    stream: S,
    unread: Bytes,
    peer: Peer,
) {
    notice_vanished_peers(stream.socket(), shared.limits.stream_write_timeout);
    let wire = Wire::multiplexed();
    if !unread.is_empty() {
        wire.note_read(&unread);
    }
    let io = TokioIo::new(WatchedSocket::resumed(stream, unread, wire.clone()));
    let service = service_fn(|request: http::Request<Incoming>| {
        Box::pin(answer(
            Arc::clone(&shared),
            request,
            wire.begin_stream(),
            peer,
        ))
    });
    let mut connection = shared.http2.serve_connection(io, service);
    let end = connection::run(&mut connection, &wire, &shared, |hyper| {
        Pin::new(hyper).graceful_shutdown();
    })
    .await;
    match end {
        End::Finished(Ok(())) | End::Departed(_) | End::Left => {}
        End::Finished(Err(error)) => {
            tracing::debug!(%error, "http/2 connection ended with an error");
        }
        End::Expired(expired) => {
            shared.meter.expired(expired);
            Pin::new(&mut connection).graceful_shutdown();
            if let Ok(Err(error)) = tokio::time::timeout(FAREWELL, connection).await {
                tracing::debug!(%error, "could not tell an http/2 client to go");
            }
        }
    }
}

/// Answers one request; the answer may be a stream.
async fn answer<H: Handler>(
    shared: Arc<Shared<H>>,
    mut request: http::Request<Incoming>,
    stream: OpenAnswer,
    peer: Peer,
) -> Result<Response<Sent>, Infallible> {
    let tunnel = request
        .extensions_mut()
        .remove::<Protocol>()
        .map(|protocol| (protocol, hyper::upgrade::on(&mut request)));
    let (mut head, body) = request.into_parts();
    let body = Http2Body::new(body, &shared.tasks);
    let is_head = head.method == Method::HEAD;
    let prepared = prepare(&mut head, tunnel.as_ref().map(|(name, _)| name), &shared);
    let reply = match prepared {
        Ok(()) => {
            let request = Request::from_hyper(
                head,
                Source::Http2(body),
                (peer, &shared.trusted_proxies),
                shared.limits.http_body_timeout,
                &shared.body_memory,
            );
            match shared.handler.handle(request).await {
                Reply::Later(response) => Reply::Response(response.await),
                reply => reply,
            }
        }
        Err(refusal) => refusal.into(),
    };
    let response = match (reply, tunnel) {
        (Reply::Response(response), None) => Sent::whole(response, is_head, stream),
        (Reply::Response(response), Some(_)) if !response.status().is_success() => {
            Sent::whole(response, is_head, stream)
        }
        (Reply::Streamed(response), tunnel)
            if tunnel.is_none() || !response.status().is_success() =>
        {
            Sent::streamed(response.map(Paced::of), is_head, stream)
        }
        (Reply::TakenOver(head, take_over), Some((_, upgrade)))
            if head.status() == StatusCode::SWITCHING_PROTOCOLS =>
        {
            shared.meter.streamed();
            return Ok(open_tunnel(
                &shared,
                head,
                (take_over, upgrade),
                stream,
                peer,
            ));
        }
        (Reply::TakenOver(head, take_over), None)
            if head.status() != StatusCode::SWITCHING_PROTOCOLS =>
        {
            shared.meter.streamed();
            return Ok(head.map(|()| Sent::stream(take_over.body(), stream)));
        }
        _ => Sent::whole(no_tunnel().into_response(), is_head, stream),
    };
    shared.meter.answered(response.status());
    Ok(response)
}

fn no_tunnel() -> HttpError {
    HttpError::new(
        StatusCode::NOT_IMPLEMENTED,
        "not_implemented",
        "There is no WebSocket at this path.",
    )
}

/// Answers a WebSocket's handshake; whoever takes it over gets the stream once the answer is sent.
fn open_tunnel<H: Handler>(
    shared: &Shared<H>,
    mut head: Response<()>,
    (take_over, upgrade): (Box<dyn TakeOver>, OnUpgrade),
    stream: OpenAnswer,
    peer: Peer,
) -> Response<Sent> {
    // RFC 8441, 5.1: success is a 200, and there is nothing to accept.
    *head.status_mut() = StatusCode::OK;
    for name in [UPGRADE, CONNECTION, http::header::SEC_WEBSOCKET_ACCEPT] {
        head.headers_mut().remove(name);
    }
    shared.tasks.spawn("http2.tunnel", async move {
        match upgrade.await {
            Ok(upgraded) => take_over.connection(TakenConnection {
                link: Link::Carried(Box::new(Tunnel::new(TokioIo::new(upgraded), stream))),
                head: Vec::new(),
                already_read: Bytes::new(),
                peer: peer.address,
            }),
            Err(error) => tracing::debug!(%error, "a WebSocket over HTTP/2 was not opened"),
        }
    });
    head.map(|()| Sent::nothing())
}

/// Makes a request look as on HTTP/1.1, and checks what the library does not.
///
/// # Errors
/// 400 for a disputable host, 431 for too many fields, 501 for a tunnel that is no WebSocket, and as
/// [`framing::check_demands`].
fn prepare<H>(
    head: &mut Parts,
    protocol: Option<&Protocol>,
    shared: &Shared<H>,
) -> Result<(), HttpError> {
    if head.headers.len() > usize::from(shared.limits.http_max_headers) {
        return Err(HttpError::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too_many_headers",
            "The request has too many header fields.",
        ));
    }
    name_host(head)?;
    join_cookies(head);
    match protocol {
        None => {}
        Some(protocol) if protocol.as_str() == "websocket" => {
            head.method = Method::GET;
            for (name, value) in [
                (UPGRADE, "websocket"),
                (CONNECTION, "upgrade"),
                // There is none on HTTP/2; the answer to it is taken away again.
                (SEC_WEBSOCKET_KEY, "AAAAAAAAAAAAAAAAAAAAAA=="),
            ] {
                head.headers.insert(name, HeaderValue::from_static(value));
            }
        }
        Some(_) => return Err(no_tunnel()),
    }
    framing::check_demands(head)
}

/// Puts `:authority` into `Host` (RFC 9113, 8.3.1).
fn name_host(head: &mut Parts) -> Result<(), HttpError> {
    if let Some(authority) = head.uri.authority() {
        let authority = authority.as_str();
        let differs =
            |host: &HeaderValue| !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes());
        if head.headers.get_all(HOST).iter().any(differs) {
            let problem = "The Host header is not the :authority.";
            return Err(HttpError::bad_request("bad_host", problem));
        }
        let host = HeaderValue::try_from(authority).map_err(HttpError::internal)?;
        head.headers.insert(HOST, host);
    }
    framing::check_host(head)
}

/// Joins what HTTP/2 lets clients cut into pieces (RFC 9113, 8.2.3).
fn join_cookies(head: &mut Parts) {
    let pieces: Vec<&[u8]> = head
        .headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if pieces.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
    {
        head.headers.insert(COOKIE, joined);
    }
}
