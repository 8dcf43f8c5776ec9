//! Requests for HTTP targets: what the backend gets, and what the client gets of its answer.

pub mod and_streams;
pub mod as_websockets;
pub mod of_clients;
pub mod to_backends;

use serde_json::json;

use crate::support::certificates::Certificate;
use crate::support::fetch::{Fetched, in_time};
use crate::support::gateway::{Gateway, Settings};
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::routes::{METHODS, all, api, endpoint, replacing};
use crate::support::upstream::{Sent, Upstream};
use crate::support::ways::{Client, Way};

/// An instance with TLS ports, and its certificate.
pub async fn with_tls(settings: Settings) -> (Gateway, Certificate) {
    let certificate = Certificate::new();
    let gateway = Gateway::with(certificate.on(settings)).await;
    (gateway, certificate)
}

/// Sends bytes over a connection of their own, and reads the head of the answer.
pub async fn told(gateway: &Gateway, bytes: &[u8]) -> Fetched {
    use tokio::io::AsyncWriteExt as _;
    let mut socket = tokio::net::TcpStream::connect(gateway.public())
        .await
        .unwrap();
    socket.write_all(bytes).await.unwrap();
    let is_head = bytes.starts_with(b"HEAD");
    in_time(Fetched::read(Box::new(socket), is_head)).await
}

/// How the length of a body is told.
fn framing(sent: &Sent) -> (Option<&str>, Option<&str>) {
    (
        sent.header("content-length"),
        sent.header("transfer-encoding"),
    )
}

pub async fn with_every_method_and_body(kafka: &Kafka) {
    let upstream = Upstream::echoing().await;
    let (gateway, certificate) = with_tls(Settings::routing(kafka, &[all(&upstream.url())])).await;
    let binary: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        for method in METHODS.into_iter().chain(["HEAD"]) {
            for body in [&b""[..], b"x", &binary] {
                let what = format!("{way:?} {method} {}", body.len());
                let mut answer = client.fetch(method, "/echo?a=1", &[], body).await;
                assert_eq!(answer.status, 200, "{what}");
                assert_eq!(answer.header("x-echo"), Some("1"), "{what}");
                let (expected, length) = match method {
                    "HEAD" => (&b""[..], 1_234),
                    _ => (body, body.len()),
                };
                assert_eq!(answer.whole().await.unwrap(), expected, "{what}");
                assert_eq!(answer.header("content-length"), Some(&*length.to_string()));
                let sent = upstream.one();
                assert_eq!(
                    sent.line(),
                    format!("{method} /echo?a=1 HTTP/1.1"),
                    "{what}"
                );
                assert!(sent.body == body, "{what}");
                let length = body.len().to_string();
                let has_content = ["POST", "PUT", "PATCH"].contains(&method);
                let expected = match (body.is_empty(), way.is_http2()) {
                    (true, _) => (has_content.then_some("0"), None),
                    (false, true) => (None, Some("chunked")),
                    (false, false) => (Some(&*length), None),
                };
                assert_eq!(framing(&sent), expected, "{what}");
            }
        }
    }
    assert!(upstream.connections() < 10, "connections are used again");
    gateway.stop().await;
}

/// A chunked body is one body; how it was cut is nobody's business.
pub async fn with_chunked_bodies(kafka: &Kafka) {
    let upstream = Upstream::echoing().await;
    let gateway = Gateway::with(Settings::routing(kafka, &[all(&upstream.url())])).await;
    for (body, expected, trailers) in [
        ("0\r\n\r\n", "", &[][..]),
        (
            "1\r\na\r\n00002;x=\"y\"\r\nbc\r\nA\r\n0123456789\r\n0\r\n\r\n",
            "abc0123456789",
            &[],
        ),
        (
            "3\r\n0\r\n\r\n0\r\nx-sum: 1\r\ncontent-length: 5\r\nauthorization: x\r\n\r\n",
            "0\r\n",
            &["x-sum: 1"],
        ),
    ] {
        for method in ["POST", "GET", "DELETE"] {
            let head = "/echo HTTP/1.1\r\nhost: a\r\ntrailer: x-sum\r\ntransfer-encoding: chunked";
            let request = format!("{method} {head}\r\n\r\n{body}");
            let mut answer = told(&gateway, request.as_bytes()).await;
            let echoed = answer.whole().await.unwrap();
            assert_eq!(echoed, expected.as_bytes(), "{method} {body:?}");
            let sent = upstream.one();
            assert_eq!(sent.body, expected.as_bytes(), "{method} {body:?}");
            assert_eq!(framing(&sent), (None, Some("chunked")), "{method} {body:?}");
            assert_eq!(sent.trailers, trailers, "{method} {body:?}");
        }
    }
    gateway.stop().await;
}

