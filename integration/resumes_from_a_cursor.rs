//! A client that comes back with its cursor gets what it missed, once and in order.

use std::time::Duration;

use serde_json::json;

use crate::support::gateway::{Gateway, Settings, event, query};
use crate::support::http::encode;
use crate::support::kafka::Kafka;
use crate::support::sse::Sse;

pub async fn after_last_event_id_without_gap_or_duplicate(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let wanted = json!([{ "eventType": "t" }]);
    let mut stream = gateway.subscribe(wanted.clone()).await;
    for id in 0..10 {
        gateway.publish(&keyed("t", id)).await;
    }
    let seen = stream.ids(4).await;
    let cursor = stream.last_event_id.clone().unwrap();
    drop(stream);
    for id in 10..20 {
        gateway.publish(&keyed("t", id)).await;
        gateway.publish(&keyed("foreign", id)).await;
    }
    for by_header in [true, false] {
        let mut again = if by_header {
            gateway.resume(wanted.clone(), &cursor).await
        } else {
            let query = format!("{}&last_event_id={}", query(&wanted), encode(&cursor));
            let mut stream = Sse::open(gateway.public(), &query, &[]).await;
            stream.subscribed().await;
            stream
        };
        let mut all = seen.clone();
        all.extend(again.ids(16).await);
        let expected: Vec<String> = (0..20).map(|id| id.to_string()).collect();
        assert_eq!(all, expected);
        again.stays_quiet(Duration::from_millis(100)).await;
    }
    gateway.stop().await;
}

pub async fn at_another_instance(kafka: &Kafka) {
    let settings = Settings::new(kafka);
    let one = Gateway::with(settings.clone()).await;
    let two = Gateway::with(settings).await;
    let wanted = json!([{ "eventType": "t" }]);
    let mut stream = one.subscribe(wanted.clone()).await;
    for id in 0..6 {
        one.publish(&keyed("t", id)).await;
    }
    stream.ids(3).await;
    let cursor = stream.last_event_id.clone().unwrap();
    one.stop().await;
    let mut again = two.resume(wanted, &cursor).await;
    assert_eq!(again.ids(3).await, ["3", "4", "5"]);
    two.publish(&keyed("t", 6)).await;
    assert_eq!(again.ids(1).await, ["6"]);
    two.stop().await;
}

pub async fn a_quiet_stream_gets_its_cursor_moved(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("HEARTBEAT_INTERVAL", "200ms");
    let gateway = Gateway::with(settings).await;
    let mut stream = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    let before = stream.last_event_id.clone();
    gateway.publish(&event("foreign", "1", json!({}))).await;
    loop {
        let block = stream.block().await.unwrap();
        assert_eq!(block.data, None);
        assert!(block.bytes.starts_with(": heartbeat\n"), "{}", block.bytes);
        if block.id.is_some() && block.id != before {
            break;
        }
    }
    gateway.stop().await;
}

pub async fn a_malformed_cursor_is_refused(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    for cursor in ["x", "AQ!!", "AQAA", "0"] {
        let headers = [("last-event-id", cursor)];
        let answer = Sse::try_open(gateway.public(), "", &headers)
            .await
            .unwrap_err();
        assert!(answer.problem(400).contains("last event id"), "{cursor}");
    }
    let counted = gateway
        .metric("sluicegate_malformed_cursors_total", "")
        .await;
    assert!((counted - 4.0).abs() < 0.1, "{counted}");
    gateway.stop().await;
}

pub async fn a_client_that_stops_reading_gets_everything_when_it_goes_on(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("OUTBOX_BYTES", "64KiB");
    let gateway = Gateway::with(settings).await;
    let wanted = json!([{ "eventType": "t" }]);
    let mut slow = gateway.subscribe(wanted.clone()).await;
    let mut fast = gateway.subscribe(wanted).await;
    let text = "x".repeat(100_000);
    for id in 0..150 {
        let mut event = event("t", &id.to_string(), json!(text));
        event["partitionkey"] = json!("one");
        gateway.publish(&event).await;
    }
    let expected: Vec<String> = (0..150).map(|id| id.to_string()).collect();
    assert_eq!(fast.ids(150).await, expected);
    assert!(
        gateway
            .metric("sluicegate_connections_behind_total", "sse")
            .await
            >= 1.0
    );
    assert_eq!(slow.ids(150).await, expected);
    gateway.publish(&keyed("t", 150)).await;
    assert_eq!(slow.ids(1).await, ["150"]);
    gateway.stop().await;
}

pub async fn a_stream_ends_when_the_client_sends_its_end(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(gateway.subscribe(json!([{ "eventType": "t" }])).await);
    }
    assert!((gateway.metric("sluicegate_connections", "sse").await - 50.0).abs() < 0.1);
    drop(streams);
    crate::support::gateway::eventually("all are forgotten", async || {
        gateway.metric("sluicegate_connections", "sse").await < 0.5
            && gateway.metric("rig_subscriptions_total", "").await < 0.5
    })
    .await;
    gateway.stop().await;
}

/// Returns an event that goes to one partition, so that all have one order.
fn keyed(event_type: &str, id: u32) -> serde_json::Value {
    let mut event = event(event_type, &id.to_string(), json!({}));
    event["partitionkey"] = json!("one");
    event
}
