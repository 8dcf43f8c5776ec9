//! The endpoints that look at tokens, and clients that knock there with whatever they have.

use std::net::SocketAddr;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::gateway::{Settings, event, query};
use super::h2::{self, Http2};
use super::http::{Answer, PATIENCE, encode, parse_head, split_head};
use super::kafka::Kafka;
use super::sse::Sse;

/// An endpoint that looks at tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Sse,
    WebSocket,
    LongPoll,
    Change,
    Submit,
    Ticket,
}

impl Door {
    pub const ALL: [Self; 6] = [
        Self::Sse,
        Self::WebSocket,
        Self::LongPoll,
        Self::Change,
        Self::Submit,
        Self::Ticket,
    ];

    fn method(self) -> &'static str {
        match self {
            Self::Sse | Self::WebSocket | Self::LongPoll => "GET",
            Self::Change => "PUT",
            Self::Submit | Self::Ticket => "POST",
        }
    }

    fn body(self) -> Vec<u8> {
        let body = match self {
            Self::Sse | Self::WebSocket | Self::LongPoll | Self::Ticket => return Vec::new(),
            Self::Change => json!({ "subscriptions": [{ "eventType": "t" }] }),
            Self::Submit => event("t", "1", json!(1)),
        };
        body.to_string().into_bytes()
    }

    /// Returns whether an answer is the one of a door that opens.
    pub fn is_opened_by(self, answer: &Answer) -> bool {
        match self {
            Self::WebSocket => [101, 200].contains(&answer.status),
            Self::Sse | Self::LongPoll => answer.status == 200,
            Self::Change => answer.status == 204,
            Self::Submit => answer.status == 202,
            Self::Ticket => answer.status == 201,
        }
    }
}

/// What a client shows at a door.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    headers: Vec<(&'static str, Vec<u8>)>,
    query: Vec<String>,
}

impl Shown {
    pub fn nothing() -> Self {
        Self::default()
    }

    pub fn header(name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        Self::nothing().and_header(name, value)
    }

    pub fn bearer(token: impl AsRef<[u8]>) -> Self {
        Self::header("authorization", [b"Bearer ", token.as_ref()].concat())
    }

    /// A parameter of the query, encoded.
    pub fn query(name: &str, value: &str) -> Self {
        Self::raw_query(&format!("{name}={}", encode(value)))
    }

    /// A parameter of the query as it is.
    pub fn raw_query(parameter: &str) -> Self {
        Self {
            query: vec![parameter.to_owned()],
            ..Self::default()
        }
    }

    pub fn cookie(value: &str) -> Self {
        Self::header("cookie", format!("other=1; {COOKIE}={value}"))
    }

    pub fn sub_protocol(token: &str) -> Self {
        let offered = format!("bearer.{token}, cloudevents.json");
        Self::header("sec-websocket-protocol", offered)
    }

    pub fn and_header(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn and(mut self, other: Self) -> Self {
        self.headers.extend(other.headers);
        self.query.extend(other.query);
        self
    }
}

/// The name of the cookie that may have a token.
pub const COOKIE: &str = "access";
/// The page that may use the cookie.
pub const PAGE: &str = "https://app.example";

impl Settings {
    /// All doors are shut to those who have no token; the cookie counts for one page.
    pub fn guarded(kafka: &Kafka) -> Self {
        Self::new(kafka)
            .with_tokens()
            .with("SUBSCRIPTION_CHECK", "jwt_validation")
            .with("SUBMISSION_CHECK", "jwt_validation")
            .with("JWT_COOKIE", COOKIE)
            .with("CORS", PAGE)
    }
}

/// A client of one instance; has a stream whose subscriptions it changes.
#[derive(Debug)]
pub struct Caller {
    pub address: SocketAddr,
    pub http2: Option<Http2>,
    /// Kept open; in a lock so that tasks can share a client.
    _stream: Mutex<Sse>,
    connection: String,
}

impl Caller {
    /// A client that makes a connection of HTTP/1.1 for each request.
    pub async fn new(address: SocketAddr) -> Self {
        let mut stream = Sse::open(address, "", &[]).await;
        let connection = stream.subscribed().await;
        Self {
            address,
            http2: None,
            _stream: Mutex::new(stream),
            connection,
        }
    }

    /// A client with one connection of HTTP/2, on which there may be WebSockets.
    pub async fn over_http2(address: SocketAddr) -> Self {
        let mut http2 = Http2::over(TcpStream::connect(address).await.unwrap()).await;
        let answer = http2.request("GET", "/_rig/health", &[], b"").await;
        assert_eq!(answer.status, 200);
        assert!(http2.takes_websockets().await);
        Self {
            http2: Some(http2),
            ..Self::new(address).await
        }
    }