/// Method; head and body of the backend's answer; status, length and body for the client.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    u16,
    Option<&'static str>,
    &'static str,
);

const ANSWERS: [Case; 12] = [
    (
        "GET",
        "200 OK\r\ncontent-length: 2",
        "ok",
        200,
        Some("2"),
        "ok",
    ),
    ("GET", "200 OK\r\ncontent-length: 0", "", 200, Some("0"), ""),
    (
        "GET",
        "200 OK\r\ntransfer-encoding: chunked",
        "1\r\no\r\n1;a=b\r\nk\r\n0\r\n\r\n",
        200,
        None,
        "ok",
    ),
    ("GET", "200 OK", "until the end", 200, None, "until the end"),
    (
        "POST",
        "201 Created\r\ncontent-length: 2\r\nlocation: /a%20b",
        "ok",
        201,
        Some("2"),
        "ok",
    ),
    ("GET", "204 No Content", "", 204, None, ""),
    (
        "GET",
        "204 No Content\r\ncontent-length: 0",
        "",
        204,
        None,
        "",
    ),
    ("GET", "304 Not Modified\r\netag: \"a\"", "", 304, None, ""),
    (
        "HEAD",
        "200 OK\r\ncontent-length: 99",
        "",
        200,
        Some("99"),
        "",
    ),
    (
        "HEAD",
        "200 OK\r\ntransfer-encoding: chunked",
        "",
        200,
        None,
        "",
    ),
    (
        "GET",
        "302 Found\r\ncontent-length: 0\r\nlocation: http://a.example/",
        "",
        302,
        Some("0"),
        "",
    ),
    (
        "GET",
        "599 Odd\r\ncontent-length: 3",
        "odd",
        599,
        Some("3"),
        "odd",
    ),
];

/// Whatever the backend frames its answer by, the client gets the bytes and their end.
pub async fn and_answers_what_the_backend_says(kafka: &Kafka) {
    let upstream = Upstream::playing(|mut caller| async move {
        if let Some(sent) = caller.request().await {
            let number: usize = sent.target()[1..].parse().unwrap();
            let (_, head, body, ..) = ANSWERS[number];
            let answer = format!("HTTP/1.1 {head}\r\n\r\n{body}");
            caller.write(answer.as_bytes()).await;
        }
    })
    .await;
    let (gateway, certificate) = with_tls(Settings::routing(kafka, &[all(&upstream.url())])).await;
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        for (number, (method, head, _, status, length, body)) in ANSWERS.iter().enumerate() {
            let mut answer = client.fetch(method, &format!("/{number}"), &[], b"").await;
            let what = format!("{way:?} {method} {head}");
            assert_eq!(answer.status, *status, "{what}");
            assert_eq!(answer.whole().await.unwrap(), body.as_bytes(), "{what}");
            assert_eq!(answer.header("content-length"), *length, "{what}");
            for name in ["location", "etag"] {
                let line = head.split("\r\n").find_map(|line| line.strip_prefix(name));
                let expected = line.map(|rest| &rest[2..]);
                assert_eq!(answer.header(name), expected, "{what}");
            }
        }
    }
    gateway.stop().await;
}

pub async fn with_paths_and_queries_as_they_came(kafka: &Kafka) {
    let upstream = Upstream::echoing().await;
    let (gateway, certificate) = with_tls(Settings::routing(kafka, &[all(&upstream.url())])).await;
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        for target in [
            "/",
            "/a?",
            "/a?x=1&x=2&x=1",
            "/a?x=1&y=2&x=3&&=&z",
            "/a%20b/c+d?e=%20f+g%2B",
            "/%41%7e~/%C3%BC?%C3%BC=%c3%bc",
            "/a;b=c;d/e?f;g",
            "/a//b/",
            "/a?b[c]=d&b%5Bc%5D=e",
            "/a?u=http://a.example//../%2e%2e/%00%0d%0aX:y",
            "/a?x=%zz%4&y=%",
            "/a:80/@b/!$&'()*,=",
            "/100%25",
            "/a?b={1}|^`",
        ] {
            let answer = client.fetch("GET", target, &[], b"").await;
            assert_eq!(answer.status, 200, "{way:?} {target}");
            assert_eq!(upstream.one().target(), target, "{way:?}");
        }
    }
    gateway.stop().await;
}

