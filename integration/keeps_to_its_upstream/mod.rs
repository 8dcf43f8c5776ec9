//! Attacks, byte for byte: whatever a client or a backend sends, a request goes to the backend of its route, alone and as
//! one request, or nowhere; and an answer to the client who asked, or nowhere.

pub mod as_long_as_paths_are_plain;
pub mod whatever_it_answers;
pub mod whatever_the_head_says;
pub mod whatever_the_length_is;
pub mod with_http_2;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::fetch::in_time;
use crate::support::gateway::{Gateway, Settings};
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::routes::{all, endpoint};
use crate::support::upstream::{Caller, Sent, Upstream};

/// Where attacks are tried.
pub struct Ground {
    pub gateway: Gateway,
    /// The backend of all routes: it answers `ok`.
    pub upstream: Upstream,
    /// Where nobody must ever go.
    pub trap: Upstream,
}

/// Answers `ok` to all requests.
async fn ok(mut caller: Caller) {
    while caller.request().await.is_some() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        caller.write(answer).await;
    }
}

impl Ground {
    /// Everything goes to the backend, but `/admin` and what is below it only with a token.
    pub async fn new(kafka: &Kafka) -> Self {
        Self::with(kafka, json!([])).await
    }

    /// The same with more endpoints, which are tried first.
    pub async fn with(kafka: &Kafka, more: Value) -> Self {
        let upstream = Upstream::playing(ok).await;
        let trap = Upstream::playing(ok).await;
        let mut api = all(&upstream.url());
        api["auth_type"] = json!("jwt");
        let endpoints = &mut api["version_data"]["default"]["endpoints"];
        let mut secured = endpoint("GET", "/admin(/.*)?");
        secured["secured"] = json!(true);
        let first = more.as_array().unwrap().iter().chain([&secured]);
        let all: Vec<Value> = first
            .chain(endpoints.as_array().unwrap())
            .cloned()
            .collect();
        *endpoints = json!(all);
        let settings = Settings::routing(kafka, &[api]).with_tokens();
        Self {
            gateway: Gateway::with(settings).await,
            upstream,
            trap,
        }
    }

    /// Sends bytes over a connection of their own, and returns all that comes until its end.
    pub async fn attack(&self, bytes: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(self.gateway.public()).await.unwrap();
        in_time(async {
            // Whoever refuses may do so before it has everything.
            let _written = socket.write_all(bytes).await;
            let mut answer = Vec::new();
            let _read = socket.read_to_end(&mut answer).await;
            answer
        })
        .await
    }

    /// Asserts that an attack is refused with one of these, and that the backend has seen no request.
    pub async fn refused(&self, bytes: &[u8], statuses: &[u16], what: &str) {
        let answer = self.attack(bytes).await;
        assert_eq!(answers(&answer), 1, "{what}: {}", shown(&answer));
        let status = http::parse(&answer).status;
        assert!(statuses.contains(&status), "{what}: {}", shown(&answer));
        let seen = self.upstream.take();
        assert!(seen.is_empty(), "{what}: {seen:?}");
        self.is_clean(what).await;
    }

    /// Asserts that these bytes are one request, and returns what the backend saw of it.
    pub async fn forwarded(&self, bytes: &[u8], what: &str) -> Sent {
        let answer = self.attack(bytes).await;
        assert_eq!(answers(&answer), 1, "{what}: {}", shown(&answer));
        assert_eq!(
            http::parse(&answer).status,
            200,
            "{what}: {}",
            shown(&answer)
        );
        let mut seen = self.upstream.take();
        assert_eq!(seen.len(), 1, "{what}: {seen:?}");
        let sent = seen.remove(0);
        let own = self.upstream.address().to_string();
        assert_eq!(sent.header("host"), Some(&*own), "{what}");
        self.is_clean(what).await;
        sent
    }

    /// Asserts that nothing of an attack is left: the next request goes on alone and as it came, on whatever connection,
    /// and nobody went into the trap.
    pub async fn is_clean(&self, what: &str) {
        let answer = http::request(self.gateway.public(), "GET", "/clean?1", &[], b"").await;
        assert_eq!((answer.status, answer.text()), (200, "ok"), "after {what}");
        let seen = self.upstream.take();
        assert_eq!(seen.len(), 1, "after {what}: {seen:?}");
        assert_eq!(seen[0].line(), "GET /clean?1 HTTP/1.1", "after {what}");
        assert!(seen[0].body.is_empty(), "after {what}: {seen:?}");
        assert_eq!(self.trap.connections(), 0, "after {what}");
    }
}

/// How many answers there are in what came.
fn answers(bytes: &[u8]) -> usize {
    let begins = |window: &&[u8]| *window == b"HTTP/1.";
    bytes.windows(7).filter(begins).count()
}

pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
