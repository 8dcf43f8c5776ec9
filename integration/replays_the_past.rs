//! What the replay log has dropped is read from Kafka, for whoever needs it.

use std::sync::LazyLock;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sluicegate::telemetry::now_ms;

use crate::support::gateway::{Gateway, Settings, event, eventually, query};
use crate::support::http::encode;
use crate::support::kafka::Kafka;
use crate::support::longpoll::LongPoll;
use crate::support::sse::Sse;
use crate::support::ws::Ws;

/// A log that holds a few of the events of these tests.
pub const SMALL: &str = "64KiB";

/// Returns events of two types with numbered ids, of 300 bytes.
fn numbered(numbers: std::ops::Range<u32>) -> Vec<Value> {
    let text = "x".repeat(200);
    numbers
        .map(|number| {
            let event_type = if number % 3 == 0 { "other" } else { "t" };
            event(event_type, &number.to_string(), json!({ "text": text }))
        })
        .collect()
}

pub fn wanted_ids(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers
        .filter(|number| number % 3 != 0)
        .map(|number| number.to_string())
        .collect()
}

/// Writes numbered events, in turn to each partition.
pub async fn produce(kafka: &Kafka, topic: &str, numbers: std::ops::Range<u32>) {
    let partitions = kafka.partitions(topic).await;
    let mut by_partition = vec![Vec::new(); usize::try_from(partitions).unwrap()];
    for (place, event) in numbered(numbers).into_iter().enumerate() {
        let partition = place % by_partition.len();
        by_partition[partition].push(event);
    }
    let writing = (0..)
        .zip(&by_partition)
        .map(|(partition, events)| async move {
            let numbers = events.iter().map(|event| event["id"].as_str().unwrap());
            let times: Vec<i64> = numbers
                .map(|number| *FIRST_MS + number.parse::<i64>().unwrap())
                .collect();
            kafka.produce_at(topic, partition, events, &times).await;
        });
    join_all(writing).await;
}

/// When event 0 was made, in Unix milliseconds; each of the others a millisecond later. Not long ago: Kafka deletes what is older
/// than a week.
static FIRST_MS: LazyLock<i64> = LazyLock::new(|| now_ms() - 3_600_000);

/// Asserts that each id came once, and those of a partition in their order.
pub fn assert_complete(got: &[String], numbers: std::ops::Range<u32>, partitions: i32) {
    let mut sorted: Vec<u32> = got.iter().map(|id| id.parse().unwrap()).collect();
    for partition in 0..u32::try_from(partitions).unwrap() {
        let of_it = sorted.iter().filter(|number| {
            (*number - numbers.start) % u32::try_from(partitions).unwrap() == partition
        });
        assert!(of_it.is_sorted(), "partition {partition}: {got:?}");
    }
    sorted.sort_unstable();
    let expected: Vec<u32> = numbers.filter(|number| number % 3 != 0).collect();
    assert_eq!(sorted, expected);
}

pub async fn cursor_of(gateway: &Gateway) -> String {
    let stream = gateway.subscribe(json!([])).await;
    stream.last_event_id.unwrap()
}

pub async fn where_the_log_does_not_reach_back(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with("REPLAY_RING_BYTES", SMALL)
        .with("OUTBOX_BYTES", SMALL);
    let gateway = Gateway::with(settings).await;
    let topic = gateway.settings.topic().to_owned();
    let partitions = kafka.partitions(&topic).await;
    let cursor = cursor_of(&gateway).await;
    let wanted = json!([{ "eventType": "t" }]);
    let mut live = gateway.subscribe(wanted.clone()).await;
    produce(kafka, &topic, 0..3000).await;
    assert_complete(&live.ids(2000).await, 0..3000, partitions);

    let mut sse = gateway.resume(wanted.clone(), &cursor).await;
    assert_complete(&sse.ids(2000).await, 0..3000, partitions);
    let resumed = gateway.metric("sluicegate_resumes_total", "kafka").await;
    assert!(resumed >= 1.0, "it was read from Kafka");

    let by_query = format!("{}&last_event_id={}", query(&wanted), encode(&cursor));
    let mut ws = Ws::open(gateway.public(), &by_query, None).await;
    ws.subscribed().await;
    let mut ids = Vec::new();
    while ids.len() < 2000 {
        ids.push(ws.event().await["id"].as_str().unwrap().to_owned());
    }
    assert_complete(&ids, 0..3000, partitions);

    let mut polling = LongPoll::new(by_query);
    polling.poll(gateway.public()).await;
    let ids = polling.ids(gateway.public(), 2000).await;
    assert_complete(&ids, 0..3000, partitions);

    gateway.publish(&event("t", "live", json!(1))).await;
    assert_eq!(sse.ids(1).await, ["live"]);
    assert_eq!(ws.event().await["id"], "live");
    assert_eq!(polling.ids(gateway.public(), 1).await, ["live"]);
    sse.stays_quiet(Duration::from_millis(100)).await;
    let gaps = gateway.metric("sluicegate_resume_gaps_total", "").await;
    assert!(gaps < 0.5, "nothing was missed");
    gateway.stop().await;
}

