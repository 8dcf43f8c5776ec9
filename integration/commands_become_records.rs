//! Requests for Kafka targets: one record each, whatever the body is; and the log of requests.

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Settings, event, eventually, unique};
use crate::support::http::{self, Answer};
use crate::support::kafka::Kafka;
use crate::support::records::Record;
use crate::support::registry::{Mood, Registry};

const JSON: (&str, &str) = ("content-type", "application/json");
const EVENT: (&str, &str) = ("content-type", "application/cloudevents+json");

/// Returns an API with one endpoint for POST to Kafka.
fn api(path: &str, topic: &str, more: Value) -> Value {
    let mut endpoint = json!({
        "id": path.trim_matches('/').split('/').next(), "method": "POST", "path_regex": path,
        "target": "kafka", "topic": topic,
    });
    for (name, value) in more.as_object().unwrap() {
        endpoint[name] = value.clone();
    }
    json!({ "id": endpoint["id"], "name": "test", "version_data": { "default": { "endpoints": [endpoint] } } })
}

async fn with_apis(settings: Settings, apis: &[Value]) -> Gateway {
    Gateway::with(settings.with("PROXY_CONFIG_FILE", json!(apis).to_string())).await
}

async fn post(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    http::request(gateway.public(), "POST", path, headers, body).await
}

async fn accepted(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: &[u8]) {
    let answer = post(gateway, path, headers, body).await;
    assert_eq!((answer.status, answer.text()), (202, "Accepted."), "{path}");
}

/// Returns the one record of a topic.
async fn only(kafka: &Kafka, topic: &str) -> Record {
    let mut records = kafka.whole_records(topic).await;
    assert_eq!(records.len(), 1, "{records:?}");
    records.remove(0)
}

async fn topic(kafka: &'static Kafka, partitions: i32) -> String {
    let topic = unique("commands");
    kafka.create(&topic, partitions).await;
    topic
}

pub async fn of_events_that_stay_as_they_are(kafka: &'static Kafka) {
    let topic = topic(kafka, 1).await;
    let apis = [api("/orders/[0-9]+", &topic, json!({}))];
    let gateway = with_apis(Settings::new(kafka), &apis).await;
    let sent = r#"{ "specversion":"1.0", "type":"t","id":"1","source":"/a","data":{"x":1.50},"rig":{"target_partition":"p","correlation":"forged"}}"#;
    let headers = [
        EVENT,
        ("authorization", "Bearer secret"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("x-mine", "1"),
    ];
    accepted(&gateway, "/orders/7?a=1&a=%20", &headers, sent.as_bytes()).await;
    let record = only(kafka, &topic).await;
    assert_eq!(record.key.as_deref(), Some("p"));
    assert_eq!(
        record.header("content-type"),
        Some("application/cloudevents+json; charset=UTF-8")
    );
    assert_eq!(record.header("rig-correlation"), None);
    let text = String::from_utf8(record.value.clone()).unwrap();
    let kept =
        r#""specversion":"1.0", "type":"t","id":"1","source":"/a","data":{"x":1.50},"rig":{"#;
    assert!(text.contains(kept), "{text}");
    let json = record.json();
    let parent = json["traceparent"].as_str().unwrap();
    assert!(
        parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{parent}"
    );
    let rig = &json["rig"];
    assert_eq!(rig["path"], "/orders/7");
    assert_eq!(rig["query"], "a=1&a=%20");
    assert_eq!(rig["method"], "POST");
    assert_eq!(rig["remoteip"], "127.0.0.1");
    assert_eq!(rig["scheme"], "http");
    assert_eq!(
        (&rig["host"], &rig["port"]),
        (&json!("localhost"), &json!(80))
    );
    assert!(rig.get("correlation").is_none());
    assert!(
        rig["headers"]
            .as_array()
            .unwrap()
            .contains(&json!(["x-mine", "1"]))
    );
    assert!(!text.contains("secret"), "{text}");
}

pub async fn of_any_other_body(kafka: &'static Kafka) {
    let topic = topic(kafka, 1).await;
    let apis = [api("/any", &topic, json!({"key": "session"}))];
    let gateway = with_apis(Settings::new(kafka), &apis).await;
    let bodies: [(&str, &[u8], &str, Value); 4] = [
        ("application/json", b"{\"a\": 1}", "data", json!({"a": 1})),
        ("text/plain", b"hi", "data", json!("hi")),
        (
            "application/x-www-form-urlencoded",
            b"a=b",
            "data",
            json!("a=b"),
        ),
        ("image/png", b"\x89PNG", "data_base64", json!("iVBORw==")),
    ];
    for (content_type, body, ..) in &bodies {
        accepted(&gateway, "/any", &[("content-type", content_type)], body).await;
    }
    accepted(&gateway, "/any", &[], b"").await;
    let records = kafka.whole_records(&topic).await;
    assert_eq!(records.len(), 5);
    for ((content_type, _, member, data), record) in bodies.iter().zip(&records) {
        let json = record.json();
        assert_eq!(
            (&json[member], &json["datacontenttype"]),
            (data, &json!(content_type))
        );
        assert_eq!(json["type"], "any");
        assert_eq!(json["source"], "/sluicegate/any/any");
        assert_eq!(record.key.as_deref(), Some("127.0.0.1"));
    }
    for (headers, body, status) in [
        (&[EVENT][..], "{}", 400),
        (&[JSON], "{\"specversion\":\"1.0\"}", 400),
        (&[JSON], "{", 400),
        (
            &[EVENT],
            r#"{"specversion":"1.0","type":"rig.x","id":"1","source":"/"}"#,
            400,
        ),
        (
            &[("content-type", "application/cloudevents-batch+json")],
            "[]",
            415,
        ),
        (&[("content-encoding", "gzip")], "x", 415),
    ] {
        let answer = post(&gateway, "/any", headers, body.as_bytes()).await;
        answer.problem(status);
    }
    let large = vec![b'x'; 1024 * 1024 + 1];
    post(&gateway, "/any", &[], &large).await.problem(413);
    assert_eq!(kafka.whole_records(&topic).await.len(), 5);
}

pub async fn whose_keys_choose_partitions_as_those_of_java_do(kafka: &'static Kafka) {
    let topic = topic(kafka, 8).await;
    let key = json!({"key": {"header": "x-key"}});
    let gateway = with_apis(Settings::new(kafka), &[api("/keyed", &topic, key)]).await;
    let keys = ["21", "foobar", "a-little-bit-long-string", "ä", "k"];
    for key in keys {
        accepted(&gateway, "/keyed", &[("x-key", key)], b"").await;
    }
    let records = kafka.whole_records(&topic).await;
    assert_eq!(records.len(), keys.len());
    assert_eq!(
        murmur2(b"21"),
        -973_932_308,
        "a vector of Kafka's own tests"
    );
    for record in records {
        let hash = murmur2(record.key.as_ref().unwrap().as_bytes()) & 0x7fff_ffff;
        assert_eq!(record.partition, hash % 8, "{:?}", record.key);
    }
}

/// The hash of Kafka's Java client.
fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ u32::try_from(data.len()).unwrap();
    let chunks = data.chunks_exact(4);
    let rest = chunks.remainder();
    for chunk in chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().unwrap()).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (index, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)).cast_signed()
}

