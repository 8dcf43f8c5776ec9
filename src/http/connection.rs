//! One connection, from accept to its end or its takeover.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntCounter;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::framing::{self, Framing};
use super::limits::{HttpLimits, MIN_HEAD_BYTES};
use super::reply::{Body, Handler, Reply, TakeOver, TakenSocket};
use super::request::Request;
use super::wire::{Expired, Stage, WatchedSocket, Wire};
use crate::telemetry::Metrics;

/// What all connections of a listener share.
pub(super) struct Shared<H> {
    pub(super) handler: H,
    pub(super) limits: HttpLimits,
    pub(super) stopping: CancellationToken,
    pub(super) meter: Meter,
    pub(super) builder: http1::Builder,
}

/// The counters of one listener, looked up once.
pub(super) struct Meter {
    metrics: Metrics,
    classes: [IntCounter; 5],
    streams: IntCounter,
}

impl Meter {
    pub(super) fn new(metrics: Metrics, listener: &'static str) -> Self {
        let counter = |status| metrics.http_requests.with_label_values(&[listener, status]);
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(counter);
        let streams = counter("stream");
        for reason in ["descriptors", "malformed"] {
            metrics.http_refused.with_label_values(&[reason]);
        }
        Self {
            metrics,
            classes,
            streams,
        }
    }

    fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.classes.get(class) {
            counter.inc();
        }
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.metrics.http_refused.with_label_values(&[reason]).inc();
    }
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
enum End {
    Finished(hyper::Result<()>),
    TakenOver(TakeOver),
    Expired(Expired),
}

/// Serves one connection until it ends, its time is over, or a handler takes its socket over.
pub(super) async fn serve<H: Handler>(shared: Arc<Shared<H>>, stream: TcpStream, peer: SocketAddr) {
    let wire = Wire::new();
    let io = TokioIo::new(WatchedSocket::new(stream, wire.clone()));
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
        ))
    });
    let mut connection = shared.builder.serve_connection(io, service);
    let end = run(&mut connection, &wire, &shared).await;
    let parts = connection.into_parts();
    let stream = parts.io.into_inner().into_stream();
    match end {
        End::TakenOver(take_over) => {
            hand_over(take_over, stream, parts.read_buf, peer);
        }
        End::Expired(expired) => {
            if expired != Expired::Idle {
                shared.meter.refused(expired.as_str());
            }
            if expired == Expired::SlowHead && wire.is_flushed() {
                tell_timeout(&stream);
            }
        }
        End::Finished(result) => {
            if let Err(error) = &result {
                tracing::debug!(%error, "http connection ended with an error");
                if error.is_parse() {
                    shared.meter.refused("malformed");
                }
            }
            if !wire.saw_end() {
                linger(stream, &wire, &shared.stopping).await;
            }
        }
    }
}

/// Drives hyper, and looks at the takeover, the deadlines and the stop signal after each step.
async fn run<C, H>(connection: &mut C, wire: &Wire, shared: &Shared<H>) -> End
where
    C: Future<Output = hyper::Result<()>> + GracefulShutdown + Unpin,
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
        if let Some(take_over) = wire.ready_take_over() {
            return Poll::Ready(End::TakenOver(take_over));
        }
        if !is_stopping && stopping.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            Pin::new(&mut *connection).begin_shutdown();
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

/// hyper's graceful shutdown, nameable without the type of the service.
trait GracefulShutdown {
    fn begin_shutdown(self: Pin<&mut Self>);
}

impl<S> GracefulShutdown for http1::Connection<TokioIo<WatchedSocket>, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn begin_shutdown(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Returns the `Content-Length` that hyper follows; 0 for a chunked body.
fn declared_length(head: &Parts) -> u64 {
    let length = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    length.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Answers one request; does not return when the connection is taken over.
async fn answer<H: Handler>(
    shared: Arc<Shared<H>>,
    wire: Wire,
    (head, body): (Parts, Incoming),
    framing: Framing,
    peer: SocketAddr,
) -> Result<Response<Body>, Infallible> {
    let version = head.version;
    let reply = match framing::check(&head, framing) {
        Ok(()) => {
            let request = Request::from_hyper(head, body, peer, shared.limits.http_body_timeout);
            shared.handler.handle(request).await
        }
        Err(refusal) => refusal.into(),
    };
    match reply {
        Reply::Response(mut response) => {
            // HTTP/1.0: we promise no persistence. Chunked: see RFC 9112, 6.1, and `HeadWatch`.
            if version < Version::HTTP_11 || framing.is_chunked() {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            shared.meter.answered(response.status());
            wire.end_request();
            Ok(response)
        }
        Reply::TakeOver(take_over) => {
            shared.meter.streams.inc();
            drop(shared);
            wire.request_take_over(take_over);
            std::future::pending().await
        }
    }
}

fn hand_over(take_over: TakeOver, stream: TcpStream, already_read: bytes::Bytes, peer: SocketAddr) {
    match stream.into_std() {
        Ok(stream) => take_over(TakenSocket {
            stream,
            already_read,
            peer,
        }),
        Err(error) => tracing::warn!(%error, "could not take a socket over"),
    }
}

/// Says 408 to a client whose head came too slowly, if the kernel takes it at once.
fn tell_timeout(stream: &TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    if let Err(error) = stream.try_write(ANSWER) {
        tracing::debug!(%error, "could not tell a client about its timeout");
    }
}

/// How long, and for how many bytes, a client may go on sending after the last answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// Closes our side and reads what still comes, unseen.
///
/// Closing a socket with unread data resets the connection, and a reset can overtake the answer (RFC 9112, 9.6).
async fn linger(mut stream: TcpStream, wire: &Wire, stopping: &CancellationToken) {
    let discard = async {
        if !wire.is_shut_down() {
            stream.shutdown().await?;
        }
        let mut scratch = [0; 2048];
        let mut left = LINGER_BYTES;
        loop {
            match stream.read(&mut scratch).await? {
                0 => return io::Result::Ok(()),
                read => left = left.saturating_sub(read),
            }
            if left == 0 {
                return Ok(());
            }
        }
    };
    tokio::select! {
        result = tokio::time::timeout(LINGER, discard) => {
            if let Ok(Err(error)) = result {
                tracing::trace!(%error, "client went away after the answer");
            }
        }
        () = stopping.cancelled() => {}
    }
}