pub async fn before_what_an_instance_read_at_its_start(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("KAFKA_SOURCE_REWIND", "0");
    let one = Gateway::with(settings.clone()).await;
    let topic = one.settings.topic().to_owned();
    let partitions = kafka.partitions(&topic).await;
    let cursor = cursor_of(&one).await;
    produce(kafka, &topic, 0..300).await;
    one.stop().await;
    let two = Gateway::with(settings).await;
    let mut stream = two.resume(json!([{ "eventType": "t" }]), &cursor).await;
    assert_complete(&stream.ids(200).await, 0..300, partitions);
    two.publish(&event("t", "live", json!(1))).await;
    assert_eq!(stream.ids(1).await, ["live"]);
    two.stop().await;
}

pub async fn to_a_stalled_client_that_the_log_has_left_behind(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with("REPLAY_RING_BYTES", "300KiB")
        .with("OUTBOX_BYTES", "64KiB");
    let gateway = Gateway::with(settings).await;
    let wanted = json!([{ "eventType": "t" }]);
    let mut stalled = Sse::open_narrow(gateway.public(), &query(&wanted)).await;
    let mut reading = gateway.subscribe(wanted).await;
    let text = "x".repeat(20_000);
    let ids: Vec<String> = (0..500).map(|id| id.to_string()).collect();
    let events: Vec<Value> = ids.iter().map(|id| event("t", id, json!(text))).collect();
    kafka
        .produce_all(gateway.settings.topic(), 0, &events)
        .await;
    assert_eq!(reading.ids(500).await, ids);
    let behind = gateway
        .metric("sluicegate_connections_behind_total", "sse")
        .await;
    assert!(behind >= 1.0);
    assert_eq!(stalled.ids(500).await, ids);
    gateway.stop().await;
}

pub async fn to_many_who_come_back_at_once(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with("REPLAY_RING_BYTES", SMALL)
        .with("OUTBOX_BYTES", SMALL);
    let gateway = Gateway::with(settings).await;
    let topic = gateway.settings.topic().to_owned();
    let partitions = kafka.partitions(&topic).await;
    let cursor = cursor_of(&gateway).await;
    produce(kafka, &topic, 0..3000).await;
    let mut live = gateway.subscribe(json!([{ "eventType": "now" }])).await;
    let returning = (0..150).map(async |_| {
        let mut stream = gateway.resume(json!([{ "eventType": "t" }]), &cursor).await;
        assert_complete(&stream.ids(2000).await, 0..3000, partitions);
    });
    let at_once = async {
        for id in 0..20 {
            gateway
                .publish(&event("now", &id.to_string(), json!(1)))
                .await;
            assert_eq!(live.ids(1).await, [id.to_string()]);
        }
    };
    tokio::join!(join_all(returning), at_once);
    // They share what is read: not every one has its own.
    let read = gateway.metric("sluicegate_history_records_total", "").await;
    assert!(
        read < 15_000.0,
        "{read} records were read for 150 times 3,000"
    );
    gateway.stop().await;
}