fn person() -> Value {
    json!({"type": "record", "name": "person", "fields": [
        {"name": "username", "type": ["null", "string"]},
        {"name": "food", "type": {"type": "record", "name": "food", "fields": [
            {"name": "vegetable", "type": ["null", "string"]}]}}]})
}

pub async fn with_data_in_avro(kafka: &'static Kafka) {
    let topic = topic(kafka, 1).await;
    let registry = Registry::start().await;
    registry.add("person-value", 2, &person());
    let apis = [
        api("/avro", &topic, json!({"schema": "person-value"})),
        api("/unknown", &topic, json!({"schema": "nothing"})),
        api("/later", &topic, json!({"schema": "later-value"})),
    ];
    let host = registry.address.to_string();
    let settings = Settings::new(kafka).with("KAFKA_SCHEMA_REGISTRY_HOST", host);
    let gateway = with_apis(settings, &apis).await;
    let sent = json!({
        "specversion": "0.2", "type": "t", "id": "1", "source": "/a", "contenttype": "application/json",
        "extension": {"a": 1}, "data": {"username": "Jeff", "food": {"vegetable": "tomato"}},
    });
    accepted(&gateway, "/avro", &[EVENT], sent.to_string().as_bytes()).await;
    let record = only(kafka, &topic).await;
    assert_eq!(
        record.value,
        b"\x00\x00\x00\x00\x02\x02\x08Jeff\x02\x0ctomato"
    );
    for (name, value) in [
        ("content-type", Some("avro/binary")),
        ("ce_specversion", Some("0.2")),
        ("ce_type", Some("t")),
        ("ce_id", Some("1")),
        ("ce_source", Some("/a")),
        ("ce_extension", Some("{\"a\":1}")),
        ("ce_contenttype", None),
        ("ce_data", None),
    ] {
        assert_eq!(record.header(name), value, "{name}");
    }
    let rig: Value = serde_json::from_str(record.header("ce_rig").unwrap()).unwrap();
    assert_eq!(rig["path"], "/avro");
    let misfit = json!({"food": {"vegetable": 7}}).to_string();
    let problem = post(&gateway, "/avro", &[JSON], misfit.as_bytes())
        .await
        .problem(400);
    assert!(
        problem.contains("data/food/vegetable: expected a string"),
        "{problem}"
    );
    post(&gateway, "/unknown", &[JSON], b"{}")
        .await
        .problem(503);
    // What is known is used while the registry talks nonsense.
    registry.be(Mood::With(500, "out of order"));
    accepted(&gateway, "/avro", &[JSON], b"{\"food\":{}}").await;
    post(&gateway, "/later", &[JSON], b"{}").await.problem(503);
    assert_eq!(kafka.whole_records(&topic).await.len(), 2);
}

