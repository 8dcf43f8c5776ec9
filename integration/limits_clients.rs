//! Limits of what one client can take: it is told which one and when to come again, and others are not harmed.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::gateway::{Gateway, Settings, event, eventually, query, unique};
use crate::support::http::{self, Answer, PATIENCE};
use crate::support::kafka::Kafka;
use crate::support::longpoll::LongPoll;
use crate::support::sse::Sse;
use crate::support::tokens::token;
use crate::support::ws::Ws;

/// Opens a stream for a client that a proxy names.
async fn open_for(gateway: &Gateway, headers: &[(&str, &str)]) -> Result<Sse, Answer> {
    Sse::try_open(gateway.public(), &query(&json!([])), headers).await
}

/// Opens a stream and returns the status of its answer.
async fn status_for(gateway: &Gateway, headers: &[(&str, &str)]) -> u16 {
    let opened = open_for(gateway, headers).await;
    opened.map_or_else(|answer| answer.status, |_| 200)
}

/// Asserts that this is a refusal by a limit, and returns the seconds to wait.
fn wait(answer: &Answer, status: u16, limit: &str) -> u64 {
    answer.problem(status);
    assert_eq!(answer.json()["code"], "too_many_connections");
    assert_eq!(answer.json()["limit"], limit);
    answer.header("retry-after").unwrap().parse().unwrap()
}

async fn limited(gateway: &Gateway, limit: &str) -> f64 {
    let label = format!("limit=\"{limit}\"");
    gateway
        .metric("sluicegate_limited_connections_total", &label)
        .await
}

pub async fn who_are_known_by_the_address_that_a_trusted_proxy_names(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("MAX_CONNECTIONS_PER_MINUTE_PER_ADDRESS", "1");
    let gateway = Gateway::with(settings.clone().with("TRUSTED_PROXIES", "127.0.0.0/8")).await;
    let (xff, forwarded) = ("x-forwarded-for", "forwarded");
    for (headers, status) in [
        (&[(xff, "198.51.100.1")][..], 200),
        (&[(xff, "198.51.100.1")], 429),
        (&[(xff, "198.51.100.2")], 200),
        // Each of these is one of the two above.
        (&[(xff, "203.0.113.7, 198.51.100.1")], 429),
        (
            &[(xff, "203.0.113.7"), (xff, "198.51.100.1, 127.0.0.9")],
            429,
        ),
        (&[(xff, "[::ffff:198.51.100.2]:4711")], 429),
        (
            &[(forwarded, "for=203.0.113.7, for=\"198.51.100.2:80\"")],
            429,
        ),
        (&[(forwarded, "for=\"[2001:db8::1]\";proto=https")], 200),
        (&[(forwarded, "for=\"[2001:db8::2]\"")], 429),
        (&[(forwarded, "for=\"[2001:db8:0:1::2]\"")], 200),
        // Nobody knows who these are: they share the address of the proxy.
        (&[(xff, "unknown")], 200),
        (&[(forwarded, "for=203.0.113.8"), (xff, "203.0.113.9")], 429),
        (&[(xff, "nonsense")], 429),
        (&[], 429),
    ] {
        assert_eq!(status_for(&gateway, headers).await, status, "{headers:?}");
    }
    let headers = [(xff, "198.51.100.1")];
    let refused = open_for(&gateway, &headers).await.unwrap_err();
    assert!((1..=60).contains(&wait(&refused, 429, "address_minute")));
    let target = "/_rig/v1/connection/longpolling";
    let poll = http::request(gateway.public(), "GET", target, &headers, b"").await;
    wait(&poll, 429, "address_minute");
    assert_eq!(limited(&gateway, "address_minute").await, 11.0);
    gateway.stop().await;

    let gateway = Gateway::with(settings).await;
    for (address, status) in [("198.51.100.1", 200), ("198.51.100.2", 429)] {
        assert_eq!(status_for(&gateway, &[(xff, address)]).await, status);
    }
    gateway.stop().await;
}