    fn target(&self, door: Door, shown: &Shown) -> String {
        let path = match door {
            Door::Sse => "connection/sse",
            Door::WebSocket => "connection/ws",
            Door::LongPoll => "connection/longpolling",
            Door::Change => &format!("connection/sse/{}/subscriptions", self.connection),
            Door::Submit => "events",
            Door::Ticket => "tickets",
        };
        let mut parameters = shown.query.clone();
        if matches!(door, Door::Sse | Door::WebSocket | Door::LongPoll) {
            parameters.push(query(&json!([{ "eventType": "t" }])));
        }
        format!("/_rig/v1/{path}?{}", parameters.join("&"))
    }

    /// Asks for what is behind a door. Of a stream that begins there is only the head.
    pub async fn knock(&self, door: Door, shown: &Shown) -> Answer {
        let asking = async {
            match &self.http2 {
                None => self.knock_over_http1(door, shown).await,
                Some(http2) => self.knock_over_http2(http2, door, shown).await,
            }
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| panic!("no answer at {door:?}"))
    }

    async fn knock_over_http1(&self, door: Door, shown: &Shown) -> Answer {
        let target = self.target(door, shown);
        let body = door.body();
        let mut head = format!("{} {target} HTTP/1.1\r\nhost: localhost\r\n", door.method());
        head.push_str(match door {
            Door::WebSocket => HANDSHAKE,
            _ => "connection: close\r\n",
        });
        if door.method() != "GET" {
            let length = body.len();
            head.push_str(&format!(
                "content-type: application/json\r\ncontent-length: {length}\r\n"
            ));
        }
        let mut bytes = head.into_bytes();
        for (name, value) in &shown.headers {
            bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        // The server may refuse before it has read all; what it answers counts.
        let _written = socket.write_all(&bytes).await;
        read(socket).await
    }

    async fn knock_over_http2(&self, http2: &Http2, door: Door, shown: &Shown) -> Answer {
        let (method, mut headers) = match door {
            Door::WebSocket => ("CONNECT", vec![("sec-websocket-version", "13")]),
            _ => (door.method(), vec![("content-type", "application/json")]),
        };
        let shown_headers = shown
            .headers
            .iter()
            .map(|(name, value)| (*name, std::str::from_utf8(value).unwrap()));
        headers.extend(shown_headers);
        let target = self.target(door, shown);
        if !matches!(door, Door::Sse | Door::WebSocket) {
            return http2.request(method, &target, &headers, &door.body()).await;
        }
        let mut request = h2::request(method, &target, &headers);
        if door == Door::WebSocket {
            let protocol = ::h2::ext::Protocol::from_static("websocket");
            request.extensions_mut().insert(protocol);
        }
        let (response, _sender) = http2.send(request, door == Door::Sse).await.unwrap();
        let response = response.await.unwrap();
        if response.status() != 200 {
            return h2::read(response).await;
        }
        Answer {
            status: 200,
            headers: h2::texts(response.headers()),
            body: Vec::new(),
        }
    }

    /// Gets a ticket for a token.
    pub async fn ticket(&self, token: &str) -> String {
        let answer = self.knock(Door::Ticket, &Shown::bearer(token)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["ticket"].as_str().unwrap().to_owned()
    }
}

const HANDSHAKE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Reads one answer; of a stream the head.
async fn read(mut socket: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    loop {
        if let Some((head, rest)) = split_head(&bytes) {
            let (status, headers) = parse_head(&head);
            let mut answer = Answer {
                status,
                headers,
                body: rest.to_vec(),
            };
            let length = answer.header("content-length");
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            while answer.body.len() < length {
                let count = socket.read_buf(&mut answer.body).await.unwrap();
                assert_ne!(count, 0, "cut off");
            }
            answer.body.truncate(length);
            return answer;
        }
        let count = socket.read_buf(&mut bytes).await.unwrap();
        assert_ne!(count, 0, "closed without an answer");
    }
}

/// Asserts that a door stayed shut for this reason, and that nothing of what was shown is said again.
pub fn assert_shut(answer: &Answer, status: u16, code: &str, what: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "{what}: {text}");
    assert_eq!(answer.json()["code"], Value::from(code), "{what}: {text}");
    let challenge = answer.header("www-authenticate");
    let expected = match (status, code) {
        (401, "token_required") => Some("Bearer"),
        (401, _) => Some("Bearer error=\"invalid_token\""),
        _ => None,
    };
    assert_eq!(challenge, expected, "{what}");
}
