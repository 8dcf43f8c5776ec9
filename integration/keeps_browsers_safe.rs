//! What the page of somebody else can make a browser do: nothing, where `CORS` names who may.

use serde_json::json;
use tokio::net::TcpStream;

use crate::support::gateway::{Gateway, Settings, event, query};
use crate::support::h2::{Http2, request};
use crate::support::http::{self, Answer, PATIENCE};
use crate::support::kafka::Kafka;
use crate::support::sse::Sse;

const OWN: &str = "https://app.example";
const OTHER: &str = "http://localhost:8080";
/// Origins that look like those that are allowed, and are others.
const FOREIGN: [&str; 17] = [
    "https://evil.example",
    "null",
    "https://app.example.evil.example",
    "https://evilapp.example",
    "https://evil.app.example",
    "https://app.example.",
    "http://app.example",
    "https://app.example:8443",
    "https://app.example:443",
    "HTTPS://APP.EXAMPLE",
    "https://app.example/",
    "https://app.example@evil.example",
    "https://user@app.example",
    "https://app.example, https://evil.example",
    "http://localhost",
    "http://localhost:80801",
    "*",
];

/// Method, path and body of what pages ask for, with the status that anybody gets; of errors, too.
const ANSWERS: [(&str, &str, &str, u16); 7] = [
    ("GET", "/_rig/v1/connection/longpolling", "", 200),
    ("GET", "/_rig/v1/connection/sse?subscriptions=5", "", 400),
    (
        "GET",
        "/_rig/v1/connection/longpolling?subscriptions=5",
        "",
        400,
    ),
    ("PUT", "/_rig/v1/connection/sse/x/subscriptions", "{}", 400),
    ("POST", "/_rig/v1/events", "nonsense", 400),
    ("GET", "/no/such/path", "", 404),
    ("DELETE", "/_rig/v1/events", "", 405),
];

async fn start(kafka: &Kafka) -> Gateway {
    Gateway::with(Settings::new(kafka).with("CORS", format!("{OWN},{OTHER}"))).await
}

/// Asserts that this origin may read the answer, and nobody else, from no cache either.
fn readable_by(answer: &Answer, origin: Option<&str>, what: &str) {
    assert_eq!(
        answer.header("access-control-allow-origin"),
        origin,
        "{what}"
    );
    let credentials = answer.header("access-control-allow-credentials");
    assert_eq!(credentials, origin.map(|_| "true"), "{what}");
    assert_eq!(answer.header("vary"), Some("Origin"), "{what}");
}

async fn ask(gateway: &Gateway, origin: &str, method: &str, target: &str, body: &str) -> Answer {
    let headers = [("origin", origin), ("content-type", "application/json")];
    http::request(gateway.public(), method, target, &headers, body.as_bytes()).await
}

pub async fn who_reads_an_answer_of_any_kind(kafka: &Kafka) {
    let gateway = start(kafka).await;
    for (method, target, body, status) in ANSWERS {
        for origin in [OWN, OTHER] {
            let answer = ask(&gateway, origin, method, target, body).await;
            assert_eq!(answer.status, status, "{method} {target}");
            readable_by(&answer, Some(origin), target);
        }
        for origin in FOREIGN {
            let answer = ask(&gateway, origin, method, target, body).await;
            readable_by(&answer, None, &format!("{target} {origin}"));
        }
        let answer = http::request(gateway.public(), method, target, &[], body.as_bytes()).await;
        readable_by(&answer, None, target);
    }
    gateway.stop().await;
}

