//! One connection, from accept to its end or its takeover.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::body_memory::BodyMemory;
use super::ending::{hand_over, linger, reset, stream_head, tell_timeout};
use super::framing::{self, Framing};
use super::http2;
use super::limits::{HttpLimits, MIN_HEAD_BYTES};
use super::meter::Meter;
use super::pause::{Asked, Pause, Resumed};
use super::peer::Peer;
use super::proxies::TrustedProxies;
use super::received::Source;
use super::reply::{Body, Handler, Reply};
use super::request::Request;
use super::sent::Sent;
use super::socket::{Io, PREFACE};
use super::tls::Tls;
use super::wire::{Departure, Expired, Stage, Wire};
use crate::telemetry::Tasks;

/// What all connections of a listener share.
pub(super) struct Shared<H> {
    pub(super) handler: Arc<H>,
    pub(super) limits: HttpLimits,
    pub(super) stopping: CancellationToken,
    pub(super) meter: Meter,
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder,
    /// Runs what outlives a connection's own task.
    pub(super) tasks: Tasks,
    /// How TLS is spoken, on a port that does.
    pub(super) tls: Option<Tls>,
    /// Whose word counts on who its clients are.
    pub(super) trusted_proxies: TrustedProxies,
    /// For bodies that are read as a whole.
    pub(super) body_memory: BodyMemory,
}

/// Configures hyper; its own header timer is replaced by the deadlines of [`Wire`].
pub(super) fn builder(limits: &HttpLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let head_bytes = limits.http_max_header_bytes.max(MIN_HEAD_BYTES);
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .half_close(true)
        .max_header_size(head_bytes)
        .max_buf_size(head_bytes);
    if limits.http_max_headers != 100 {
        builder.max_headers(usize::from(limits.http_max_headers));
    }
    builder
}

/// How the HTTP part of a connection ended.
pub(super) enum End {
    Finished(hyper::Result<()>),
    Departed(Departure),
    Expired(Expired),
    /// The client left, and its request is to end with it.
    Left,
}

/// Serves one connection until it ends, its time is over, or a handler takes it over.
///
/// What it takes while hyper has it is given back while a response is waited for.
pub(super) async fn serve<H: Handler, S: Io>(shared: Arc<Shared<H>>, stream: S, peer: Peer) {
    let mut next = Some(Resumed::first(stream));
    while let Some(resumed) = next {
        let paused = Box::pin(serve_until_pause(Arc::clone(&shared), resumed, peer)).await;
        next = match paused {
            Some((stream, unread, pause)) => pause.wait(stream, unread, &shared.stopping).await,
            None => None,
        };
    }
}

/// Serves one connection as [`serve`] does, but returns it when a response is to be waited for.
///
/// A client that begins with the preface of HTTP/2 gets that.
async fn serve_until_pause<H: Handler, S: Io>(
    shared: Arc<Shared<H>>,
    resumed: Resumed<S>,
    peer: Peer,
) -> Option<(S, Bytes, Pause)> {
    let wire = Wire::new();
    let (socket, response) = resumed.watch(wire.clone());
    // The response that was waited for is that to the first request, which is played to hyper again.
    let response = Mutex::new(response);
    let service = service_fn(|request: http::Request<Incoming>| {
        let (head, body) = request.into_parts();
        // Here and not in the future: hyper must not have read on when the head is looked at.
        let framing = wire.begin_request(declared_length(&head));
        Box::pin(answer(
            Arc::clone(&shared),
            wire.clone(),
            (head, body),
            framing,
            peer,
            response.lock().take(),
        ))
    });
    let mut connection = shared.http1.serve_connection(TokioIo::new(socket), service);
    let end = run(&mut connection, &wire, &shared, |hyper| {
        Pin::new(hyper).graceful_shutdown();
    })
    .await;
    let http1::Parts { io, read_buf, .. } = connection.into_parts();
    let (stream, unread) = io.into_inner().into_parts();
    let read_buf = joined(read_buf, &unread);
    match end {
        End::Departed(Departure::Stream(take_over, head)) => {
            hand_over(
                (take_over, head),
                stream,
                read_buf,
                peer.address,
                &shared.limits,
            );
        }
        End::Departed(Departure::Pause(pause)) => return Some((stream, read_buf, pause)),
        End::Finished(Err(_)) if read_buf.starts_with(PREFACE) => {
            Box::pin(http2::serve(shared, stream, read_buf, peer)).await;
        }
        End::Left => {}
        End::Expired(expired) => {
            shared.meter.expired(expired);
            if expired == Expired::SlowHead && wire.is_flushed() {
                tell_timeout(stream).await;
            }
        }
        End::Finished(result) => finish(&shared, &wire, stream, result).await,
    }
    None
}

/// Ends a connection that hyper has done with.
async fn finish<H, S: Io>(shared: &Shared<H>, wire: &Wire, stream: S, result: hyper::Result<()>) {
    if let Err(error) = &result {
        tracing::debug!(%error, "http connection ended with an error");
        if error.is_parse() {
            shared.meter.refused("malformed");
        }
    }
    if wire.must_reset() {
        reset(&stream);
    } else if !wire.saw_end() {
        linger(stream, wire, &shared.stopping).await;
    }
}

