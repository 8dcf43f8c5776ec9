//! Topics and partitions that come, go and come again; and what a restart reads.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Settings, event, eventually, keyed, query, unique};
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::longpoll::LongPoll;
use crate::support::ws::Ws;

/// How long nothing has to come to count as nothing.
const QUIET: Duration = Duration::from_millis(200);

fn numbered(what: &str, count: usize) -> (Vec<Value>, Vec<String>) {
    let ids: Vec<String> = (0..count).map(|number| format!("{what}{number}")).collect();
    let events = ids.iter().map(|id| event("t", id, json!(null)));
    (events.collect(), ids)
}

/// What was written while the instance was down comes to whom has a cursor, and to nobody else.
pub async fn a_restart_loses_nothing(kafka: &Kafka) {
    let wanted = json!([{ "eventType": "t" }]);
    let first = Gateway::with(Settings::new(kafka).with("INSTANCE_ID", unique("instance"))).await;
    let settings = first.settings.clone();
    let mut stream = first.subscribe(wanted.clone()).await;
    for id in ["a", "b", "c"] {
        first.publish(&keyed("one", id, json!(null))).await;
    }
    assert_eq!(stream.ids(2).await, ["a", "b"]);
    let cursor = stream.last_event_id.clone().unwrap();
    drop(stream);
    first.stop().await;
    let (missed, ids) = numbered("missed", 1000);
    kafka.produce_all(settings.topic(), 0, &missed).await;
    let second = Gateway::with(settings).await;
    let mut live = second.subscribe(wanted.clone()).await;
    let mut again = second.resume(wanted, &cursor).await;
    let mut seen = again.ids(1001).await;
    // The partitions have no order between them.
    let in_other_partition = seen.iter().position(|id| id == "c").unwrap();
    seen.remove(in_other_partition);
    assert_eq!(seen, ids);
    again.stays_quiet(QUIET).await;
    live.stays_quiet(QUIET).await;
    second.stop().await;
}

/// What comes later is read from its beginning, also what was written before it was noticed.
pub async fn that_come_later_from_their_beginning(kafka: &'static Kafka) {
    let (topic, later) = (unique("events"), unique("later"));
    kafka.create(&topic, 1).await;
    kafka
        .produce_json(&topic, &event("t", "old", json!(null)).to_string())
        .await;
    let settings = Settings::new(kafka)
        .with("KAFKA_SOURCE_TOPICS", format!("{topic},{later}"))
        .with("KAFKA_CREATE_TOPICS", "false");
    let gateway = Gateway::with(settings).await;
    let mut stream = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    kafka.create(&later, 2).await;
    let (events, ids) = numbered("later", 20);
    kafka.produce_all(&later, 1, &events).await;
    assert_eq!(stream.ids(20).await, ids);
    // The embedded broker cannot add partitions.
    if kafka.can_add_partitions() {
        kafka.add_partitions(&topic, 3).await;
        let (events, ids) = numbered("grown", 20);
        kafka.produce_all(&topic, 2, &events).await;
        assert_eq!(stream.ids(20).await, ids);
    }
    stream.stays_quiet(QUIET).await;
    gateway.stop().await;
}

pub async fn that_are_missing_and_makes_them(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("KAFKA_SOURCE_PARTITIONS", "3");
    let gateway = Gateway::with(settings).await;
    assert_eq!(kafka.partitions(gateway.settings.topic()).await, 3);
    let mut stream = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    let (events, ids) = numbered("new", 3);
    kafka
        .produce_all(gateway.settings.topic(), 2, &events)
        .await;
    assert_eq!(stream.ids(3).await, ids);
    gateway.stop().await;
}

/// The topics of presence and of the request log grew for ever on the embedded broker, which drops no records of a topic
/// that says nothing of it.
pub async fn and_makes_none_that_keeps_records_for_ever(kafka: &Kafka) {
    let topics = ["KAFKA_SOURCE_TOPICS", "PRESENCE_TOPIC", "KAFKA_LOG_TOPIC"];
    let settings = topics.iter().fold(Settings::new(kafka), |settings, topic| {
        settings.with(topic, unique("made"))
    });
    let gateway = Gateway::with(settings.with("REQUEST_LOG", "kafka")).await;
    for topic in topics {
        let name = gateway.settings.get(topic);
        eventually(topic, async || {
            let policy = kafka.setting_of(name, "cleanup.policy").await;
            policy.as_deref() == Some("delete")
        })
        .await;
    }
    gateway.stop().await;
}

