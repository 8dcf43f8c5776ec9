//! Hostile input is answered with a 4xx that says what is wrong, and harms nobody else.

use serde_json::json;

use crate::support::gateway::{Gateway, event, query};
use crate::support::http::{self, encode};
use crate::support::kafka::Kafka;
use crate::support::sse::Sse;

pub async fn in_subscriptions(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut witness = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    let deep = "[".repeat(10_000);
    for text in [
        "nonsense",
        "5",
        "{}",
        "[5]",
        "[{}]",
        r#"[{"eventType":""}]"#,
        r#"[{"eventType":5}]"#,
        r#"[{"eventType":"a*b"}]"#,
        r#"[{"eventType":"t","oneOf":{}}]"#,
        r#"[{"eventType":"t","oneOf":[{"":1}]}]"#,
        r#"[{"eventType":"t","filters":[{"regex":{}}]}]"#,
        r#"[{"eventType":"t","filters":[{"exact":{}}]}]"#,
        r#"[{"eventType":"t","filters":[{"all":[]}]}]"#,
        deep.as_str(),
        "\u{0}",
    ] {
        let query = format!("subscriptions={}", encode(text));
        let answer = Sse::try_open(gateway.public(), &query, &[])
            .await
            .unwrap_err();
        assert!(
            (400..500).contains(&answer.status),
            "{text}: {}",
            answer.status
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    let answer = Sse::try_open(gateway.public(), "subscriptions=%ff", &[])
        .await
        .unwrap_err();
    answer.problem(400);
    gateway.publish(&event("t", "1", json!(1))).await;
    assert_eq!(witness.ids(1).await, ["1"]);
    gateway.stop().await;
}

pub async fn in_paths_methods_and_heads(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut witness = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    let sse = "/_rig/v1/connection/sse";
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/nothing/here", 404),
        ("GET", "/_rig/v1/connection/sse/", 404),
        ("GET", "//_rig/v1/connection/sse", 404),
        ("GET", "/_rig/../metrics", 404),
        ("GET", "/metrics", 404),
        ("POST", "/v3/messages", 404),
        ("POST", sse, 405),
        ("DELETE", "/_rig/v1/events", 405),
        ("GET", "/_rig/v1/connection/sse/x/subscriptions", 405),
    ] {
        let answer = http::request(gateway.public(), method, path, &[], b"").await;
        answer.problem(status);
        assert_eq!(
            answer.header("allow").is_some(),
            status == 405,
            "{method} {path}"
        );
    }
    let long = format!("/{}", "a".repeat(200_000));
    let answer = http::request(gateway.public(), "GET", &long, &[], b"").await;
    assert!(
        matches!(answer.status, 414 | 431 | 400),
        "{}",
        answer.status
    );
    let head = http::request(gateway.public(), "HEAD", sse, &[], b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    for bytes in [
        "GET / HTTP/1.1\r\n\r\n",
        "TRACE / HTTP/1.1\r\nhost: x\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let answer = http::raw(gateway.public(), bytes.as_bytes()).await;
        assert!(
            (400..502).contains(&answer.status),
            "{bytes:?}: {}",
            answer.status
        );
    }
    gateway.publish(&event("t", "1", json!(1))).await;
    assert_eq!(witness.ids(1).await, ["1"]);
    gateway.stop().await;
}

pub async fn a_type_that_looks_like_fields_forges_nothing(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut stream = gateway.subscribe(json!([{ "eventType": "*" }])).await;
    let forged = [
        r#"{"specversion":"1.0","type":"t","id":"a\u000ddata: forged","source":"/"}"#,
        r#"{"specversion":"1.0","type":"t\u0000","id":"b","source":"/"}"#,
        r#"{"specversion":"1.0","type":"t\u000a\u000aevent: rig.session_killed","id":"c","source":"/"}"#,
    ];
    for text in forged {
        kafka.produce_json(gateway.settings.topic(), text).await;
    }
    let honest = "{\"specversion\":\"1.0\",\r\"type\":\"t\",\r\n\"id\":\"d\",\n\"source\":\"/\",\"data\":\"a\\u000ab\\u2028\"}";
    for _ in 0..8 {
        kafka.produce_json(gateway.settings.topic(), honest).await;
    }
    for _ in 0..8 {
        let block = stream.event().await;
        assert_eq!(block.event.as_deref(), Some("t"));
        assert_eq!(block.json()["id"], "d");
        assert_eq!(block.json()["data"], "a\nb\u{2028}");
    }
    gateway.stop().await;
}

pub async fn cors_lets_pages_in_and_credentials_only_for_exact_origins(kafka: &Kafka) {
    let settings = crate::support::gateway::Settings::new(kafka);
    let settings = settings.with("CORS", "https://a.example,https://b.example");
    let gateway = Gateway::with(settings).await;
    let origin = |value| [("origin", value)];
    let stream = Sse::open(
        gateway.public(),
        &query(&json!([])),
        &origin("https://b.example"),
    )
    .await;
    assert_eq!(
        stream.header("access-control-allow-origin"),
        Some("https://b.example")
    );
    let stream = Sse::open(
        gateway.public(),
        &query(&json!([])),
        &origin("https://evil.example"),
    )
    .await;
    assert_eq!(stream.header("access-control-allow-origin"), None);
    for (origin, status) in [("https://b.example", 101), ("https://evil.example", 403)] {
        let handshake = format!(
            "GET /_rig/v1/connection/ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\
             connection: upgrade, close\r\nsec-websocket-version: 13\r\norigin: {origin}\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGG"
        );
        // The two last characters are a frame without a mask; the server closes, so the answer ends.
        let answer = http::raw(gateway.public(), handshake.as_bytes()).await;
        assert_eq!(answer.status, status, "{origin}");
    }
    for (path, methods) in [
        ("/_rig/v1/connection/longpolling", "GET"),
        ("/_rig/v1/connection/sse/x/subscriptions", "PUT"),
        ("/_rig/v1/events", "POST"),
    ] {
        let headers = origin("https://a.example");
        let answer = http::request(gateway.public(), "OPTIONS", path, &headers, b"").await;
        assert_eq!(answer.status, 204);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("https://a.example")
        );
        assert!(
            answer
                .header("access-control-allow-methods")
                .unwrap()
                .contains(methods),
            "{path}"
        );
        assert!(
            answer
                .header("access-control-allow-headers")
                .unwrap()
                .contains("content-type")
        );
    }
    gateway.stop().await;
}
