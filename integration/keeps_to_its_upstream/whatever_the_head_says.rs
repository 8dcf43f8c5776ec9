//! Heads that say something about hosts, connections and lines that is not theirs to say.

use super::Ground;
use crate::support::kafka::Kafka;

/// The names of hosts are read, and change nothing about where a request goes.
pub async fn about_hosts(kafka: &Kafka) {
    let ground = Ground::new(kafka).await;
    let trap = ground.trap.address();
    for lines in [
        format!("host: {trap}"),
        format!("HOST: {trap}"),
        "host:".to_owned(),
        format!("host: a\r\nx-forwarded-host: {trap}\r\nx-host: {trap}\r\nforwarded: host={trap}"),
        format!("host: a\r\nx-original-url: http://{trap}/\r\nx-rewrite-url: http://{trap}/"),
        format!("host: a\r\nx-forwarded-server: {trap}\r\ndestination: http://{trap}/"),
        "host: localhost:99999".to_owned(),
        "host: [::1]".to_owned(),
    ] {
        let request = format!("GET /a HTTP/1.1\r\n{lines}\r\nconnection: close\r\n\r\n");
        let sent = ground.forwarded(request.as_bytes(), &lines).await;
        assert_eq!(sent.line(), "GET /a HTTP/1.1", "{lines}");
        for claim in ["x-forwarded-for", "x-forwarded-host", "forwarded"] {
            assert!(sent.all(claim).len() < 2, "{lines}: {claim}");
        }
        assert_eq!(sent.header("x-forwarded-server"), None, "{lines}");
    }
    for lines in [
        format!("host: a\r\nhost: {trap}"),
        format!("host: a\r\nHost : {trap}"),
        format!("host: a@{trap}"),
        format!("host: {trap}/x"),
        format!("host: a, {trap}"),
        format!("host: a {trap}"),
        format!("host: {trap}\\@a"),
        format!("host: {trap}#"),
        format!("host: http://{trap}"),
        format!("x: y\r\n host: {trap}"),
        format!("host: a\x00{trap}"),
        format!("host: a\r{trap}"),
        "x-host: a".to_owned(),
    ] {
        let request = format!("GET /a HTTP/1.1\r\n{lines}\r\nconnection: close\r\n\r\n");
        ground.refused(request.as_bytes(), &[400], &lines).await;
    }
    ground.gateway.stop().await;
}

/// Options of a connection end with it; what the backend decides by stays.
pub async fn about_connections(kafka: &Kafka) {
    let ground = Ground::new(kafka).await;
    for options in [
        "close, authorization, x-forwarded-for, x-forwarded-proto, host, content-length",
        "close, x",
        "close,, ,\t, cookie, forwarded, via, traceparent",
        "close, transfer-encoding, content-type",
        "close, upgrade",
    ] {
        let request = format!(
            "POST /a HTTP/1.1\r\nhost: a\r\nconnection: {options}\r\nconnection: x-more\r\nupgrade: h2c\r\n\
             http2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nauthorization: Bearer x\r\ncookie: a=b\r\nx: 1\r\n\
             x-more: 1\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nab"
        );
        let sent = ground.forwarded(request.as_bytes(), options).await;
        assert_eq!(sent.body, b"ab", "{options}");
        for (name, value) in [
            ("authorization", Some("Bearer x")),
            ("cookie", Some("a=b")),
            ("x-forwarded-for", Some("127.0.0.1")),
            ("x-forwarded-proto", Some("http")),
            ("via", Some("1.1 sluicegate")),
            ("content-length", Some("2")),
            ("content-type", Some("text/plain")),
            ("connection", None),
            ("upgrade", None),
            ("http2-settings", None),
            ("x-more", None),
            ("x", (options != "close, x").then_some("1")),
        ] {
            assert_eq!(sent.header(name), value, "{options}: {name}");
        }
        assert!(sent.header("traceparent").is_some(), "{options}");
        assert!(sent.header("forwarded").is_some(), "{options}");
    }
    // Nobody is told to go on before somebody wants to know more.
    let request = b"POST /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nab";
    let answer = ground.attack(request).await;
    assert_eq!(crate::support::http::parse(&answer).status, 200);
    let sent = ground.upstream.one();
    assert_eq!((sent.header("expect"), &*sent.body), (None, &b"ab"[..]));
    for expectation in ["tea", "100-continue, tea", "200-ok"] {
        let head = "POST /a HTTP/1.1\r\nhost: a\r\nconnection: close";
        let request = format!("{head}\r\nexpect: {expectation}\r\ncontent-length: 2\r\n\r\nab");
        ground
            .refused(request.as_bytes(), &[417], expectation)
            .await;
    }
    ground.gateway.stop().await;
}