/// What nobody could say how far it is read is refused, with the reason, and not read in part.
pub async fn with_more_partitions_than_a_cursor_can_carry(kafka: &'static Kafka) {
    let topic = unique("events");
    kafka.create(&topic, 511).await;
    let settings = Settings::new(kafka).with("KAFKA_SOURCE_TOPICS", topic);
    let gateway = Gateway::unready(settings).await;
    eventually("it is refused", async || {
        let answer = http::request(gateway.internal(), "GET", "/readyz", &[], b"").await;
        answer.status == 503
            && answer
                .text()
                .contains("more partitions than a cursor can carry")
    })
    .await;
    gateway.stop().await;
}

/// Whoever stands behind the end of the new topic is told that all is gone, and gets all of the new.
pub async fn that_are_made_anew(kafka: &'static Kafka) {
    let (gateway, topic, cursors) = made_anew(kafka).await;
    let mut again = gateway.resume(wanted(), &cursors[1]).await;
    assert_eq!(gap(&again.event().await.json()), gap_of(&topic, 20));
    assert_eq!(again.ids(15).await, numbered("new", 15).1);
    gateway.publish(&event("t", "live", json!(null))).await;
    assert_eq!(again.ids(1).await, ["live"]);
    gateway.stop().await;
}

/// Whoever stands where the new topic has records, too, is told that they are others.
pub async fn that_are_made_anew_and_grew(kafka: &'static Kafka) {
    let (gateway, topic, cursors) = made_anew(kafka).await;
    let told = gateway.metric("sluicegate_resume_gaps_total", "").await;
    let mut again = gateway.resume(wanted(), &cursors[0]).await;
    assert_eq!(gap(&again.event().await.json()), gap_of(&topic, 10));
    assert_eq!(again.ids(15).await, numbered("new", 15).1);
    again.stays_quiet(QUIET).await;
    let told_since = gateway.metric("sluicegate_resume_gaps_total", "").await - told;
    assert!((told_since - 1.0).abs() < 0.1, "{told_since}");
    // The cursor after the gap is one of the new topic.
    let cursor = again.last_event_id.clone().unwrap();
    let mut later = gateway.resume(wanted(), &cursor).await;
    later.stays_quiet(QUIET).await;
    gateway.stop().await;
}

/// Whatever the transport, whoever is connected sees the gap, then all of the new topic, once; also
/// where the new topic is longer than the old one was, so that nothing breaks off for Kafka's clients.
pub async fn that_are_made_anew_under_connected_clients(kafka: &'static Kafka) {
    let (gateway, topic) = with_topic(kafka).await;
    let mut stream = gateway.subscribe(wanted()).await;
    let mut socket = Ws::open(gateway.public(), &query(&wanted()), None).await;
    socket.subscribed().await;
    let mut polling = LongPoll::new(query(&wanted()));
    polling.poll(gateway.public()).await;
    let (old, old_ids) = numbered("old", 5);
    kafka.produce_all(&topic, 0, &old).await;
    assert_eq!(stream.ids(5).await, old_ids);
    for id in &old_ids {
        assert_eq!(socket.event().await["id"], *id);
    }
    let mut polled = Vec::new();
    while polled.len() < 5 {
        polled.extend(polling.events(gateway.public()).await);
    }
    let new_ids = make_anew(kafka, &topic, 40).await;
    assert_eq!(gap(&stream.event().await.json()), gap_of(&topic, 5));
    assert_eq!(stream.ids(40).await, new_ids);
    assert_eq!(gap(&socket.event().await), gap_of(&topic, 5));
    for id in &new_ids {
        assert_eq!(socket.event().await["id"], *id);
    }
    let mut polled = Vec::new();
    while polled.len() < 41 {
        polled.extend(polling.events(gateway.public()).await);
    }
    assert_eq!(gap(&polled.remove(0)), gap_of(&topic, 5));
    let polled_ids: Vec<&str> = polled
        .iter()
        .filter_map(|event| event["id"].as_str())
        .collect();
    assert_eq!(polled_ids, new_ids);
    stream.stays_quiet(QUIET).await;
    gateway.stop().await;
}

