//! Routes of the proxy, and those who carry out what comes by them: an HTTP backend, and a worker at Kafka.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::gateway::{Settings, unique};
use super::http::PATIENCE;
use super::kafka::Kafka;
use super::records::Record;

/// Headers, as they are sent.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

/// Returns an API with these endpoints, whose HTTP targets are at `backend`.
pub fn api(id: &str, backend: SocketAddr, endpoints: Value) -> Value {
    json!({
        "id": id, "name": id, "auth_type": "jwt",
        "proxy": { "target_url": "http://127.0.0.1", "port": backend.port() },
        "version_data": { "default": { "endpoints": endpoints } },
    })
}

/// An address where nobody is.
pub const NOBODY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

impl Settings {
    /// Has these APIs, and a topic of its own for answers.
    pub fn with_apis(self, apis: &[Value]) -> Self {
        self.with("PROXY_CONFIG_FILE", json!(apis).to_string())
            .with("PROXY_KAFKA_RESPONSE_TOPICS", unique("answers"))
    }

    /// The topic for answers.
    pub fn answers(&self) -> &str {
        self.get("PROXY_KAFKA_RESPONSE_TOPICS")
    }
}

/// A request as a backend got it.
#[derive(Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The id under which it may be answered later.
    pub fn correlation(&self) -> String {
        let (_, query) = self.target.split_once('?').expect("a query");
        let mut ids = query
            .split('&')
            .filter_map(|pair| pair.strip_prefix("correlation="));
        let id = ids.next().expect("an id").to_owned();
        assert_eq!(ids.next(), None, "{query}");
        id
    }
}

/// An HTTP backend on a port of its own; it ends with the runtime of the test.
#[derive(Debug)]
pub struct Backend {
    pub address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Backend {
    /// A backend that answers each request with what `answer` makes of it.
    pub async fn start(
        answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                let answering = service_fn(move |request: Request<Incoming>| {
                    let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                    async move {
                        let (head, body) = request.into_parts();
                        let seen = Seen {
                            method: head.method.to_string(),
                            target: head.uri.to_string(),
                            headers: head.headers,
                            body: body.collect().await?.to_bytes(),
                        };
                        let response = answer(&seen);
                        // The test may have seen enough.
                        let _told = sender.send(seen);
                        Ok::<_, hyper::Error>(response)
                    }
                });
                let serving =
                    http1::Builder::new().serve_connection(TokioIo::new(socket), answering);
                tokio::spawn(async move {
                    // A client that goes away is no failure of the backend.
                    let _served = serving.await;
                });
            }
        });
        Self { address, seen }
    }

    /// A backend that answers with this status and this body.
    pub async fn saying(status: u16, body: &'static str) -> Self {
        Self::start(move |_| said(status, body)).await
    }

    /// Returns the next request that it got.
    pub async fn next(&mut self) -> Seen {
        let next = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
        next.expect("a request in time").expect("a backend")
    }

    /// Leaves out what it got so far.
    pub fn skip(&mut self) {
        while self.seen.try_recv().is_ok() {}
    }

    /// Asserts that it got no other request than those that were looked at.
    pub fn got_no_more(&mut self) {
        let more = self.seen.try_recv();
        assert!(more.is_err(), "{more:?}");
    }
}

/// Returns an answer of a backend.
pub fn said(status: u16, body: &'static str) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status);
    response.body(Full::new(body.into())).unwrap()
}

/// A command as a worker read it.
#[derive(Debug)]
pub struct Command {
    pub record: Record,
    pub event: Value,
}

impl Command {
    /// The id under which it is answered.
    pub fn correlation(&self) -> &str {
        let id = self.record.header("rig-correlation").expect("an id");
        assert_eq!(self.event["rig"]["correlation"], id);
        id
    }
}

/// A worker: reads commands from a topic, and writes answers into another.
pub struct Worker {
    commands: mpsc::UnboundedReceiver<Command>,
    producer: FutureProducer,
    answers: String,
}

impl Worker {
    /// A worker that reads from a topic, which is created.
    pub async fn start(kafka: &'static Kafka, topic: &str, settings: &Settings) -> Self {
        kafka.create(topic, 1).await;
        let (sender, commands) = mpsc::unbounded_channel();
        let mut config = kafka.client();
        config.set("group.id", "worker");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning)
            .unwrap();
        consumer.assign(&list).unwrap();
        std::thread::spawn(move || {
            while !sender.is_closed() {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else {
                    continue;
                };
                let headers = message.headers().map(|headers| {
                    let text = |header: Header<'_, &[u8]>| {
                        let value = header.value.unwrap_or_default().to_vec();
                        (header.key.to_owned(), String::from_utf8(value).unwrap())
                    };
                    headers.iter().map(text).collect()
                });
                let record = Record {
                    partition: 0,
                    key: message
                        .key()
                        .map(|key| String::from_utf8(key.to_vec()).unwrap()),
                    headers: headers.unwrap_or_default(),
                    value: message.payload().unwrap_or_default().to_vec(),
                };
                let event = record.json();
                if sender.send(Command { record, event }).is_err() {
                    break;
                }
            }
        });
        Self {
            commands,
            producer: kafka.client().create().unwrap(),
            answers: settings.answers().to_owned(),
        }
    }

    /// Returns the next command.
    pub async fn next(&mut self) -> Command {
        let next = tokio::time::timeout(PATIENCE, self.commands.recv()).await;
        next.expect("a command in time").expect("a reader")
    }

    /// Asserts that no other command was read than those that were looked at.
    pub fn got_no_more(&mut self) {
        let more = self.commands.try_recv();
        assert!(more.is_err(), "{more:?}");
    }

    /// Writes an answer with these headers.
    pub async fn write(&self, headers: &[(&str, &str)], body: &[u8]) {
        let mut owned = OwnedHeaders::new();
        for (key, value) in headers {
            let value = Some(*value);
            owned = owned.insert(Header { key, value });
        }
        let record = FutureRecord::<[u8], [u8]>::to(&self.answers);
        let written = self
            .producer
            .send(record.headers(owned).payload(body), PATIENCE);
        written.await.expect("kafka takes the answer");
    }

    /// Answers a command.
    pub async fn answer(&self, correlation: &str, code: &str, body: &str) {
        let headers = [
            ("rig-correlation", correlation),
            ("rig-response-code", code),
            ("content-type", "text/plain"),
        ];
        self.write(&headers, body.as_bytes()).await;
    }
}

/// Posts an answer to the internal port of an instance.
pub async fn post_answer(
    internal: SocketAddr,
    headers: &[(&str, &str)],
    body: &[u8],
) -> super::http::Answer {
    super::http::request(internal, "POST", "/v3/responses", headers, body).await
}