pub async fn by_how_many_are_open(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("MAX_CONNECTIONS", "2");
    let gateway = Gateway::with(settings).await;
    let stream = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    let mut ws = Ws::open(gateway.public(), &query(&json!([])), None).await;
    ws.subscribed().await;
    let refused = open_for(&gateway, &[]).await.unwrap_err();
    assert_eq!(wait(&refused, 503, "instance"), 5);
    drop(stream);
    eventually("the place of the stream is free", async || {
        status_for(&gateway, &[]).await == 200
    })
    .await;
    drop(ws);
    eventually("both places are free", async || {
        let one = open_for(&gateway, &[]).await;
        one.is_ok() && status_for(&gateway, &[]).await == 200
    })
    .await;
    assert!(limited(&gateway, "instance").await >= 1.0);
    gateway.stop().await;
}

/// A poll has a place while it waits, and none between.
pub async fn who_wait_for_a_poll(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with("MAX_CONNECTIONS_PER_ADDRESS", "1")
        .with("LONGPOLL_TIMEOUT", "20s");
    let gateway = Gateway::with(settings).await;
    let address = gateway.public();
    let mut poll = LongPoll::new(query(&json!([{ "eventType": "t" }])));
    assert_eq!(poll.poll(address).await.text(), "\"ok\"");
    assert_eq!(poll.events(address).await.len(), 2);
    let stream = open_for(&gateway, &[]).await.unwrap();
    assert_eq!(wait(&poll.poll(address).await, 429, "address"), 5);
    drop(stream);
    eventually("the place of the stream is free", async || {
        status_for(&gateway, &[]).await == 200
    })
    .await;
    let waiting = tokio::spawn(async move {
        loop {
            let answer = poll.poll(address).await;
            if answer.status == 200 {
                return answer;
            }
        }
    });
    eventually("the poll has the place", async || {
        status_for(&gateway, &[]).await == 429
    })
    .await;
    gateway.publish(&event("t", "1", json!(1))).await;
    assert_eq!(waiting.await.unwrap().json()["events"][0]["id"], "1");
    assert_eq!(status_for(&gateway, &[]).await, 200);
    gateway.stop().await;
}

pub async fn by_their_session(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with_tokens()
        .with("MAX_CONNECTIONS_PER_SESSION", "1");
    let gateway = Gateway::with(settings).await;
    let open = async |token: &str| {
        let query = format!("{}&jwt={token}", query(&json!([{ "eventType": "t" }])));
        Sse::try_open(gateway.public(), &query, &[]).await
    };
    let first = open(&token("alice", "a1")).await.unwrap();
    let refused = open(&token("alice", "a1")).await.unwrap_err();
    assert_eq!(wait(&refused, 429, "session"), 5);
    let _other_session = open(&token("alice", "a2")).await.unwrap();
    let _nobody = (
        gateway.subscribe(json!([])).await,
        gateway.subscribe(json!([])).await,
    );
    drop(first);
    eventually("the session has its place back", async || {
        open(&token("alice", "a1")).await.is_ok()
    })
    .await;
    gateway.stop().await;
}

