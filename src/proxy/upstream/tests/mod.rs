//! HTTP targets against backends on loopback that answer well and badly.

#![allow(
    clippy::disallowed_methods,
    reason = "tasks of tests end with their runtime"
)]

mod answers;
mod health;
mod http2;
mod requests;
mod retries;
mod streaming;
mod tls;
mod websocket;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser as _;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt as _, StreamBody as Frames};
use hyper::body::Frame;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::config::UpstreamConfig;
use super::forward::Forwarder;
use super::lasting::Lasting;
use super::upstreams::Upstreams;
use crate::access::{Places, PlacesConfig};
use crate::http::{HttpError, Reply, Request, StreamBody};
use crate::proxy::call::{Call, Caller};
use crate::proxy::route::{AnswerFrom, Protocol, Route, Target, UpstreamSpec};
use crate::session::{SessionConfig, Stay, Stays};
use crate::telemetry::{Metrics, Tasks, TraceContext};

/// How long the instance of a test takes to stop.
const GRACE: Duration = Duration::from_secs(3600);

#[derive(clap::Parser)]
struct Limits {
    #[command(flatten)]
    places: PlacesConfig,
    #[command(flatten)]
    sessions: SessionConfig,
}

/// Longer than anything takes, so that a test fails and does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that plays a part for each connection, and remembers what it was sent.
struct Backend {
    address: Authority,
    /// The heads of the requests in the order in which they came.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Backend {
    /// Plays `part` for each connection; it gets the socket, the number of the connection from 0 on, and where
    /// heads are noted.
    async fn playing<F, Fut>(part: F) -> Self
    where
        F: Fn(TcpStream, usize, Notes) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Notes(Arc::clone(&seen));
        tokio::task::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for number in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(part(socket, number, notes.clone()));
            }
        });
        Self { address, seen }
    }

    /// Answers the first request of each connection with these bytes, and closes it.
    async fn answering(answer: impl Into<Bytes>) -> Self {
        let answer = answer.into();
        Self::playing(move |mut socket, _, notes| {
            let answer = answer.clone();
            async move {
                notes.read_request(&mut socket).await;
                // A client that gives up has closed it.
                socket.write_all(&answer).await.ok();
            }
        })
        .await
    }

    /// Answers all requests of all connections with 200 and `ok`.
    async fn well() -> Self {
        Self::playing(|mut socket, _, notes| async move {
            while notes.read_request(&mut socket).await {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                socket.write_all(answer).await.unwrap();
            }
        })
        .await
    }

    /// An address at which nobody listens.
    async fn gone() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        Self {
            address,
            seen: Arc::default(),
        }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().clone()
    }
}

#[derive(Clone)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    /// Reads a request, of which the body has a length or is chunked without trailers; `false` at the end.
    async fn read_request(&self, socket: &mut (impl AsyncRead + Unpin)) -> bool {
        let Some(head) = read_until(socket, b"\r\n\r\n").await else {
            return false;
        };
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        socket.read_exact(&mut body).await.unwrap();
        let mut request = head;
        request.push_str(&String::from_utf8(body).unwrap());
        if lower.contains("transfer-encoding: chunked") {
            request.push_str(&read_until(socket, b"0\r\n\r\n").await.unwrap());
        }
        self.0.lock().push(request);
        true
    }
}

/// Reads up to and with `end`; `None` when there is nothing.
async fn read_until(socket: &mut (impl AsyncRead + Unpin), end: &[u8]) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(end) {
        socket.read_exact(&mut byte).await.ok()?;
        text.push(byte[0]);
    }
    Some(String::from_utf8(text).unwrap())
}

/// What a test asks for.
#[derive(Clone)]
struct Asked {
    protocol: Protocol,
    addresses: Vec<Authority>,
    base_path: &'static str,
    health_path: Option<&'static str>,
    method: Method,
    target: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    added: Vec<(&'static str, &'static str)>,
}

impl Asked {
    fn of(backends: &[&Backend]) -> Self {
        Self {
            protocol: Protocol::Http,
            addresses: backends.iter().map(|one| one.address.clone()).collect(),
            base_path: "",
            health_path: None,
            method: Method::GET,
            target: "/",
            headers: Vec::new(),
            added: Vec::new(),
        }
    }

    fn with(method: Method, backends: &[&Backend]) -> Self {
        Self {
            method,
            ..Self::of(backends)
        }
    }

