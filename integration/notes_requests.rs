//! What operators get to know of proxied requests: numbers, a log, and traces.

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::commands::{Backend, Headers, NOBODY, Worker, api, said};
use crate::support::gateway::{Gateway, Settings, eventually, unique};
use crate::support::h2::Http2;
use crate::support::http::{self, Answer};
use crate::support::kafka::Kafka;
use crate::support::program::{self, Process};
use crate::support::tokens::{SECRET, token};

const REQUESTS: &str = "rig_proxy_requests_total";

async fn send(gateway: &Gateway, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    http::request(gateway.public(), method, target, headers, b"").await
}

/// Returns the series of a metric, each with its value.
async fn series(gateway: &Gateway, name: &str) -> Vec<String> {
    let metrics = http::request(gateway.internal(), "GET", "/metrics", &[], b"").await;
    let lines = metrics.text().lines().map(str::to_owned);
    lines.filter(|line| line.starts_with(name)).collect()
}

pub async fn in_numbers_that_name_routes_only(kafka: &'static Kafka) {
    // Only what waits for long is not there.
    let backend = Backend::start(|seen| {
        let status = seen
            .target
            .rsplit('/')
            .next()
            .and_then(|text| text.parse().ok());
        said(status.unwrap_or(200), "")
    })
    .await;
    let topic = unique("commands");
    let things = json!([
        { "id": "get", "method": "GET", "path_regex": "/things/(.*)" },
        { "id": "own", "method": "GET", "path_regex": "/own", "secured": true },
        { "id": "record", "method": "POST", "path_regex": "/records/.*", "target": "kafka", "topic": topic },
        { "id": "order", "method": "POST", "path_regex": "/orders/.*", "target": "kafka", "topic": topic,
            "response_from": "kafka" },
    ]);
    let away = json!([{ "id": "get", "method": "GET", "path_regex": "/away/.*" }]);
    let settings = Settings::new(kafka)
        .with_tokens()
        .with_apis(&[
            api("books", backend.address, things),
            api("away", NOBODY, away),
        ])
        .with("PROXY_KAFKA_RESPONSE_TIMEOUT", "100ms");
    let _worker = Worker::start(kafka, &topic, &settings).await;
    let gateway = Gateway::with(settings).await;
    let mut counts = Vec::new();
    let http2 = Http2::over(TcpStream::connect(gateway.public()).await.unwrap()).await;
    let known = ["/things/", "/records/", "/away/", "/", "/own/"];
    let methods = ["GET", "POST", "DELETE", "BREW", "X-ANY"];
    let random = (0..1_000).map(|number| {
        let path = format!("{}{}?q={number}", known[number % 5], unique("path"));
        let method = methods[number / 5 % 5];
        let http2 = &http2;
        async move { http2.request(method, &path, &[], b"").await }
    });
    let mut random: Vec<_> = random.collect();
    while !random.is_empty() {
        let some = random.split_off(random.len().saturating_sub(100));
        futures_util::future::join_all(some).await;
        counts.push(series(&gateway, "").await.len());
    }
    for (method, target, status) in [
        ("GET", "/things/404", 404),
        ("GET", "/own", 401),
        ("POST", "/orders/1", 504),
        ("GET", "/%2fx", 400),
    ] {
        assert_eq!(
            send(&gateway, method, target, &[]).await.status,
            status,
            "{target}"
        );
    }
    let all = series(&gateway, "").await;
    assert_eq!(
        counts.first(),
        counts.last(),
        "nine hundred paths more are nothing new"
    );
    let of_requests = all.iter().filter(|line| line.starts_with(REQUESTS));
    assert!(of_requests.count() < 20, "{all:?}");
    for part in ["path-", "q=", "BREW", "X-ANY", "127.0.0.1:1\""] {
        let found: Vec<_> = all.iter().filter(|line| line.contains(part)).collect();
        assert!(found.is_empty(), "{part}: {found:?}");
    }
    let labels = |api: &str,
                  endpoint: &str,
                  method: &str,
                  path: &str,
                  from: &str,
                  status: &str,
                  target: &str| {
        format!(
            "{REQUESTS}{{api=\"{api}\",endpoint=\"{endpoint}\",method=\"{method}\",path_regex=\"{path}\",\
             response_from=\"{from}\",status=\"{status}\",target=\"{target}\"}} "
        )
    };
    let things = "/things/(.*)";
    for (labels, count) in [
        (
            labels("books", "get", "GET", things, "http", "ok", "http"),
            41.0,
        ),
        (
            labels(
                "books",
                "own",
                "GET",
                "/own",
                "http",
                "unauthorized",
                "http",
            ),
            1.0,
        ),
        (
            labels(
                "books",
                "record",
                "POST",
                "/records/.*",
                "none",
                "ok",
                "kafka",
            ),
            40.0,
        ),
        (
            labels(
                "books",
                "order",
                "POST",
                "/orders/.*",
                "kafka",
                "response_timeout",
                "kafka",
            ),
            1.0,
        ),
        (
            labels(
                "away",
                "get",
                "GET",
                "/away/.*",
                "http",
                "unreachable",
                "http",
            ),
            40.0,
        ),
    ] {
        let found = all.iter().find_map(|line| line.strip_prefix(&labels));
        let found = found.map(|value| value.parse::<f64>().unwrap());
        assert_eq!(found, Some(count), "{labels}");
    }
    for (name, label, count) in [
        (REQUESTS, "status=\"not_found\"", 881.0),
        ("sluicegate_proxy_requests_in_flight", "", 0.0),
        ("sluicegate_proxy_duration_seconds_count", "", 123.0),
    ] {
        assert_eq!(gateway.metric(name, label).await, count, "{name}");
    }
    gateway.stop().await;
}

