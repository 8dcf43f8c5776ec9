//! What becomes of a client that is too slow, where the policy is not to replay.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Settings, eventually, keyed, query};
use crate::support::kafka::Kafka;
use crate::support::sse::Sse;

/// How many events come.
const COUNT: usize = 500;

/// Returns events of ten keys, 20 KB each.
fn events(count: usize) -> Vec<Value> {
    let text = "x".repeat(20_000);
    (0..count)
        .map(|number| {
            let mut event = keyed("one", &number.to_string(), json!(text));
            event["subject"] = json!((number % 10).to_string());
            event
        })
        .collect()
}

fn narrow(kafka: &Kafka, policy: &str) -> Settings {
    Settings::new(kafka)
        .with("SLOW_CLIENT_POLICY", policy)
        .with("OUTBOX_BYTES", "64KiB")
}

/// Reads ids up to the last one or to the end of the stream.
async fn read_on(stream: &mut Sse, ids: &mut Vec<String>) {
    while ids.len() < COUNT
        && let Some(block) = stream.block().await
    {
        let is_event = block.event.as_deref() == Some("t");
        ids.extend(is_event.then(|| block.json()["id"].as_str().unwrap().to_owned()));
    }
}

pub async fn a_slow_client_is_disconnected_where_that_is_the_policy(kafka: &Kafka) {
    // An end is counted with the next heartbeat at the latest.
    let settings = narrow(kafka, "disconnect").with("HEARTBEAT_INTERVAL", "1s");
    let gateway = Gateway::with(settings).await;
    let wanted = json!([{ "eventType": "t" }]);
    let mut slow = Sse::open_narrow(gateway.public(), &query(&wanted)).await;
    slow.subscribed().await;
    let events = events(COUNT);
    kafka
        .produce_all(gateway.settings.topic(), 0, &events)
        .await;
    eventually("it was too slow", async || {
        gateway
            .metric("sluicegate_connections_behind_total", "sse")
            .await
            > 0.5
    })
    .await;
    let mut ids = Vec::new();
    read_on(&mut slow, &mut ids).await;
    assert!(ids.len() < COUNT, "it was disconnected");
    let mut cursor = slow.last_event_id.clone().unwrap();
    // What it missed comes at its own pace, but the rest as it is produced, which may be too fast again.
    while ids.len() < COUNT {
        let mut again = gateway.resume(wanted.clone(), &cursor).await;
        read_on(&mut again, &mut ids).await;
        cursor = again.last_event_id.clone().unwrap();
    }
    let expected: Vec<String> = (0..COUNT).map(|id| id.to_string()).collect();
    assert_eq!(ids, expected, "it resumed with nothing lost");
    eventually("its end is counted with its reason", async || {
        let closed = gateway.metric("sluicegate_connections_closed_total", "too_slow");
        closed.await > 0.5
    })
    .await;
    gateway.stop().await;
}

pub async fn a_slow_client_gets_the_newest_of_each_key_where_that_is_the_policy(kafka: &Kafka) {
    let gateway = Gateway::with(narrow(kafka, "latest")).await;
    let wanted = json!([{ "eventType": "t" }]);
    let mut slow = Sse::open_narrow(gateway.public(), &query(&wanted)).await;
    slow.subscribed().await;
    let mut reading = gateway.subscribe(wanted).await;
    let topic = gateway.settings.topic();
    // As fast as a client can that reads all the time.
    for few in events(500).chunks(20) {
        kafka.produce_all(topic, 0, few).await;
        reading.ids(few.len()).await;
    }
    let mut numbers: Vec<u32> = Vec::new();
    while numbers.last() != Some(&499) {
        numbers.push(slow.ids(1).await[0].parse().unwrap());
    }
    assert!(numbers.is_sorted(), "in order: {numbers:?}");
    assert!(numbers.len() < 400, "{} of 500", numbers.len());
    for newest in 490..500 {
        assert!(numbers.contains(&newest), "{newest} of {numbers:?}");
    }
    let conflated = gateway
        .metric("sluicegate_conflated_events_total", "")
        .await;
    assert!(
        (conflated - (500 - numbers.len()) as f64).abs() < 0.1,
        "{conflated}"
    );
    kafka
        .produce_all(topic, 0, &[keyed("one", "live", json!(1))])
        .await;
    assert_eq!(slow.ids(1).await, ["live"]);
    slow.stays_quiet(Duration::from_millis(100)).await;
    gateway.stop().await;
}
