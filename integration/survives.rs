//! The real program as a process: what a kill and a signal leave behind.

use std::time::Duration;

use serde_json::json;

use crate::support::gateway::{keyed, query};
use crate::support::kafka::Kafka;
use crate::support::program::{Process, settings};
use crate::support::sse::Sse;

async fn publish(process: &Process, id: u32) {
    process
        .publish(&keyed("one", &id.to_string(), json!(id)))
        .await;
}

pub async fn kill_9_of_the_instance(kafka: &Kafka) {
    let settings = settings(kafka);
    let process = Process::start(&settings).await;
    let wanted = query(&json!([{ "eventType": "t" }]));
    let mut stream = Sse::open(process.public, &wanted, &[]).await;
    stream.subscribed().await;
    for id in 0..10 {
        publish(&process, id).await;
    }
    assert_eq!(stream.ids(4).await, ["0", "1", "2", "3"]);
    let cursor = stream.last_event_id.clone().unwrap();
    drop(process);
    let process = Process::start(&settings).await;
    let headers = [("last-event-id", cursor.as_str())];
    let mut stream = Sse::open(process.public, &wanted, &headers).await;
    stream.subscribed().await;
    publish(&process, 10).await;
    assert_eq!(stream.ids(7).await, ["4", "5", "6", "7", "8", "9", "10"]);
}

pub async fn a_signal_to_end_with_status_0(kafka: &Kafka) {
    let process = Process::start(&settings(kafka)).await;
    let mut stream = Sse::open(process.public, "", &[]).await;
    stream.subscribed().await;
    process.terminate();
    let ended = async { while stream.block().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(15), ended)
        .await
        .expect("the stream ends in time");
    let (status, log) = process.end().await;
    assert_eq!(status, Some(0), "{log}");
}
