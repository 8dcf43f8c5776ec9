//! What Kafka has deleted is told to whoever missed it, and never left out in silence.

use serde_json::{Value, json};

use crate::replays_the_past::{SMALL, assert_complete, cursor_of, produce, wanted_ids};
use crate::support::gateway::{Gateway, Settings, event, eventually, query};
use crate::support::http::encode;
use crate::support::kafka::Kafka;
use crate::support::longpoll::LongPoll;
use crate::support::sse::{Block, Sse};

/// How many large events there are, and from which on they are kept.
const EVENTS: u64 = 200;
const KEPT_FROM: i64 = 190;

/// One partition, of which the log holds little.
fn settings(kafka: &Kafka) -> Settings {
    Settings::new(kafka)
        .with("REPLAY_RING_BYTES", SMALL)
        .with("OUTBOX_BYTES", SMALL)
        .with("KAFKA_SOURCE_PARTITIONS", "1")
}

pub async fn where_kafka_has_deleted_some(kafka: &Kafka) {
    let gateway = Gateway::with(settings(kafka)).await;
    let topic = gateway.settings.topic().to_owned();
    let cursor = cursor_of(&gateway).await;
    produce(kafka, &topic, 0..900).await;
    let mut live = gateway.subscribe(json!([{ "eventType": "end" }])).await;
    gateway.publish(&event("end", "1", json!(1))).await;
    live.ids(1).await;
    kafka.delete_records(&topic, 0, 300).await;
    let wanted = json!([{ "eventType": "t" }]);
    let mut stream = gateway.resume(wanted.clone(), &cursor).await;
    let gap = stream.event().await;
    assert_eq!(gap.event.as_deref(), Some("rig.resume_gap"));
    let partitions = gap.json()["data"]["partitions"].clone();
    let expected = json!([{ "topic": topic, "partition": 0, "from": 0, "to": 300 }]);
    assert_eq!(partitions, expected);
    assert_complete(&stream.ids(400).await, 300..900, 1);
    let missed = gateway.metric("sluicegate_missed_records_total", "").await;
    assert!((missed - 300.0).abs() < 0.1, "{missed}");
    let by_query = format!("{}&last_event_id={}", query(&wanted), encode(&cursor));
    let mut polling = LongPoll::new(by_query);
    polling.poll(gateway.public()).await;
    polling.events(gateway.public()).await;
    let first = polling.events(gateway.public()).await;
    assert_eq!(first[0]["type"], "rig.resume_gap");
    let with_gap = first.iter().skip(1).map(|event| event["id"].as_str());
    let mut ids: Vec<String> = with_gap.map(|id| id.unwrap().to_owned()).collect();
    let rest = 400 - ids.len();
    ids.extend(polling.ids(gateway.public(), rest).await);
    assert_complete(&ids, 300..900, 1);
    // Who asks for the earliest event gets it, and is not told of those before.
    let query = format!("{}&start=earliest", query(&wanted));
    let mut earliest = Sse::open(gateway.public(), &query, &[]).await;
    earliest.subscribed().await;
    assert_eq!(earliest.event().await.json()["id"], "301");
    gateway.stop().await;
}

/// Produces 3,000 events of one partition, has Kafka delete those before `kept`, and comes back from before
/// all of them; returns what the client is told first.
async fn told_after_deletion(kafka: &Kafka, kept: u32) -> (Gateway, Sse, Block) {
    let gateway = Gateway::with(settings(kafka)).await;
    let topic = gateway.settings.topic().to_owned();
    let cursor = cursor_of(&gateway).await;
    produce(kafka, &topic, 0..3000).await;
    eventually("all of it is read", async || {
        let read = gateway.metric("sluicegate_consumed_records_total", "");
        read.await >= 3000.0
    })
    .await;
    kafka.delete_records(&topic, 0, kept.into()).await;
    let mut stream = gateway.resume(json!([{ "eventType": "t" }]), &cursor).await;
    let gap = stream.event().await;
    assert_eq!(gap.event.as_deref(), Some("rig.resume_gap"));
    (gateway, stream, gap)
}

/// What was deleted was longer than a page: the page that began with it hid that it was gone.
pub async fn where_kafka_has_deleted_more_than_a_page(kafka: &Kafka) {
    let (gateway, mut stream, gap) = told_after_deletion(kafka, 2100).await;
    let topic = gateway.settings.topic();
    let expected = json!([{ "topic": topic, "partition": 0, "from": 0, "to": 2100 }]);
    assert_eq!(gap.json()["data"]["partitions"], expected);
    assert_complete(&stream.ids(600).await, 2100..3000, 1);
    gateway.stop().await;
}

/// Where nothing is left, there was no record to see by that others are gone.
pub async fn where_kafka_has_deleted_all_of_a_partition(kafka: &Kafka) {
    let (gateway, mut stream, gap) = told_after_deletion(kafka, 3000).await;
    // The end of the topic is still in memory.
    let to = gap.json()["data"]["partitions"][0]["to"].as_u64().unwrap();
    let rest = u32::try_from(to).unwrap()..3000;
    let count = wanted_ids(rest.clone()).len();
    assert_complete(&stream.ids(count).await, rest, 1);
    gateway.stop().await;
}

/// The reading had begun before: what is missing in the middle must not look like a hole.
pub async fn where_kafka_deletes_what_is_being_read(kafka: &Kafka) {
    // One batch at a time, which is no more than three of these events.
    let settings = settings(kafka).with("KAFKA_PROPERTIES", "fetch.message.max.bytes=1");
    let gateway = Gateway::with(settings).await;
    let topic = gateway.settings.topic().to_owned();
    let cursor = cursor_of(&gateway).await;
    let text = "x".repeat(300_000);
    let event = |number: u64| event("t", &number.to_string(), json!(text));
    let events: Vec<Value> = (0..EVENTS).map(event).collect();
    kafka.produce_all(&topic, 0, &events).await;
    let mut stream = gateway.resume(json!([{ "eventType": "t" }]), &cursor).await;
    let mut next = 0;
    let mut is_deleted = false;
    while next < EVENTS {
        let block = stream.event().await;
        match block.event.as_deref() {
            Some("rig.resume_gap") => {
                let gap = block.json()["data"]["partitions"][0].clone();
                assert_eq!(gap["from"], next, "{gap}");
                next = gap["to"].as_u64().unwrap();
            }
            _ => {
                assert_eq!(block.json()["id"], next.to_string(), "none is left out");
                next += 1;
            }
        }
        if !is_deleted {
            is_deleted = true;
            kafka.delete_records(&topic, 0, KEPT_FROM).await;
        }
    }
    gateway.stop().await;
}