pub async fn with_the_subscriptions_that_were_in_force(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with("REPLAY_RING_BYTES", SMALL)
        .with("OUTBOX_BYTES", SMALL)
        .with("SHARDS", "1");
    let gateway = Gateway::with(settings).await;
    let topic = gateway.settings.topic().to_owned();
    let wanted = query(&json!([{ "eventType": "t" }]));
    let mut stalled = Sse::open_narrow(gateway.public(), &wanted).await;
    let token = stalled.subscribed().await;
    let text = "x".repeat(20_000);
    let events: Vec<Value> = (0..200)
        .flat_map(|id| {
            [
                event("t", &id.to_string(), json!(text)),
                event("u", &id.to_string(), json!(1)),
            ]
        })
        .collect();
    kafka.produce_all(&topic, 0, &events).await;
    let mut live = gateway.subscribe(json!([{ "eventType": "end" }])).await;
    kafka
        .produce_all(&topic, 0, &[event("end", "1", json!(1))])
        .await;
    live.ids(1).await;
    let changed = gateway
        .change("sse", &token, json!([{ "eventType": "u" }]))
        .await;
    assert_eq!(changed.status, 204);
    kafka
        .produce_all(
            &topic,
            0,
            &[
                event("t", "unwanted", json!(1)),
                event("u", "wanted", json!(1)),
            ],
        )
        .await;
    let mut expected: Vec<String> = (0..200).map(|id| id.to_string()).collect();
    expected.push("wanted".to_owned());
    assert_eq!(stalled.ids(201).await, expected);
    gateway.stop().await;
}

pub async fn from_the_earliest_record_a_time_or_some_matches_back(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with("REPLAY_RING_BYTES", SMALL)
        .with("OUTBOX_BYTES", SMALL)
        .with("KAFKA_SOURCE_PARTITIONS", "2");
    let gateway = Gateway::with(settings).await;
    let topic = gateway.settings.topic().to_owned();
    produce(kafka, &topic, 0..1200).await;
    let between = jiff::Timestamp::from_millisecond(*FIRST_MS + 900).unwrap();
    eventually("all of it is read", async || {
        gateway
            .metric("sluicegate_consumed_records_total", "")
            .await
            >= 1200.0
    })
    .await;
    let wanted = query(&json!([{ "eventType": "t" }]));
    for (start, numbers) in [
        ("earliest".to_owned(), 0..1200),
        (between.to_string(), 900..1200),
        ("last:20".to_owned(), 1170..1200),
        ("last:500".to_owned(), 450..1200),
        ("last:1000".to_owned(), 0..1200),
    ] {
        let query = format!("{wanted}&start={}", encode(&start));
        let count = wanted_ids(numbers.clone()).len();
        let mut sse = Sse::open(gateway.public(), &query, &[]).await;
        sse.subscribed().await;
        assert_complete(&sse.ids(count).await, numbers.clone(), 2);
        let mut ws = Ws::open(gateway.public(), &query, None).await;
        ws.subscribed().await;
        let mut ids = Vec::new();
        while ids.len() < count {
            ids.push(ws.event().await["id"].as_str().unwrap().to_owned());
        }
        assert_complete(&ids, numbers.clone(), 2);
        let mut polling = LongPoll::new(query);
        polling.poll(gateway.public()).await;
        assert_complete(&polling.ids(gateway.public(), count).await, numbers, 2);
        sse.stays_quiet(Duration::from_millis(50)).await;
    }
    // A client that connects again with the same address goes on after its cursor.
    let query = format!("{wanted}&start=earliest");
    let mut first = Sse::open(gateway.public(), &query, &[]).await;
    first.subscribed().await;
    let mut ids = first.ids(300).await;
    let cursor = first.last_event_id.clone().unwrap();
    let headers = [("last-event-id", cursor.as_str())];
    let mut second = Sse::open(gateway.public(), &query, &headers).await;
    second.subscribed().await;
    ids.extend(second.ids(500).await);
    assert_complete(&ids, 0..1200, 2);
    gateway.stop().await;
}

pub async fn from_nowhere_when_the_start_is_none(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    for start in [
        "never",
        "last:0",
        "last:1001",
        "last:x",
        "2026-13-01T00:00:00Z",
    ] {
        let query = format!("start={}", encode(start));
        let answer = Sse::try_open(gateway.public(), &query, &[])
            .await
            .unwrap_err();
        assert!(answer.problem(400).contains("start"), "{start}");
    }
    gateway.stop().await;
}