pub async fn to_other_paths_where_the_route_says_so(kafka: &Kafka) {
    let upstream = Upstream::echoing().await;
    let routes = json!([
        replacing("/books/([^/]+)/pages/([^/]+)", r"/pages/\2/books/\1"),
        replacing("/opt(/[^/]*)?", r"/x\1/y"),
        replacing("/all/.*", r"/below\0"),
        endpoint("GET", "/plain"),
    ]);
    let base = format!("{}/base", upstream.url());
    let gateway = Gateway::with(Settings::routing(kafka, &[api("books", &[base], routes)])).await;
    for (target, expected) in [
        (
            "/books/a%20b/pages/%C3%BC?x=1&x=2",
            "/base/pages/%C3%BC/books/a%20b?x=1&x=2",
        ),
        ("/BOOKS/1/Pages/2", "/base/pages/2/books/1"),
        ("/opt", "/base/x/y"),
        ("/opt/", "/base/x//y"),
        ("/opt/1", "/base/x/1/y"),
        ("/all/%41", "/base/below/all/%41"),
        ("/plain?a", "/base/plain?a"),
    ] {
        let answer = http::request(gateway.public(), "GET", target, &[], b"").await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        assert_eq!(upstream.one().target(), expected, "{target}");
    }
    gateway.stop().await;
}

/// Method, target and headers; status and `Allow`.
type Refusal<'a> = (
    &'a str,
    &'a str,
    &'a [(&'a str, &'a str)],
    u16,
    Option<&'a str>,
);

/// Where no route leads to a backend, it is not asked.
pub async fn but_not_those_that_no_route_is_for(kafka: &Kafka) {
    let upstream = Upstream::echoing().await;
    let routes = json!([
        endpoint("GET", "/books"),
        endpoint("POST", "/books"),
        endpoint("POST", "/orders"),
        endpoint("OPTIONS", "/open"),
        endpoint("GET", "/_rig.*"),
        endpoint("POST", "/_rig.*"),
    ]);
    let api = api("books", &[upstream.url()], routes);
    let (gateway, certificate) = with_tls(Settings::routing(kafka, &[api])).await;
    let page = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "GET"),
    ];
    let refusals: [Refusal<'_>; 12] = [
        ("GET", "/nothing", &[], 404, None),
        ("GET", "/books/", &[], 404, None),
        ("GET", "/", &[], 404, None),
        ("OPTIONS", "/nothing", &page, 404, None),
        (
            "DELETE",
            "/books",
            &[],
            405,
            Some("GET, HEAD, OPTIONS, POST"),
        ),
        ("HEAD", "/orders", &[], 405, Some("OPTIONS, POST")),
        ("GET", "/orders", &[], 405, Some("OPTIONS, POST")),
        // Which pages may read its answers, a backend says itself.
        (
            "OPTIONS",
            "/books",
            &page,
            405,
            Some("GET, HEAD, OPTIONS, POST"),
        ),
        // Our own paths.
        ("GET", "/_rig/nothing", &[], 404, None),
        ("GET", "/_rig/", &[], 404, None),
        ("POST", "/_rig/health", &[], 405, Some("GET, HEAD, OPTIONS")),
        ("GET", "/_rig/v1/nothing/../../x", &[], 404, None),
    ];
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        for (method, target, headers, status, allow) in refusals {
            let what = format!("{way:?} {method} {target}");
            let mut answer = client.fetch(method, target, headers, b"").await;
            assert_eq!(answer.status, status, "{what}");
            assert_eq!(answer.header("allow"), allow, "{what}");
            assert_eq!(
                answer.header("content-type"),
                Some("application/problem+json"),
                "{what}"
            );
            answer.whole().await.unwrap();
        }
        let mut own = client.fetch("GET", "/_rig/health", &[], b"").await;
        assert_eq!(own.whole().await.unwrap(), b"OK");
        assert!(upstream.take().is_empty(), "{way:?}");
        for (method, target) in [("HEAD", "/books"), ("OPTIONS", "/open"), ("GET", "/_rig")] {
            let answer = client.fetch(method, target, &page, b"").await;
            assert_eq!(answer.status, 200, "{method} {target}");
            assert_eq!(upstream.one().method(), method);
        }
    }
    gateway.stop().await;
}