/// Reads an answer whose connection stays open, up to this text.
async fn read_up_to(address: std::net::SocketAddr, request: &str, end: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let reading = async {
        while !text.windows(end.len()).any(|part| part == end.as_bytes()) {
            assert_ne!(socket.read_buf(&mut text).await.unwrap(), 0, "the end");
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect(end);
    String::from_utf8(text).unwrap()
}

pub async fn but_lets_browsers_try_again_where_that_is_asked_for(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with("MAX_CONNECTIONS_PER_MINUTE", "1")
        .with("CORS", "https://app.example")
        .with("SSE_LIMIT_ANSWER", "retry");
    let gateway = Gateway::with(settings).await;
    let _only = open_for(&gateway, &[]).await.unwrap();
    let target = "/_rig/v1/connection/sse";
    let headers = [("origin", "https://app.example")];
    let answer = http::request(gateway.public(), "GET", target, &headers, b"").await;
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("text/event-stream"), "{kind}");
    let allowed = answer.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://app.example"));
    let lines: Vec<&str> = answer.text().split('\n').collect();
    let [": too_many_connections", retry, "", ""] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    let retry_ms: u64 = retry.strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((1_000..=72_000).contains(&retry_ms), "{retry_ms}");
    // The connection is good for the next request.
    let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
    let health = "GET /_rig/health HTTP/1.1\r\nhost: x\r\n\r\n";
    let answers = read_up_to(
        gateway.public(),
        &format!("{request}{health}"),
        "\r\n\r\nOK",
    )
    .await;
    assert!(answers.contains("retry: "), "{answers}");
    // What is no limit keeps its status, and so do other transports.
    let bad = http::request(
        gateway.public(),
        "GET",
        "/_rig/v1/connection/sse?subscriptions=5",
        &[],
        b"",
    );
    bad.await.problem(400);
    let poll = "/_rig/v1/connection/longpolling";
    let poll = http::request(gateway.public(), "GET", poll, &[], b"").await;
    wait(&poll, 429, "minute");
    gateway.stop().await;
}

pub async fn in_the_bytes_of_a_request(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with("HTTP_MAX_HEADER_BYTES", "8KiB")
        .with("HTTP_MAX_HEADERS", "10")
        .with("MAX_SUBSCRIPTION_BYTES", "1000")
        .with("MAX_SUBMISSION_BYTES", "1000");
    let gateway = Gateway::with(settings).await;
    let mut witness = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    let long = "x".repeat(9_000);
    let many = [("x-a", "1"); 12];
    let json_type = [("content-type", "application/json")];
    let list = format!("[{{\"eventType\":\"{}\"}}]", &long[..1_000]);
    let in_query = format!(
        "/_rig/v1/connection/sse?subscriptions={}",
        http::encode(&list)
    );
    for (method, target, headers, body, status) in [
        (
            "GET",
            "/_rig/health",
            &[("x-a", long.as_str())][..],
            "",
            431,
        ),
        ("GET", "/_rig/health", &many, "", 431),
        ("POST", "/_rig/v1/events", &json_type, &long[..1_001], 413),
        ("POST", "/_rig/v1/events", &json_type, &long[..1_000], 400),
        (
            "PUT",
            "/_rig/v1/connection/sse/x/subscriptions",
            &json_type,
            &long[..1_001],
            413,
        ),
        ("GET", in_query.as_str(), &[], "", 400),
    ] {
        let answer =
            http::request(gateway.public(), method, target, headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{method} {target:.60}");
    }
    gateway.publish(&event("t", "1", json!(1))).await;
    assert_eq!(witness.ids(1).await, ["1"]);
    gateway.stop().await;
}

/// Half a minute's worth of patience would make a test of time; a burst shows the limit at once.
pub async fn in_the_events_that_a_session_submits(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with_tokens()
        .with("MAX_EVENTS_PER_MINUTE_PER_SESSION", "6");
    let gateway = Gateway::with(settings).await;
    let submit = async |session: &str, body: String, kind: &str| {
        let bearer = format!("Bearer {}", token("alice", session));
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        let target = "/_rig/v1/events";
        http::request(gateway.public(), "POST", target, &headers, body.as_bytes()).await
    };
    let one = |id: &str| event("t", id, json!(1)).to_string();
    let single = "application/cloudevents+json";
    assert_eq!(submit("a1", one("1"), single).await.status, 202);
    let refused = submit("a1", one("2"), single).await;
    refused.problem(429);
    assert_eq!(refused.json()["code"], "too_many_events");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    assert_eq!(submit("a2", one("3"), single).await.status, 202);
    // Who has no session is counted by address; backends on the internal port are not.
    assert_eq!(gateway.submit(&event("t", "4", json!(1))).await.status, 202);
    assert_eq!(gateway.submit(&event("t", "5", json!(1))).await.status, 429);
    for id in ["6", "7", "8"] {
        let headers = [("content-type", single)];
        let target = "/v3/messages";
        let body = one(id);
        let answer = http::request(
            gateway.internal(),
            "POST",
            target,
            &headers,
            body.as_bytes(),
        )
        .await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let batch = format!("[{},{}]", one("9"), one("10"));
    let batch = submit("a3", batch, "application/cloudevents-batch+json").await;
    assert_eq!(batch.status, 202);
    assert_eq!(submit("a3", one("11"), single).await.status, 429);
    let counted = gateway.metric("sluicegate_limited_events_total", "").await;
    assert_eq!(counted, 3.0);
    tokio::time::timeout(Duration::from_secs(30), gateway.stop())
        .await
        .expect("stops");
}

/// The largest body of a command; all bodies may take four times as much.
const LARGEST: usize = 256 << 10;

/// All but the last byte of the largest body, of a client that then is silent.
async fn stalled(gateway: &Gateway, client: &str) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.public()).await.unwrap();
    let headers = [("x-forwarded-for", client)];
    let request = http::written("POST", "/command", &headers, &vec![b'x'; LARGEST]);
    socket
        .write_all(&request[..request.len() - 1])
        .await
        .unwrap();
    socket
}

pub async fn in_the_memory_that_their_bodies_take_together(kafka: &'static Kafka) {
    let topic = unique("commands");
    kafka.create(&topic, 1).await;
    let endpoints = json!([{ "id": "command", "method": "POST", "path_regex": "/command", "target": "kafka", "topic": topic }]);
    let api = json!({ "id": "test", "name": "test", "version_data": { "default": { "endpoints": endpoints } } });
    let settings = Settings::new(kafka)
        .with("HTTP_MAX_BODIES_BYTES", "1MiB")
        .with("PROXY_MAX_COMMAND_BYTES", "256KiB")
        .with("MAX_SUBMISSION_BYTES", "256KiB")
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
        .with("PROXY_CONFIG_FILE", json!([api]).to_string());
    let gateway = Gateway::with(settings).await;
    let taken = async || {
        gateway
            .metric("sluicegate_http_body_bytes", "listener=\"public\"")
            .await
    };
    let post = async |path: &str, client: &str| {
        let headers = [
            ("x-forwarded-for", client),
            ("content-type", "application/json"),
        ];
        let body = event("t", "1", json!(1)).to_string();
        let answer = http::request(gateway.public(), "POST", path, &headers, body.as_bytes()).await;
        assert_eq!(
            answer.header("retry-after").is_some(),
            answer.status != 202,
            "{}",
            answer.text()
        );
        answer.status
    };
    let mut one = stalled(&gateway, "192.0.2.1").await;
    eventually("the body takes its memory", async || {
        taken().await == 256.0 * 1024.0
    })
    .await;
    for path in ["/command", "/_rig/v1/events"] {
        assert_eq!(
            post(path, "192.0.2.1").await,
            429,
            "the share of one client"
        );
        assert_eq!(post(path, "192.0.2.9").await, 202);
    }
    let mut others = Vec::new();
    for client in ["192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        others.push(stalled(&gateway, client).await);
    }
    eventually("all is taken", async || taken().await == 1024.0 * 1024.0).await;
    for path in ["/command", "/_rig/v1/events"] {
        assert_eq!(post(path, "192.0.2.9").await, 503);
    }
    let health = http::request(gateway.public(), "GET", "/_rig/health", &[], b"").await;
    assert_eq!(health.status, 200);
    drop(others);
    eventually("those who leave give it back", async || {
        taken().await == 256.0 * 1024.0
    })
    .await;
    assert_eq!(post("/command", "192.0.2.9").await, 202);
    // Who was slow is heard all the same.
    one.write_all(b"x").await.unwrap();
    let mut answer = Vec::new();
    one.read_to_end(&mut answer).await.unwrap();
    assert_eq!(http::parse(&answer).status, 202);
    eventually("nothing is taken", async || taken().await == 0.0).await;
    gateway.stop().await;
}
