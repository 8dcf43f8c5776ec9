//! Many clients at once: those who stall cost nobody anything, those who come back get just theirs.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, event, eventually, metric, query};
use crate::support::kafka::Kafka;
use crate::support::program::{Process, settings};
use crate::support::sse::Sse;

const STALLED: usize = 300;
/// How much the memory of the program may grow for all who stall and the replay log together.
const GROWTH_BYTES: u64 = 60 << 20;
const RETURNING: usize = 200;
const TYPES: usize = 10;
const MISSED: usize = 500;

/// 5 MB flow past 300 clients that read nothing: others get them, memory stays, and who wakes up
/// gets everything.
pub async fn of_clients_that_never_read(kafka: &Kafka) {
    let settings = settings(kafka).with("WRITE_TIMEOUT", "10m");
    let process = Process::start(&settings).await;
    let wanted = query(&json!([{ "eventType": "t" }]));
    let opening = (0..STALLED).map(|_| Sse::open_narrow(process.public, &wanted));
    let mut stalled = join_all(opening).await;
    let mut reading = Sse::open(process.public, &wanted, &[]).await;
    reading.subscribed().await;
    let before = process.resident_bytes();
    let text = "x".repeat(10_000);
    let ids: Vec<String> = (0..MISSED).map(|id| id.to_string()).collect();
    let events: Vec<Value> = ids.iter().map(|id| event("t", id, json!(text))).collect();
    kafka.produce_all(settings.topic(), 0, &events).await;
    assert_eq!(reading.ids(MISSED).await, ids);
    // They stalled here, and not in the buffers of the kernel.
    eventually("all who stall have fallen behind", async || {
        let behind = "sluicegate_connections_behind_total";
        metric(process.internal, behind, "sse").await >= STALLED as f64
    })
    .await;
    let grown = process.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES, "{grown} bytes");
    for woken in [0, STALLED / 2] {
        assert_eq!(stalled[woken].ids(MISSED).await, ids);
    }
}

/// 200 clients come back in the same instant, each with 500 events to get.
pub async fn of_clients_that_come_back(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let cursor = {
        let mut stream = gateway.open(json!([])).await;
        stream.subscribed().await;
        stream.last_event_id.clone().unwrap()
    };
    let of_type =
        |event_type: usize| (0..MISSED).map(move |number| format!("t{event_type}/{number}"));
    let mut events = Vec::new();
    for number in 0..MISSED {
        for event_type in 0..TYPES {
            let id = format!("t{event_type}/{number}");
            events.push(event(&format!("t{event_type}"), &id, json!(number)));
        }
    }
    kafka
        .produce_all(gateway.settings.topic(), 0, &events)
        .await;
    let returning = (0..RETURNING).map(async |number| {
        let event_type = number % TYPES;
        let wanted = json!([{ "eventType": format!("t{event_type}") }]);
        let mut stream = gateway.resume(wanted, &cursor).await;
        let ids = stream.ids(MISSED).await;
        assert!(
            ids.iter().eq(&of_type(event_type).collect::<Vec<_>>()),
            "{ids:?}"
        );
        stream.stays_quiet(Duration::from_millis(100)).await;
    });
    join_all(returning).await;
    gateway.stop().await;
}