/// Joins what was read, of which the second part is mostly empty.
fn joined(first: Bytes, second: &Bytes) -> Bytes {
    if second.is_empty() {
        return first;
    }
    [&*first, &**second].concat().into()
}

/// Drives hyper, and looks at the takeover, the deadlines and the stop signal after each step.
pub(super) async fn run<C, H>(
    connection: &mut C,
    wire: &Wire,
    shared: &Shared<H>,
    begin_shutdown: impl Fn(&mut C),
) -> End
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut stopping = pin!(shared.stopping.cancelled());
    let mut is_stopping = false;
    let mut timer = pin!(tokio::time::sleep_until(
        Instant::now() + shared.limits.http_first_byte_timeout
    ));
    poll_fn(|cx| {
        if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
            return Poll::Ready(End::Finished(result));
        }
        if let Some(departure) = wire.ready_departure() {
            return Poll::Ready(End::Departed(departure));
        }
        if wire.is_gone() {
            return Poll::Ready(End::Left);
        }
        if !is_stopping && stopping.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            begin_shutdown(connection);
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(End::Finished(result));
            }
        }
        if is_stopping && wire.stage() != Stage::Handling && wire.is_flushed() {
            // A request of which only a part has come is not in flight yet.
            return Poll::Ready(End::Expired(Expired::Idle));
        }
        poll_deadline(timer.as_mut(), wire.deadline(&shared.limits), cx).map(End::Expired)
    })
    .await
}

fn poll_deadline(
    mut timer: Pin<&mut Sleep>,
    deadline: Option<(Instant, Expired)>,
    cx: &mut Context<'_>,
) -> Poll<Expired> {
    let Some((at, expired)) = deadline else {
        return Poll::Pending;
    };
    if timer.deadline() != at {
        timer.as_mut().reset(at);
    }
    timer.poll(cx).map(|()| expired)
}

/// Returns the `Content-Length` that hyper follows; 0 for a chunked body.
fn declared_length(head: &Parts) -> u64 {
    let length = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    length.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Answers one request, with `waited` if there is that; does not return when the connection leaves hyper.
async fn answer<H: Handler>(
    shared: Arc<Shared<H>>,
    wire: Wire,
    (head, body): (Parts, Incoming),
    framing: Framing,
    peer: Peer,
    waited: Option<Response<Body>>,
) -> Result<Response<Sent>, Infallible> {
    let asked = Asked::of(&head, framing);
    let is_head = head.method == Method::HEAD;
    let mut is_last = is_last(&head, framing);
    let version = head.version;
    let reply = match waited {
        Some(response) => Reply::Response(response),
        None => handle(&shared, &wire, (head, body), framing, peer).await,
    };
    let mut response = match (reply, asked) {
        (Reply::Response(response), _) => whole(&wire, response),
        (Reply::Streamed(response), _) => {
            // An answer to half a request is mostly the last word on it.
            is_last |= wire.expects_body();
            if response.body().size_hint().exact().is_none() {
                wire.watch_with_kernel(shared.limits.stream_write_timeout);
            }
            Sent::streamed(response, is_head, wire.begin_answer(version))
        }
        (Reply::Later(response), Some(asked)) if !asked.has_body() || wire.has_read_body() => {
            drop(shared);
            let pause = Pause::new(asked, response, wire.ends_with_client());
            wire.request_departure(Departure::Pause(pause));
            return std::future::pending().await;
        }
        (Reply::Later(response), _) => whole(&wire, response.await),
        (Reply::TakenOver(head, take_over), _) => {
            shared.meter.streamed();
            drop(shared);
            wire.request_departure(Departure::Stream(take_over, stream_head(head)));
            return std::future::pending().await;
        }
    };
    if is_last {
        say_close(response.headers_mut());
    }
    shared.meter.answered(response.status());
    Ok(response)
}

/// Has the handler answer a request that can be understood in one way only.
async fn handle<H: Handler>(
    shared: &Shared<H>,
    wire: &Wire,
    (head, body): (Parts, Incoming),
    framing: Framing,
    peer: Peer,
) -> Reply {
    if let Err(refusal) = framing::check(&head, framing) {
        return refusal.into();
    }
    let request = Request::from_hyper(
        head,
        Source::Http1(body, wire.clone()),
        (peer, &shared.trusted_proxies),
        shared.limits.http_body_timeout,
        &shared.body_memory,
    );
    shared.handler.handle(request).await
}

/// Notes that the handler has answered.
fn whole(wire: &Wire, response: Response<Body>) -> Response<Sent> {
    wire.end_request();
    response.map(Sent::plain)
}

/// Returns whether the connection ends with the answer to this request.
///
/// HTTP/1.0: we promise no persistence. Chunked: see RFC 9112, 6.1, and `HeadWatch`.
fn is_last(head: &Parts, framing: Framing) -> bool {
    head.version < Version::HTTP_11 || framing.is_chunked()
}

fn say_close(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}