pub async fn in_a_log_at_the_console_and_in_kafka(kafka: &'static Kafka) {
    let mut backend = Backend::saying(200, "in").await;
    let endpoints = json!([
        { "id": "own", "method": "GET", "path_regex": "/own/[a-z]+", "secured": true },
        { "id": "open", "method": "GET", "path_regex": "/open" },
    ]);
    let mut own = api("books", backend.address, endpoints);
    own["auth"] = json!({ "use_header": true, "header_name": "authorization", "use_query": true, "query_name": "t" });
    let log = unique("log");
    kafka.create(&log, 1).await;
    let settings = program::settings(kafka)
        .with("JWT_SECRET_KEY", SECRET)
        .with("REQUEST_LOG", "console,kafka")
        .with("KAFKA_LOG_TOPIC", &log)
        .with_apis(&[own]);
    let process = Process::start_unready(&settings);
    process.ready().await;
    let (alice, bob) = (token("alice", "a1"), token("bob", "b1"));
    let get = async |target: &str, bearer: &str| {
        let bearer = format!("Bearer {bearer}");
        let headers = [("authorization", bearer.as_str())];
        let headers = if bearer.len() > 7 { &headers[..] } else { &[] };
        http::request(process.public, "GET", target, headers, b"")
            .await
            .status
    };
    for (target, bearer, status) in [
        ("/own/books?secret=1", &*alice, 200),
        ("/own/pages", &bob, 200),
        (&format!("/own/more?t={alice}"), "", 200),
        ("/own/none", "", 401),
        ("/open", &alice, 200),
        ("/nowhere", &alice, 404),
    ] {
        assert_eq!(get(target, bearer).await, status, "{target}");
    }
    backend.next().await;
    eventually("they are logged", async || {
        kafka.whole_records(&log).await.len() >= 5
    })
    .await;
    let records = kafka.whole_records(&log).await;
    let noted: Vec<(Option<&str>, Value)> = records
        .iter()
        .map(|record| (record.key.as_deref(), record.json()["data"].clone()))
        .collect();
    for ((key, data), (expected, path, status, result)) in noted.iter().zip([
        ("a1", "/own/books", 200, "ok"),
        ("b1", "/own/pages", 200, "ok"),
        ("a1", "/own/more", 200, "ok"),
        ("127.0.0.1", "/own/none", 401, "unauthorized"),
        ("127.0.0.1", "/open", 200, "ok"),
    ]) {
        assert_eq!(*key, Some(expected), "{data}");
        assert_eq!(data["request_path"], path);
        assert_eq!(
            (&data["status"], &data["result"]),
            (&json!(status), &json!(result))
        );
        assert_eq!(data["endpoint"]["method"], "GET");
        assert!(data["duration_ms"].as_f64().is_some(), "{data}");
    }
    assert_eq!(noted.len(), 5, "what has no route is none of theirs");
    let written = process.written().await;
    let lines: Vec<&str> = written
        .lines()
        .filter(|line| line.contains("proxied a request"))
        .collect();
    assert_eq!(lines.len(), 5, "{written}");
    assert!(lines[0].contains("/own/[a-z]+"), "{}", lines[0]);
    for part in ["/own/books", "secret=1", "a1", "127.0.0.1:1 "] {
        assert!(
            lines.iter().all(|line| !line.contains(part)),
            "{part}: {lines:?}"
        );
    }
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

pub async fn in_the_traces_they_belong_to(kafka: &'static Kafka) {
    let mut backend = Backend::saying(200, "in").await;
    let topic = unique("commands");
    let endpoints = json!([
        { "id": "get", "method": "POST", "path_regex": "/http" },
        { "id": "record", "method": "POST", "path_regex": "/kafka", "target": "kafka", "topic": topic },
    ]);
    let settings = Settings::new(kafka).with_apis(&[api("test", backend.address, endpoints)]);
    let mut worker = Worker::start(kafka, &topic, &settings).await;
    let gateway = Gateway::with(settings).await;
    let good = format!("00-{TRACE}-{PARENT}-01");
    let cases: [(Headers<'_>, bool, Option<&str>); 5] = [
        (
            &[
                ("traceparent", &good),
                ("tracestate", "a=1"),
                ("tracestate", "b=2"),
            ],
            true,
            Some("a=1,b=2"),
        ),
        (&[("traceparent", &good)], true, None),
        (&[("tracestate", "a=1")], false, None),
        (
            &[("traceparent", "00-4bf9-00f0-01"), ("tracestate", "a=1")],
            false,
            None,
        ),
        (
            &[("traceparent", &good.to_uppercase()), ("tracestate", "a=1")],
            false,
            None,
        ),
    ];
    for (headers, goes_on, state) in cases {
        send(&gateway, "POST", "/http", headers).await;
        let seen = backend.next().await;
        send(&gateway, "POST", "/kafka", headers).await;
        let event = worker.next().await.event;
        let of_backend = (seen.header("traceparent"), seen.header("tracestate"));
        let of_record = (event["traceparent"].as_str(), event["tracestate"].as_str());
        for (parent, passed_on) in [of_backend, of_record] {
            let parts: Vec<&str> = parent.unwrap().split('-').collect();
            let [version, trace, span, flags] = parts.as_slice() else {
                panic!("{parts:?}");
            };
            assert_eq!((*version, trace.len(), span.len()), ("00", 32, 16));
            assert_eq!(*trace == TRACE, goes_on, "{headers:?}");
            assert_ne!(*span, PARENT, "it is a span of its own");
            assert_eq!(*flags, "01", "whoever records traces records this one");
            assert_eq!(passed_on, state, "{headers:?}");
        }
        assert_ne!(of_backend.0, of_record.0);
        assert_eq!(seen.headers.get_all("traceparent").iter().count(), 1);
    }
    gateway.stop().await;
}

pub async fn and_refuses_those_of_a_session_that_sends_too_many(kafka: &'static Kafka) {
    let mut backend = Backend::saying(200, "in").await;
    let endpoints = json!([
        { "id": "own", "method": "GET", "path_regex": "/own", "secured": true },
        { "id": "open", "method": "GET", "path_regex": "/open" },
    ]);
    let settings = Settings::new(kafka)
        .with_tokens()
        .with("MAX_REQUESTS_PER_MINUTE_PER_SESSION", "12")
        .with_apis(&[api("test", backend.address, endpoints)]);
    let gateway = Gateway::with(settings).await;
    let bearers = ["a1", "b1"].map(|session| format!("Bearer {}", token("alice", session)));
    // A sixth of a minute's number may come at once.
    for bearer in &bearers {
        let headers = [("authorization", bearer.as_str())];
        for _ in 0..2 {
            assert_eq!(send(&gateway, "GET", "/own", &headers).await.status, 200);
            backend.next().await;
        }
        let refused = send(&gateway, "GET", "/own", &headers).await;
        refused.problem(429);
        assert_eq!(refused.json()["code"], "too_many_requests");
        assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=5).contains(&wait), "{wait}");
    }
    // Who has no session is counted by address, which is one for all of these.
    for status in [200, 200, 429] {
        let headers = [("authorization", "Bearer nonsense")];
        assert_eq!(
            send(&gateway, "GET", "/open", &headers).await.status,
            status
        );
    }
    assert_eq!(
        gateway
            .metric("sluicegate_limited_requests_total", "")
            .await,
        3.0
    );
    assert_eq!(
        gateway.metric(REQUESTS, "status=\"unavailable\"").await,
        3.0
    );
    backend.skip();
    backend.got_no_more();
    gateway.stop().await;
}