/// Names that some backends take for others are not a way around what is decided here.
pub async fn in_names_that_look_like_others(kafka: &Kafka) {
    let ground = Ground::new(kafka).await;
    let lines = "X_Forwarded_For: 203.0.113.9\r\nx-forwarded_for: 203.0.113.9\r\nX_Real_IP: 203.0.113.9\r\n\
        content_length: 5\r\ntransfer_encoding: chunked\r\nx_forwarded_proto: https\r\nx_forwarded_host: evil\r\n\
        http2_settings: x\r\nproxy_authorization: x\r\nx_mine: 1";
    let request = format!(
        "POST /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{lines}\r\ncontent-length: 2\r\n\r\nab"
    );
    let sent = ground.forwarded(request.as_bytes(), lines).await;
    let names: Vec<&str> = sent.headers().map(|(name, _)| name).collect();
    let with_underscores: Vec<_> = names.iter().filter(|name| name.contains('_')).collect();
    assert_eq!(with_underscores, [&"x_mine"]);
    for line in [
        "a b: c",
        "a\t: c",
        ": c",
        "a\x0b: c",
        "a\0: c",
        "(a): c",
        "a: b\0c",
        "a: b\rc",
        "a: b\r\r\nc: d",
        "a",
        "\x7f: a",
        "a[]: b",
        "@: b",
    ] {
        let request = format!("GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{line}\r\n\r\n");
        ground.refused(request.as_bytes(), &[400], line).await;
    }
    ground.gateway.stop().await;
}

/// What is too large is not kept, and what is no method has no route.
pub async fn at_any_length(kafka: &Kafka) {
    let ground = Ground::new(kafka).await;
    let head = "GET /a HTTP/1.1\r\nhost: a\r\nconnection: close";
    for (request, statuses) in [
        (
            format!("{head}\r\nx: {}\r\n\r\n", "y".repeat(100_000)),
            &[431][..],
        ),
        (
            format!("{head}\r\n{}\r\n", "x: y\r\n".repeat(20_000)),
            &[431, 400],
        ),
        (
            format!("{head}\r\n{}\r\n", "x: y\r\n".repeat(101)),
            &[431, 400],
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(100_000)),
            &[414, 431],
        ),
        (
            format!("{} / HTTP/1.1\r\nhost: a\r\n\r\n", "A".repeat(100_000)),
            &[400, 414, 431],
        ),
        (
            "get /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_owned(),
            &[405],
        ),
        (
            "BREW /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_owned(),
            &[405],
        ),
        ("GET\x00 /a HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), &[400]),
        ("G(T /a HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), &[400]),
        (" GET /a HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), &[400]),
        ("TRACE /a HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), &[501]),
        ("GET /a HTTP/1.1 \r\nhost: a\r\n\r\n".to_owned(), &[400]),
        ("GET /a HTTP/3.0\r\nhost: a\r\n\r\n".to_owned(), &[400, 505]),
        (
            "GET /a HTTP/1.1\r\nhost: a\r\n x\r\n\r\n".to_owned(),
            &[400],
        ),
        ("GET /a\r\nhost: a\r\n\r\n".to_owned(), &[400]),
    ] {
        let what = &request[..request.len().min(60)];
        ground.refused(request.as_bytes(), statuses, what).await;
    }
    ground.gateway.stop().await;
}
