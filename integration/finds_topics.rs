//! Topics and partitions that come, go and come again; and what a restart reads.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Settings, event, keyed, unique};
use crate::support::kafka::Kafka;

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

/// A topic that was made anew flows on, and whoever stands behind its end is told that all is gone.
pub async fn that_are_made_anew(kafka: &'static Kafka) {
    let (gateway, cursors) = made_anew(kafka).await;
    let wanted = json!([{ "eventType": "t" }]);
    let mut again = gateway.resume(wanted, &cursors[1]).await;
    let told = again.event().await;
    assert_eq!(told.event.as_deref(), Some("rig.resume_gap"));
    gateway.publish(&event("t", "live", json!(null))).await;
    assert_eq!(again.ids(1).await, ["live"]);
    gateway.stop().await;
}

/// Whoever stands where the new topic has records, too, is told that they are others.
pub async fn that_are_made_anew_and_grew(kafka: &'static Kafka) {
    let (gateway, cursors) = made_anew(kafka).await;
    let wanted = json!([{ "eventType": "t" }]);
    let mut again = gateway.resume(wanted, &cursors[0]).await;
    let told = again.event().await;
    assert_eq!(told.event.as_deref(), Some("rig.resume_gap"));
    assert_eq!(again.ids(15).await, numbered("new", 15).1);
    gateway.stop().await;
}

/// Writes 20 events, makes the topic anew and writes 15; returns cursors after 10 and 20 of the old.
async fn made_anew(kafka: &'static Kafka) -> (Gateway, [String; 2]) {
    let topic = unique("events");
    kafka.create(&topic, 1).await;
    let settings = Settings::new(kafka)
        .with("KAFKA_SOURCE_TOPICS", topic.clone())
        .with("KAFKA_CREATE_TOPICS", "false");
    let gateway = Gateway::with(settings).await;
    let mut live = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    let (old, old_ids) = numbered("old", 20);
    kafka.produce_all(&topic, 0, &old).await;
    assert_eq!(live.ids(10).await, old_ids[..10]);
    let early = live.last_event_id.clone().unwrap();
    assert_eq!(live.ids(10).await, old_ids[10..]);
    let late = live.last_event_id.clone().unwrap();
    kafka.delete(&topic).await;
    kafka.create(&topic, 1).await;
    let (new, new_ids) = numbered("new", 15);
    kafka.produce_all(&topic, 0, &new).await;
    assert_eq!(live.ids(15).await, new_ids);
    (gateway, [early, late])
}
