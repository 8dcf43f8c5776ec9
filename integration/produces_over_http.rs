//! Events submitted over HTTP: 202 once Kafka has them, and back to subscribers through Kafka.

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Settings, event};
use crate::support::http::{self, Answer};
use crate::support::kafka::Kafka;

async fn post(gateway: &Gateway, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    http::request(gateway.public(), "POST", "/_rig/v1/events", headers, body).await
}

pub async fn structured_binary_and_batched_on_both_ports(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut stream = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    let text = r#"{ "specversion":"1.0", "type":"t","id":"s","source":"/a","data":{"x":1.50}}"#;
    for content_type in [
        "application/cloudevents+json; charset=utf-8",
        "application/json",
    ] {
        let answer = post(&gateway, &[("content-type", content_type)], text.as_bytes()).await;
        assert_eq!((answer.status, answer.text()), (202, text));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(
            stream.event().await.data.as_deref(),
            Some(text),
            "as it came"
        );
    }
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-type", "t"),
        ("ce-id", "b"),
        ("ce-source", "/a%20b"),
        ("ce-myext", "x"),
        ("content-type", "application/json"),
    ];
    let answer = post(&gateway, &headers, br#"{"name":"alice"}"#).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let expected = stream.next().await;
    assert_eq!(answer.json(), expected);
    assert_eq!(expected["source"], "/a b");
    assert_eq!(expected["data"], json!({ "name": "alice" }));
    let batch = json!([event("t", "1", json!(1)), event("t", "2", json!(2))]);
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let answer = post(&gateway, &headers, batch.to_string().as_bytes()).await;
    let results = json!([
        { "id": "1", "source": "/test", "status": 202 },
        { "id": "2", "source": "/test", "status": 202 },
    ]);
    assert_eq!((answer.status, answer.json()), (202, results));
    let mut ids = stream.ids(2).await;
    ids.sort();
    assert_eq!(ids, ["1", "2"]);
    for path in ["/v3/messages", "/v2/messages"] {
        let headers = [("content-type", "application/cloudevents+json")];
        let body = event("t", path, json!(1)).to_string();
        let answer =
            http::request(gateway.internal(), "POST", path, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!(stream.ids(1).await, [path]);
    }
    gateway.stop().await;
}

pub async fn nothing_of_a_bad_batch_is_written(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut stream = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    let batch = json!([event("t", "1", json!(1)), { "type": "t" }, event("t", "2", json!(2)), 5]);
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let answer = post(&gateway, &headers, batch.to_string().as_bytes()).await;
    answer.problem(400);
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    let indexes: Vec<&Value> = errors.iter().map(|error| &error["index"]).collect();
    assert_eq!(indexes, [&json!(1), &json!(3)]);
    gateway.publish(&event("t", "after", json!(1))).await;
    assert_eq!(stream.ids(1).await, ["after"]);
    gateway.stop().await;
}

pub async fn the_key_is_the_partition_key_or_the_configured_attribute(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("KAFKA_PRODUCE_KEY", "subject");
    let gateway = Gateway::with(settings).await;
    let mut stream = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    for id in 0..20 {
        let mut event = event("t", &id.to_string(), json!(1));
        event["subject"] = json!("alice");
        gateway.publish(&event).await;
    }
    let expected: Vec<String> = (0..20).map(|id| id.to_string()).collect();
    assert_eq!(stream.ids(20).await, expected, "one key has one order");
    let keys = kafka.keys(gateway.settings.topic()).await;
    assert_eq!(keys, vec![Some("alice".to_owned()); 20]);
    gateway.stop().await;
}

pub async fn what_is_no_event_is_refused_with_its_reason(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let structured = [("content-type", "application/cloudevents+json")];
    let deep = format!(
        "{{\"specversion\":\"1.0\",\"type\":\"t\",\"id\":\"1\",\"source\":\"/\",\"data\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let large = vec![b' '; 2 << 20];
    let no_bytes: &[u8] = b"";
    for (headers, body, status) in [
        (&structured[..], &b"nonsense"[..], 400),
        (&structured, b"{}", 400),
        (&structured, b"[]", 400),
        (&structured, no_bytes, 400),
        (&structured, b"\xff\xfe", 400),
        (&structured, b"\xef\xbb\xbf{}", 400),
        (
            &structured,
            br#"{"specversion":"1.0","type":"a\nb","id":"1","source":"/"}"#,
            400,
        ),
        (
            &structured,
            br#"{"specversion":"1.0","type":"t","id":1,"source":"/"}"#,
            400,
        ),
        (
            &structured,
            br#"{"specversion":"1.0","type":"rig.session_killed","id":"1","source":"/"}"#,
            400,
        ),
        (
            &structured,
            br#"{"specversion":"1.0","type":"t","id":"1","source":"/","type":"u"}"#,
            400,
        ),
        (&structured, deep.as_bytes(), 400),
        (&structured, &large, 413),
        (
            &[("content-type", "application/cloudevents+avro")],
            b"x",
            415,
        ),
        (
            &[
                ("content-type", "application/cloudevents+json"),
                ("content-encoding", "gzip"),
            ],
            b"x",
            415,
        ),
        (&[], b"x", 400),
        (
            &[
                ("content-type", "application/json"),
                ("ce-specversion", "1.0"),
            ],
            b"{}",
            400,
        ),
    ] {
        let answer = post(&gateway, headers, body).await;
        let detail = answer.problem(status);
        assert!(!detail.is_empty());
    }
    gateway.publish(&event("t", "still here", json!(1))).await;
    gateway.stop().await;
}