/// The other topics go on as if nothing had been: without a gap, a loss or a repetition.
pub async fn that_are_made_anew_beside_others(kafka: &'static Kafka) {
    let (topic, other) = (unique("events"), unique("other"));
    kafka.create(&topic, 1).await;
    kafka.create(&other, 1).await;
    let settings = Settings::new(kafka)
        .with("KAFKA_SOURCE_TOPICS", format!("{topic},{other}"))
        .with("KAFKA_CREATE_TOPICS", "false");
    let gateway = Gateway::with(settings).await;
    let mut live = gateway.subscribe(wanted()).await;
    let (kept, kept_ids) = numbered("kept", 30);
    kafka.produce_all(&other, 0, &kept[..10]).await;
    assert_eq!(live.ids(10).await, kept_ids[..10]);
    let (old, old_ids) = numbered("old", 20);
    kafka.produce_all(&topic, 0, &old[..10]).await;
    assert_eq!(live.ids(10).await, old_ids[..10]);
    let cursor = live.last_event_id.clone().unwrap();
    kafka.produce_all(&topic, 0, &old[10..]).await;
    assert_eq!(live.ids(10).await, old_ids[10..]);
    kafka.produce_all(&other, 0, &kept[10..]).await;
    assert_eq!(live.ids(20).await, kept_ids[10..]);
    let new_ids = make_anew(kafka, &topic, 15).await;
    assert_eq!(gap(&live.event().await.json()), gap_of(&topic, 20));
    assert_eq!(live.ids(15).await, new_ids);
    let mut again = gateway.resume(wanted(), &cursor).await;
    assert_eq!(gap(&again.event().await.json()), gap_of(&topic, 10));
    assert_eq!(
        again.ids(35).await,
        [&kept_ids[10..], &new_ids[..]].concat()
    );
    for stream in [&mut live, &mut again] {
        stream.stays_quiet(QUIET).await;
    }
    gateway.stop().await;
}

/// Who reads the log at its own pace is told as well, and gets what it still has to read of the others.
pub async fn that_are_made_anew_under_a_client_that_does_not_read(kafka: &'static Kafka) {
    let (topic, other) = (unique("events"), unique("other"));
    kafka.create(&topic, 1).await;
    kafka.create(&other, 1).await;
    let settings = Settings::new(kafka)
        .with("KAFKA_SOURCE_TOPICS", format!("{topic},{other}"))
        .with("KAFKA_CREATE_TOPICS", "false")
        .with("OUTBOX_BYTES", "64KiB");
    let gateway = Gateway::with(settings).await;
    let mut fast = gateway.subscribe(wanted()).await;
    let mut slow = gateway.subscribe(wanted()).await;
    let (old, old_ids) = numbered("old", 10);
    kafka.produce_all(&topic, 0, &old).await;
    assert_eq!(fast.ids(10).await, old_ids);
    let (mut kept, kept_ids) = numbered("kept", 150);
    for event in &mut kept {
        event["data"] = json!("x".repeat(100_000));
    }
    kafka.produce_all(&other, 0, &kept).await;
    assert_eq!(fast.ids(150).await, kept_ids);
    let new_ids = make_anew(kafka, &topic, 15).await;
    assert_eq!(gap(&fast.event().await.json()), gap_of(&topic, 10));
    assert_eq!(fast.ids(15).await, new_ids);
    let behind = gateway.metric("sluicegate_connections_behind_total", "sse");
    assert!(behind.await >= 1.0);
    assert_eq!(slow.ids(10).await, old_ids);
    let (mut seen, mut gaps) = (Vec::new(), Vec::new());
    while seen.len() < 165 {
        let event = slow.event().await.json();
        match event["type"].as_str() {
            Some("t") => seen.push(event["id"].as_str().unwrap().to_owned()),
            _ => gaps.push((seen.len(), gap(&event))),
        }
    }
    // The gap comes at once; what had to be read comes after it, the new topic's events last.
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0].1, gap_of(&topic, 10));
    assert_eq!(seen, [kept_ids, new_ids].concat());
    slow.stays_quiet(QUIET).await;
    gateway.stop().await;
}