    fn call(&self) -> Call {
        let upstream = UpstreamSpec {
            protocol: self.protocol,
            addresses: self.addresses.clone().into(),
            base_path: self.base_path.into(),
            health_path: self.health_path.map(Into::into),
        };
        let added = self.added.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let route = Route {
            api: "api".into(),
            endpoint: "endpoint".into(),
            method: self.method.clone(),
            path_regex: "/.*".into(),
            is_secured: false,
            tokens: None,
            add_headers: added.collect(),
            target: Target::Http(Arc::new(upstream)),
            answer_from: AnswerFrom::Target,
        };
        let mut request = http::Request::builder().method(&self.method);
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::new()).unwrap();
        Call {
            route: Arc::new(route),
            request: Request::new(request, ([192, 0, 2, 1], 1).into()),
            target: self.target.to_owned(),
            groups: Box::default(),
            caller: Caller::default(),
            trace: TraceContext::child_of(&HeaderMap::new()),
        }
    }
}

/// A proxy with the settings of a test.
struct Proxy {
    forwarder: Forwarder,
    upstreams: Upstreams,
    metrics: Metrics,
    tasks: Tasks,
    /// What is stopped first.
    public: Tasks,
    stays: Stays,
}

impl Proxy {
    fn new() -> Self {
        Self::with(UpstreamConfig::default())
    }

    fn with(config: UpstreamConfig) -> Self {
        Self::stopping_within(GRACE, config)
    }

    fn stopping_within(grace: Duration, config: UpstreamConfig) -> Self {
        let (tasks, metrics) = (Tasks::new(), Metrics::new());
        let upstreams = Upstreams::new(config, &tasks, &metrics).unwrap();
        let public = Tasks::new();
        let limits = Limits::parse_from([
            "",
            "--max-connections-per-address=3",
            "--session-expiry-jitter=0",
        ]);
        let places = Places::new(&limits.places, metrics.clone(), std::time::Instant::now());
        let lasting = Lasting::new(places, public.clone(), grace);
        Self {
            forwarder: Forwarder::new(upstreams.clone(), lasting),
            public,
            stays: Stays::new(&limits.sessions),
            upstreams,
            metrics,
            tasks,
        }
    }

    async fn reply(&self, asked: &Asked, body: StreamBody) -> Result<Reply, HttpError> {
        self.reply_during(None, asked, body).await
    }

    /// Asks on behalf of somebody who may stay so long.
    async fn reply_during(
        &self,
        stay: Option<Stay>,
        asked: &Asked,
        body: StreamBody,
    ) -> Result<Reply, HttpError> {
        let call = asked.call();
        let Target::Http(upstream) = &call.route.target else {
            panic!("not http");
        };
        let sent = self.forwarder.send(&call, upstream, &call.target, body);
        let begun = tokio::time::timeout(PATIENCE, sent).await.unwrap()?;
        Ok(self.forwarder.reply(begun, stay))
    }

    /// Asks, without a body, and reads the answer to its end.
    async fn ask(&self, asked: &Asked) -> Answered {
        self.ask_with(asked, whole("")).await
    }

    async fn ask_with(&self, asked: &Asked, body: StreamBody) -> Answered {
        match self.reply(asked, body).await {
            Ok(Reply::Streamed(response)) => {
                let (head, body) = response.into_parts();
                let body = tokio::time::timeout(PATIENCE, body.collect())
                    .await
                    .unwrap();
                Answered {
                    status: head.status.as_u16(),
                    code: "",
                    headers: head.headers,
                    body: body.map(|body| {
                        let trailers = body.trailers().cloned();
                        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
                        (text, trailers)
                    }),
                }
            }
            Ok(other) => panic!("not streamed: {other:?}"),
            Err(error) => Answered {
                status: error.status().as_u16(),
                code: error.code(),
                headers: HeaderMap::new(),
                body: Ok((String::new(), None)),
            },
        }
    }

    fn tries(&self, outcome: &str) -> u64 {
        let tries = &self.metrics.proxy.upstream_tries;
        tries.with_label_values(&["api", outcome]).get()
    }

    fn connections(&self) -> u64 {
        self.metrics.proxy.upstream_connections.get()
    }
}

/// An answer, or an error as its client would see it.
struct Answered {
    status: u16,
    code: &'static str,
    headers: HeaderMap,
    body: io::Result<(String, Option<HeaderMap>)>,
}

impl Answered {
    fn text(&self) -> &str {
        &self.body.as_ref().unwrap().0
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A body that is there as a whole.
fn whole(text: &'static str) -> StreamBody {
    http_body_util::Full::new(Bytes::from_static(text.as_bytes()))
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that comes over a channel, and whose length nobody knows.
fn piecewise() -> (
    tokio::sync::mpsc::Sender<io::Result<Frame<Bytes>>>,
    StreamBody,
) {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let pieces = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, Frames::new(pieces).boxed_unsync())
}

fn data(text: &'static str) -> io::Result<Frame<Bytes>> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}