pub async fn and_are_logged_to_kafka(kafka: &'static Kafka) {
    let (topic, log) = (topic(kafka, 1).await, unique("log"));
    let settings = Settings::new(kafka)
        .with("REQUEST_LOG", "console,kafka")
        .with("KAFKA_LOG_TOPIC", &log);
    let gateway = with_apis(settings, &[api("/logged/.*", &topic, json!({}))]).await;
    accepted(&gateway, "/logged/%22?token=secret", &[], b"").await;
    post(&gateway, "/logged/2", &[EVENT], b"{}")
        .await
        .problem(400);
    eventually("both are in the log", async || {
        gateway
            .metric("rig_proxy_requests_total", "endpoint=\"logged\"")
            .await
            > 1.5
            && is_there(kafka, &log, 2).await
    })
    .await;
    let records = kafka.whole_records(&log).await;
    for (record, path, status) in [
        (&records[0], "/logged/%22", 202),
        (&records[1], "/logged/2", 400),
    ] {
        assert_eq!(record.key.as_deref(), Some("127.0.0.1"));
        let entry = record.json();
        assert_eq!(entry["specversion"], "1.0");
        assert_eq!(entry["type"], "com.rig.proxy.api.call");
        assert_eq!(entry["source"], "/rig");
        let data = &entry["data"];
        assert_eq!(data["endpoint"]["id"], "logged");
        assert_eq!(data["api"], "logged");
        assert_eq!(data["request_path"], path);
        assert_eq!(data["remote_ip"], "127.0.0.1");
        assert_eq!(data["status"], status);
        assert!(!entry.to_string().contains("secret"));
    }
    let dropped = gateway
        .metric("sluicegate_request_log_dropped_total", "")
        .await;
    assert!(dropped.abs() < 0.5);
}

pub async fn and_are_logged_in_avro(kafka: &'static Kafka) {
    let (topic, log) = (topic(kafka, 1).await, unique("log"));
    let registry = Registry::start().await;
    let schema = json!({"type": "record", "name": "entry", "fields": [
        {"name": "request_path", "type": "string"}, {"name": "status", "type": ["null", "int"]}]});
    registry.add("log-value", 9, &schema);
    let settings = Settings::new(kafka)
        .with("REQUEST_LOG", "kafka")
        .with("KAFKA_LOG_TOPIC", &log)
        .with("KAFKA_LOG_SCHEMA", "log-value")
        .with("KAFKA_SCHEMA_REGISTRY_HOST", registry.address.to_string());
    let gateway = with_apis(settings, &[api("/logged", &topic, json!({}))]).await;
    accepted(&gateway, "/logged", &[], b"").await;
    eventually("it is in the log", async || is_there(kafka, &log, 1).await).await;
    let record = only(kafka, &log).await;
    assert_eq!(record.value, b"\x00\x00\x00\x00\x09\x0e/logged\x02\x94\x03");
    assert_eq!(record.header("content-type"), Some("avro/binary"));
    assert_eq!(record.header("ce_type"), Some("com.rig.proxy.api.call"));
}

/// Returns whether the topic has so many records.
async fn is_there(kafka: &Kafka, topic: &str, count: usize) -> bool {
    kafka.partitions(topic).await > 0 && kafka.whole_records(topic).await.len() >= count
}

pub async fn of_which_some_come_back_as_events(kafka: &'static Kafka) {
    let settings = Settings::new(kafka);
    let topic = settings.topic().to_owned();
    let gateway = with_apis(settings, &[api("/told", &topic, json!({}))]).await;
    let mut stream = gateway
        .subscribe(json!([{ "eventType": "t" }, { "eventType": "told" }]))
        .await;
    let sent = event("t", "1", json!(1)).to_string();
    accepted(&gateway, "/told", &[EVENT], sent.as_bytes()).await;
    // Each before the next is sent: they may lie in two partitions, which have no common order.
    let first = stream.next().await;
    accepted(&gateway, "/told", &[JSON], b"[2]").await;
    let second = stream.next().await;
    assert_eq!(
        (&first["id"], &first["rig"]["path"]),
        (&json!("1"), &json!("/told"))
    );
    assert_eq!(
        (&second["type"], &second["data"]),
        (&json!("told"), &json!([2]))
    );
}