/// The cursor alone tells: nobody was there to see the old topic go.
pub async fn that_are_made_anew_while_an_instance_is_down(kafka: &'static Kafka) {
    let (first, topic) = with_topic(kafka).await;
    let settings = first.settings.clone();
    let mut stream = first.subscribe(wanted()).await;
    let (old, old_ids) = numbered("old", 10);
    kafka.produce_all(&topic, 0, &old).await;
    assert_eq!(stream.ids(10).await, old_ids);
    let cursor = stream.last_event_id.clone().unwrap();
    drop(stream);
    first.stop().await;
    let new_ids = make_anew(kafka, &topic, 15).await;
    let second = Gateway::with(settings).await;
    let mut again = second.resume(wanted(), &cursor).await;
    assert_eq!(gap(&again.event().await.json()), gap_of(&topic, 10));
    assert_eq!(again.ids(15).await, new_ids);
    second.stop().await;
}

/// A client that heard of the new topic at one instance goes on at another, which may not have heard
/// of it yet, and is not thrown back.
pub async fn that_are_made_anew_and_all_instances_agree(kafka: &'static Kafka) {
    let (one, topic) = with_topic(kafka).await;
    let settings = one.settings.clone().with("INSTANCE_ID", unique("instance"));
    let two = Gateway::with(settings).await;
    let mut stream = one.subscribe(wanted()).await;
    let (old, old_ids) = numbered("old", 10);
    kafka.produce_all(&topic, 0, &old).await;
    assert_eq!(stream.ids(10).await, old_ids);
    let before = stream.last_event_id.clone().unwrap();
    let new_ids = make_anew(kafka, &topic, 15).await;
    assert_eq!(gap(&stream.event().await.json()), gap_of(&topic, 10));
    assert_eq!(stream.ids(5).await, new_ids[..5]);
    let after = stream.last_event_id.clone().unwrap();
    let mut moved = two.resume(wanted(), &after).await;
    assert_eq!(moved.event().await.json()["id"], new_ids[5]);
    assert_eq!(moved.ids(9).await, new_ids[6..]);
    for gateway in [&one, &two] {
        let mut again = gateway.resume(wanted(), &before).await;
        assert_eq!(gap(&again.event().await.json()), gap_of(&topic, 10));
        assert_eq!(again.ids(15).await, new_ids);
    }
    moved.stays_quiet(QUIET).await;
    one.stop().await;
    two.stop().await;
}

fn wanted() -> Value {
    json!([{ "eventType": "t" }])
}

/// Starts an instance that reads a topic of one partition, which others make.
async fn with_topic(kafka: &'static Kafka) -> (Gateway, String) {
    let topic = unique("events");
    kafka.create(&topic, 1).await;
    let settings = Settings::new(kafka)
        .with("KAFKA_SOURCE_TOPICS", topic.clone())
        .with("KAFKA_CREATE_TOPICS", "false");
    (Gateway::with(settings).await, topic)
}

/// Deletes a topic, makes it anew and writes `count` events; returns their ids.
async fn make_anew(kafka: &'static Kafka, topic: &str, count: usize) -> Vec<String> {
    kafka.delete(topic).await;
    kafka.create(topic, 1).await;
    let (new, new_ids) = numbered("new", count);
    kafka.produce_all(topic, 0, &new).await;
    new_ids
}

/// Writes 20 events, makes the topic anew and writes 15; returns cursors after 10 and 20 of the old.
async fn made_anew(kafka: &'static Kafka) -> (Gateway, String, [String; 2]) {
    let (gateway, topic) = with_topic(kafka).await;
    let mut live = gateway.subscribe(wanted()).await;
    let (old, old_ids) = numbered("old", 20);
    kafka.produce_all(&topic, 0, &old).await;
    assert_eq!(live.ids(10).await, old_ids[..10]);
    let early = live.last_event_id.clone().unwrap();
    assert_eq!(live.ids(10).await, old_ids[10..]);
    let late = live.last_event_id.clone().unwrap();
    let new_ids = make_anew(kafka, &topic, 15).await;
    assert_eq!(live.ids(15).await, new_ids);
    (gateway, topic, [early, late])
}

/// Returns what an event says is missing, and asserts that it says that.
fn gap(event: &Value) -> Value {
    assert_eq!(event["type"], "rig.resume_gap", "{event}");
    event["data"]["partitions"].clone()
}

fn gap_of(topic: &str, from: i64) -> Value {
    json!([{ "topic": topic, "partition": 0, "from": from, "to": 0 }])
}