pub async fn who_reads_a_stream(kafka: &Kafka) {
    let gateway = start(kafka).await;
    let open = async |origin: &str| {
        let headers = [("origin", origin)];
        Sse::open(gateway.public(), &query(&json!([])), &headers).await
    };
    let own = open(OWN).await;
    assert_eq!(own.header("access-control-allow-origin"), Some(OWN));
    assert_eq!(own.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(own.header("vary"), Some("Origin"));
    for origin in FOREIGN {
        let foreign = open(origin).await;
        assert_eq!(
            foreign.header("access-control-allow-origin"),
            None,
            "{origin}"
        );
        assert_eq!(foreign.header("access-control-allow-credentials"), None);
        assert_eq!(foreign.header("vary"), Some("Origin"));
    }
    gateway.stop().await;
}

/// A preflight is where a browser learns that it may not send what is more than a form.
pub async fn who_sends_what_a_form_could_not(kafka: &Kafka) {
    let gateway = start(kafka).await;
    for path in [
        "/_rig/v1/events",
        "/_rig/v1/connection/longpolling",
        "/_rig/v1/connection/sse/x/subscriptions",
    ] {
        let preflight = async |origin: &str| ask(&gateway, origin, "OPTIONS", path, "").await;
        readable_by(&preflight(OWN).await, Some(OWN), path);
        for origin in FOREIGN {
            readable_by(&preflight(origin).await, None, origin);
        }
    }
    gateway.stop().await;
}

/// A handshake as browsers send it, with these lines.
fn handshake(lines: &str) -> String {
    format!(
        "GET /_rig/v1/connection/ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\
         connection: upgrade, close\r\nsec-websocket-version: 13\r\n{lines}\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGG"
    )
}

/// Browsers open WebSockets for any page, with its user's cookies, and look at no CORS header.
pub async fn who_opens_a_websocket(kafka: &Kafka) {
    let gateway = start(kafka).await;
    let status = async |lines: &str| {
        // The two last characters are a frame without a mask; the server closes, so the answer ends.
        let bytes = handshake(lines);
        http::raw(gateway.public(), bytes.as_bytes()).await.status
    };
    for origin in [OWN, OTHER] {
        assert_eq!(status(&format!("origin: {origin}\r\n")).await, 101);
    }
    assert_eq!(status("").await, 101, "a program");
    for origin in FOREIGN {
        assert_eq!(
            status(&format!("origin: {origin}\r\n")).await,
            403,
            "{origin}"
        );
    }
    let evil = FOREIGN[0];
    for two in [[OWN, evil], [evil, OWN], [OWN, OWN]] {
        let lines = two.map(|origin| format!("origin: {origin}\r\n")).concat();
        assert_eq!(status(&lines).await, 403, "{two:?}");
    }
    gateway.stop().await;
}

/// The same over HTTP/2 (RFC 8441).
pub async fn who_opens_a_websocket_over_http2(kafka: &Kafka) {
    let gateway = start(kafka).await;
    let socket = TcpStream::connect(gateway.public()).await.unwrap();
    let client = Http2::over(socket).await;
    let health = client.request("GET", "/_rig/health", &[], b"").await;
    assert_eq!(health.status, 200);
    let status = async |origins: &[&str]| {
        let mut headers = vec![("sec-websocket-version", "13")];
        headers.extend(origins.iter().map(|origin| ("origin", *origin)));
        let mut request = request("CONNECT", "/_rig/v1/connection/ws", &headers);
        let websocket = h2::ext::Protocol::from_static("websocket");
        request.extensions_mut().insert(websocket);
        let (response, _sender) = client.send(request, false).await.unwrap();
        let response = tokio::time::timeout(PATIENCE, response).await;
        response
            .expect("an answer in time")
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(status(&[OWN]).await, 200);
    assert_eq!(status(&[]).await, 200);
    for origin in FOREIGN {
        assert_eq!(status(&[origin]).await, 403, "{origin}");
    }
    assert_eq!(status(&[OWN, FOREIGN[0]]).await, 403);
    gateway.stop().await;
}

/// The internal port belongs to no page but its own, whatever `CORS` says.
pub async fn from_pages_at_the_internal_port(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::new(kafka).with("CORS", OWN)).await;
    let port = gateway.internal().port();
    let own_page = format!("http://localhost:{port}");
    let rebound = format!("http://evil.example:{port}");
    for (host, origin, status) in [
        (format!("localhost:{port}"), own_page.as_str(), 202),
        (
            format!("127.0.0.1:{port}"),
            &format!("http://127.0.0.1:{port}"),
            202,
        ),
        (format!("localhost:{port}"), OWN, 403),
        (format!("localhost:{port}"), "null", 403),
        (format!("localhost:{port}"), "http://localhost:1", 403),
        // A name of somebody else that points here (DNS rebinding).
        (format!("evil.example:{port}"), rebound.as_str(), 403),
    ] {
        let body = event("t", "1", json!(1)).to_string();
        let request = format!(
            "POST /v3/messages HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = http::raw(gateway.internal(), request.as_bytes()).await;
        assert_eq!(answer.status, status, "{host} {origin}");
        let cors = answer
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("access-control-"));
        assert_eq!(cors.count(), 0, "{host} {origin}");
    }
    // With a GET to its own origin a page names none.
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1", 200),
        ("evil.example", 403),
    ] {
        for path in ["/metrics", "/v3/sessions", "/health"] {
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n");
            let answer = http::raw(gateway.internal(), request.as_bytes()).await;
            let expected = if path == "/health" { 200 } else { status };
            assert_eq!(answer.status, expected, "{host} {path}");
        }
    }
    gateway.stop().await;
}
