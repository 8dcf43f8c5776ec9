//! What backends are told of clients, and clients of backends: whose a request is, and nothing of connections.

use serde_json::json;

use super::{told, with_tls};
use crate::support::gateway::{Gateway, Settings};
use crate::support::kafka::Kafka;
use crate::support::routes::{all, api, endpoint};
use crate::support::upstream::{Sent, Upstream};
use crate::support::ways::{Client, Way};

/// What says who a client is.
const CLAIMS: [&str; 7] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-real-ip",
];

fn claims(sent: &Sent) -> Vec<String> {
    let lines = CLAIMS.iter().flat_map(|name| {
        let values = sent.all(name).into_iter();
        values.map(move |value| format!("{name}: {value}"))
    });
    lines.collect()
}

/// What a client says of itself and of others.
const SPOOFED: [(&str, &str); 9] = [
    (
        "forwarded",
        "for=203.0.113.9;by=evil;host=evil.example;proto=https",
    ),
    ("forwarded", "for=\"unknown"),
    ("x-forwarded-for", "203.0.113.9, 127.0.0.1"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-proto", "gopher"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-port", "1"),
    ("x-forwarded-prefix", "/evil"),
    ("x-real-ip", "203.0.113.9"),
];

pub async fn who_say_nothing_of_others(kafka: &Kafka) {
    let upstream = Upstream::echoing().await;
    let (gateway, certificate) = with_tls(Settings::routing(kafka, &[all(&upstream.url())])).await;
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        let proto = if way.has_tls() { "https" } else { "http" };
        for headers in [&[][..], &SPOOFED] {
            assert_eq!(client.fetch("GET", "/", headers, b"").await.status, 200);
            let sent = upstream.one();
            let expected = [
                format!("forwarded: for=127.0.0.1;proto={proto};host=localhost;by=_sluicegate"),
                "x-forwarded-for: 127.0.0.1".to_owned(),
                format!("x-forwarded-proto: {proto}"),
                "x-forwarded-host: localhost".to_owned(),
            ];
            assert_eq!(claims(&sent), expected, "{way:?}");
            let via = if way.is_http2() {
                "2 sluicegate"
            } else {
                "1.1 sluicegate"
            };
            assert_eq!(sent.header("via"), Some(via));
            // Who is asked, the definition says.
            assert_eq!(sent.header("host"), Some(&*upstream.address().to_string()));
        }
    }
    gateway.stop().await;
}

pub async fn unless_they_are_trusted_proxies(kafka: &Kafka) {
    let upstream = Upstream::echoing().await;
    let settings = Settings::routing(kafka, &[all(&upstream.url())]);
    let gateway = Gateway::with(settings.with("TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8")).await;
    // What came; the addresses, the scheme and the host that go on.
    for (lines, addresses, proto, host) in [
        (
            "x-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: https\r\nx-forwarded-host: app.example\r\n",
            "203.0.113.9, 127.0.0.1",
            "https",
            "app.example",
        ),
        // What stands left of the client, the client may have made up.
        (
            "x-forwarded-for: 192.0.2.66, 203.0.113.9, 10.1.2.3\r\n",
            "203.0.113.9, 10.1.2.3, 127.0.0.1",
            "http",
            "a",
        ),
        (
            "x-forwarded-for: evil\r\nx-forwarded-for: 203.0.113.9\r\n",
            "203.0.113.9, 127.0.0.1",
            "http",
            "a",
        ),
        (
            "forwarded: for=\"[2001:db8::1]:47011\";proto=https, for=10.1.1.1\r\n",
            "2001:db8::1, 10.1.1.1, 127.0.0.1",
            "http",
            "a",
        ),
        (
            "x-forwarded-proto: javascript\r\nx-forwarded-host: a@b\r\n",
            "127.0.0.1",
            "http",
            "a",
        ),
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nvia: 1.0 front\r\n{lines}\r\n");
        assert_eq!(told(&gateway, request.as_bytes()).await.status, 200);
        let sent = upstream.one();
        assert_eq!(sent.header("x-forwarded-for"), Some(addresses), "{lines}");
        assert_eq!(sent.header("x-forwarded-proto"), Some(proto), "{lines}");
        assert_eq!(sent.header("x-forwarded-host"), Some(host), "{lines}");
        let forwarded = sent.header("forwarded").unwrap();
        let own = "for=127.0.0.1;proto=http;host=a;by=_sluicegate";
        assert!(forwarded.ends_with(own), "{forwarded}");
        let hops = forwarded.split(',').count();
        assert_eq!(hops, addresses.split(',').count(), "{forwarded}");
        assert_eq!(sent.all("via"), ["1.0 front", "1.1 sluicegate"]);
    }
    gateway.stop().await;
}

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a\r\n\
    connection: keep-alive, X-Secret, authorization, x-forwarded-for, cookie\r\n\
    connection: host, content-length, te\r\nx-secret: 1\r\nauthorization: Bearer x\r\ncookie: a=b\r\n\
    keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nproxy-authorization: Basic x\r\n\
    te: trailers, gzip\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\
    accept: a\r\naccept: b\r\n\r\n";

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close, x-hop, set-cookie\r\n\
    x-hop: 1\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nupgrade: h2c\r\n\
    alt-svc: h3=\":443\"\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nserver: x\r\nvia: 1.0 behind\r\n\r\nok";

