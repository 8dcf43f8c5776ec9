//! Events from Kafka reach those who subscribed to them, and nobody else, over server-sent events.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Settings, event, query};
use crate::support::kafka::Kafka;
use crate::support::sse::Sse;

const EXTRACTORS: &str = r#"{
    "order": {
        "name": {"stable_field_index": 1, "event": {"json_pointer": "/data/name"}},
        "age": {"stable_field_index": 2, "event": {"json_pointer": "/data/age"}},
        "vip": {"stable_field_index": 3, "event": {"json_pointer": "/data/vip"}}
    }
}"#;

pub async fn the_first_frames_are_byte_for_byte_what_rig_sends(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let wanted = json!([{ "eventType": "greeting", "oneOf": [] }]);
    let mut stream = gateway.open(wanted).await;
    assert_eq!(
        stream.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(
        stream.header("cache-control"),
        Some("no-cache, no-transform")
    );
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    assert_eq!(stream.header("access-control-allow-origin"), Some("*"));
    assert_eq!(stream.block().await.unwrap().bytes, "retry: 3000\n\n");
    let created = stream.block().await.unwrap();
    let id = created.id.clone().expect("a cursor");
    let data = created.data.clone().expect("data");
    let expected = format!("id: {id}\nevent: rig.connection.create\ndata: {data}\n\n");
    assert_eq!(created.bytes, expected);
    assert_eq!(created.json()["specversion"], "1.0");
    assert_eq!(created.json()["source"], "rig");
    let set = stream.block().await.unwrap();
    assert_eq!(set.event.as_deref(), Some("rig.subscriptions_set"));
    assert_eq!(
        set.json()["data"],
        json!([{ "eventType": "greeting", "oneOf": [] }])
    );
    let text = r#"{"specversion":"1.0","type":"greeting","source":"/a","id":"1","x":null,"data":{"a":[1.0]}}"#;
    kafka.produce_json(gateway.settings.topic(), text).await;
    let block = stream.block().await.unwrap();
    let id = block.id.clone().expect("a cursor");
    assert_eq!(
        block.bytes,
        format!("id: {id}\nevent: greeting\ndata: {text}\n\n")
    );
    gateway.stop().await;
}

pub async fn each_client_gets_just_what_its_constraints_ask_for(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("EXTRACTORS", EXTRACTORS);
    let gateway = Gateway::with(settings).await;
    let all = json!([{ "eventType": "order" }]);
    let cases = [
        (
            json!([{ "eventType": "order", "oneOf": [{ "name": "alice" }] }]),
            "1 4",
        ),
        (
            json!([{ "eventType": "order", "oneOf": [{ "name": "alice", "age": 30 }] }]),
            "1",
        ),
        (
            json!([{ "eventType": "order", "oneOf": [{ "name": "bob" }, { "vip": true }] }]),
            "2 3",
        ),
        (
            json!([{ "eventType": "order", "oneOf": [{ "age": 30.0 }] }]),
            "1 2",
        ),
        (
            json!([{ "eventType": "order", "oneOf": [{ "age": null }] }]),
            "3 4",
        ),
        (
            json!([{ "eventType": "order", "filters": [{ "exact": { "source": "/b" } }] }]),
            "2",
        ),
        (
            json!([{ "filters": [{ "prefix": { "id": "3" } }, { "suffix": { "type": "der" } }] }]),
            "3",
        ),
        (
            json!([{ "eventType": "order", "filters": [{ "not": { "any": [
            { "exact": { "id": "1" } }, { "exact": { "id": "2" } } ] } }] }]),
            "3 4",
        ),
        (
            json!([{ "eventType": "orde.*" }, { "eventType": "another" }]),
            "",
        ),
        (json!([]), ""),
    ];
    let mut clients = Vec::new();
    for (wanted, ids) in cases {
        let mut wanted = wanted.as_array().unwrap().clone();
        wanted.push(json!({ "eventType": "the end" }));
        clients.push((gateway.subscribe(Value::Array(wanted)).await, ids));
    }
    let mut everything = gateway.subscribe(all).await;
    for order in [
        json!({ "specversion": "1.0", "type": "order", "source": "/a", "id": "1", "data": { "name": "alice", "age": 30 } }),
        json!({ "specversion": "1.0", "type": "order", "source": "/b", "id": "2", "data": { "name": "bob", "age": 30.0, "vip": false } }),
        json!({ "specversion": "1.0", "type": "order", "source": "/a", "id": "3", "data": { "name": "carol", "vip": true, "age": null } }),
        json!({ "specversion": "1.0", "type": "order", "source": "/a", "id": "4", "data": { "name": "alice" } }),
        json!({ "specversion": "1.0", "type": "the end", "source": "/a", "id": "end" }),
    ] {
        gateway.publish(&order).await;
    }
    assert_eq!(sorted(&everything.ids(4).await), ["1", "2", "3", "4"]);
    for (mut client, ids) in clients {
        let mut expected: Vec<&str> = ids.split_whitespace().collect();
        expected.push("end");
        let got = client.ids(expected.len()).await;
        assert_eq!(sorted(&got), sorted(&expected));
    }
    gateway.stop().await;
}

fn sorted<T: AsRef<str>>(texts: &[T]) -> Vec<&str> {
    let mut texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    texts.sort_unstable();
    texts
}

pub async fn prefixes_and_the_star_match_types(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut orders = gateway
        .subscribe(json!([{ "eventType": "orders.*" }]))
        .await;
    let mut all = gateway.subscribe(json!([{ "eventType": "*" }])).await;
    for (id, name) in [
        ("1", "orders"),
        ("2", "orders.made"),
        ("3", "ordersmade"),
        ("4", "orders.made.late"),
    ] {
        gateway.publish(&event(name, id, json!(null)).clone()).await;
    }
    let mut got = all.ids(4).await;
    got.sort();
    assert_eq!(got, ["1", "2", "3", "4"]);
    let mut got = orders.ids(2).await;
    got.sort();
    assert_eq!(got, ["2", "4"]);
    orders.stays_quiet(Duration::from_millis(200)).await;
    gateway.stop().await;
}

/// While events came steadily, a look at the ends of the partitions was once taken for a topic that
/// was made anew, and every event came twice.
pub async fn a_steady_trickle_arrives_once_and_in_order(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut stream = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    for id in 0..150 {
        let mut event = event("t", &id.to_string(), json!(null));
        event["partitionkey"] = json!("one");
        gateway.publish(&event).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let expected: Vec<String> = (0..150).map(|id| id.to_string()).collect();
    assert_eq!(stream.ids(150).await, expected);
    stream.stays_quiet(Duration::from_millis(300)).await;
    gateway.stop().await;
}

pub async fn a_constraint_on_an_undeclared_field_is_refused_by_its_name(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::new(kafka).with("EXTRACTORS", EXTRACTORS)).await;
    let wanted = json!([{ "eventType": "order", "oneOf": [{ "colour": "red" }] }]);
    let answer = Sse::try_open(gateway.public(), &query(&wanted), &[])
        .await
        .unwrap_err();
    assert!(answer.problem(400).contains("colour"), "{}", answer.text());
    gateway.stop().await;
}

pub async fn every_version_and_mode_of_cloud_events_arrives(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let topic = gateway.settings.topic().to_owned();
    let mut stream = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    let structured = [
        r#"{"cloudEventsVersion":"0.1","eventType":"t","eventID":"01","source":"/a","data":1}"#,
        r#"{"specversion":"0.2","type":"t","id":"02","source":"/a","contenttype":"application/json","data":{"x":1}}"#,
        r#"{"specversion":"0.3","type":"t","id":"03","source":"/a"}"#,
        "{ \"specversion\" : \"1.0\",\n\t\"type\":\"t\", \"id\":\"10\", \"source\":\"/a\", \"myext\": 5, \"data\": 9007199254740993 }",
    ];
    for text in structured {
        kafka.produce_json(&topic, text).await;
        let event = stream.event().await;
        assert_eq!(event.data.as_deref(), Some(text), "forwarded as it came");
    }
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_type", "t"),
        ("ce_id", "b1"),
        ("ce_source", "/a"),
        ("ce_myext", "kept"),
        ("content-type", "application/json"),
    ];
    kafka
        .produce(&topic, &headers, Some(br#"{"name":"alice"}"#))
        .await;
    let event = stream.next().await;
    assert_eq!(event["id"], "b1");
    assert_eq!(event["myext"], "kept");
    assert_eq!(event["data"], json!({ "name": "alice" }));
    gateway.stop().await;
}

pub async fn poison_records_are_skipped_and_counted_and_the_next_event_arrives(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let topic = gateway.settings.topic().to_owned();
    let mut stream = gateway.subscribe(json!([{ "eventType": "*" }])).await;
    let deep = format!(
        r#"{{"specversion":"1.0","type":"t","id":"d","source":"/a","data":{}}}"#,
        format_args!("{}{}", "[".repeat(100_000), "]".repeat(100_000))
    );
    let avro = [("content-type", "application/cloudevents+avro")];
    kafka.produce(&topic, &[], None).await;
    kafka.produce(&topic, &[], Some(b"not json")).await;
    kafka
        .produce(&topic, &[], Some(br#"{"an":"object"}"#))
        .await;
    kafka
        .produce(
            &topic,
            &[],
            Some(b"{\"specversion\":\"1.0\",\"type\":\"a\\nb\",\"id\":\"1\",\"source\":\"/\"}"),
        )
        .await;
    kafka
        .produce(
            &topic,
            &[],
            Some(br#"{"specversion":"9.0","type":"t","id":"1","source":"/"}"#),
        )
        .await;
    kafka.produce(&topic, &avro, Some(b"\x00\x01")).await;
    kafka.produce(&topic, &[], Some(deep.as_bytes())).await;
    kafka.produce(&topic, &[], Some(b"\xff\xfe")).await;
    // One partition after the other: each partition's next good event has to arrive.
    for id in 0..20 {
        gateway
            .publish(&event("good", &id.to_string(), json!({})))
            .await;
    }
    assert_eq!(stream.ids(20).await.len(), 20);
    for (reason, count) in [
        ("null_value", 1.0),
        ("not_json", 2.0),
        ("not_a_cloudevent", 2.0),
        ("unknown_version", 1.0),
        ("unsupported_format", 1.0),
        ("too_deep", 1.0),
    ] {
        let counted = gateway
            .metric("sluicegate_rejected_records_total", reason)
            .await;
        assert!((counted - count).abs() < 0.1, "{reason}: {counted}");
    }
    gateway.stop().await;
}

pub async fn several_topics_and_new_partitions_are_read(kafka: &Kafka) {
    let settings = Settings::new(kafka);
    let topics = format!(
        "{},{}",
        settings.topic(),
        crate::support::gateway::unique("second")
    );
    let second = topics.split(',').nth(1).unwrap().to_owned();
    let gateway = Gateway::with(settings.with("KAFKA_SOURCE_TOPICS", topics)).await;
    let mut stream = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    kafka
        .produce_json(&second, &event("t", "second", json!(1)).to_string())
        .await;
    assert_eq!(stream.ids(1).await, ["second"]);
    if kafka.can_add_partitions() {
        let before = kafka.partitions(&second).await;
        kafka.add_partitions(&second, before + 2).await;
        kafka
            .produce_to(
                &second,
                before + 1,
                &event("t", "new", json!(1)).to_string(),
            )
            .await;
        assert_eq!(stream.ids(1).await, ["new"]);
    }
    gateway.stop().await;
}