/// What is for one connection ends with it, in both directions, and nothing else does.
pub async fn without_what_is_for_one_connection(kafka: &Kafka) {
    let upstream = Upstream::answering(ANSWER).await;
    let (gateway, certificate) = with_tls(Settings::routing(kafka, &[all(&upstream.url())])).await;
    let mut answer = told(&gateway, REQUEST.as_bytes()).await;
    assert_eq!(answer.whole().await.unwrap(), b"ok");
    let sent = upstream.one();
    for (name, values) in [
        ("x-secret", &[][..]),
        ("keep-alive", &[]),
        ("proxy-connection", &[]),
        ("proxy-authorization", &[]),
        ("upgrade", &[]),
        ("http2-settings", &[]),
        ("authorization", &["Bearer x"]),
        ("cookie", &["a=b"]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("te", &["trailers"]),
        ("connection", &["te"]),
        ("accept", &["a", "b"]),
    ] {
        assert_eq!(sent.all(name), values, "{name}");
    }
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        let answer = client.fetch("GET", "/", &[], b"").await;
        let connection: &[&str] = if way.is_http2() { &[] } else { &["close"] };
        for (name, values) in [
            ("x-hop", &[][..]),
            ("keep-alive", &[]),
            ("proxy-authenticate", &[]),
            ("upgrade", &[]),
            ("alt-svc", &[]),
            ("set-cookie", &["a=1", "b=2"]),
            ("via", &["1.0 behind", "1.1 sluicegate"]),
            ("server", &["x"]),
            ("connection", connection),
        ] {
            let named = answer.headers.iter().filter(|(known, _)| known == name);
            let found: Vec<_> = named.map(|(_, value)| value).collect();
            assert_eq!(found, values, "{way:?} {name}");
        }
    }
    gateway.stop().await;
}

pub async fn with_the_headers_of_their_route(kafka: &Kafka) {
    let upstream = Upstream::echoing().await;
    let mut with = endpoint("GET", "/with");
    with["transform_request_headers"] = json!(true);
    let routes = json!([with, endpoint("GET", "/without")]);
    let mut api = api("a", &[upstream.url()], routes);
    let added =
        json!({ "host": "b.example", "X-Custom": "ours", "authorization": "Basic b3Vycw==" });
    let transformed = json!({ "add_headers": added });
    api["version_data"]["default"]["transform_request_headers"] = transformed;
    let (gateway, certificate) = with_tls(Settings::routing(kafka, &[api])).await;
    let own = upstream.address().to_string();
    let headers = [
        ("x-custom", "theirs"),
        ("x-custom", "more"),
        ("authorization", "Bearer x"),
    ];
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        for (target, host, custom, authorization) in [
            ("/with", "b.example", &["ours"][..], "Basic b3Vycw=="),
            ("/without", &own, &["theirs", "more"], "Bearer x"),
        ] {
            assert_eq!(client.fetch("GET", target, &headers, b"").await.status, 200);
            let sent = upstream.one();
            assert_eq!(sent.header("host"), Some(host), "{way:?} {target}");
            assert_eq!(sent.all("x-custom"), custom, "{way:?} {target}");
            assert_eq!(
                sent.header("authorization"),
                Some(authorization),
                "{way:?} {target}"
            );
        }
    }
    gateway.stop().await;
}

pub async fn as_part_of_their_trace(kafka: &Kafka) {
    let upstream = Upstream::echoing().await;
    let gateway = Gateway::with(Settings::routing(kafka, &[all(&upstream.url())])).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (parent, is_kept) in [("00f067aa0ba902b7", true), ("0000000000000000", false)] {
        let lines = format!("traceparent: 00-{trace}-{parent}-01\r\ntracestate: a=b\r\n");
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
        assert_eq!(told(&gateway, request.as_bytes()).await.status, 200);
        let sent = upstream.one();
        let found = sent.header("traceparent").unwrap();
        let parts: Vec<&str> = found.split('-').collect();
        assert_eq!((parts.len(), parts[1] == trace), (4, is_kept), "{found}");
        assert_ne!(parts[2], parent);
        assert_eq!(sent.header("tracestate"), is_kept.then_some("a=b"));
    }
    gateway.stop().await;
}
