//! The embedded broker, in the program and alone: what it keeps, and what it refuses.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;
use sluicegate::kafka::{EmbeddedBroker, EmbeddedBrokerError};

use crate::support::gateway::{Settings, keyed, query, unique, within};
use crate::support::program::{Process, settings_embedded};
use crate::support::sse::Sse;

const SOON: Duration = Duration::from_secs(20);

fn offset_of_first_partition(offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("rig", 0, offset).unwrap();
    list
}

fn consumer(settings: &Settings) -> BaseConsumer {
    let broker = format!("127.0.0.1:{}", settings.get("EMBEDDED_KAFKA_PORT"));
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker)
        .set("group.id", "somebody");
    config.create().unwrap()
}

/// Events and committed offsets are there again after the whole program was killed.
pub async fn over_kill_9_of_the_program() {
    let settings = settings_embedded();
    let process = Process::start(&settings).await;
    let wanted = query(&json!([{ "eventType": "t" }]));
    let mut stream = Sse::open(process.public, &wanted, &[]).await;
    stream.subscribed().await;
    for id in 0..50 {
        process
            .publish(&keyed("one", &id.to_string(), json!(id)))
            .await;
    }
    let expected: Vec<String> = (0..50).map(|id| id.to_string()).collect();
    assert_eq!(stream.ids(20).await, expected[..20]);
    let cursor = stream.last_event_id.clone().unwrap();
    let committed = offset_of_first_partition(Offset::Offset(42));
    consumer(&settings)
        .commit(&committed, CommitMode::Sync)
        .unwrap();
    drop(process);

    let process = Process::start(&settings).await;
    let headers = [("last-event-id", cursor.as_str())];
    let mut stream = Sse::open(process.public, &wanted, &headers).await;
    stream.subscribed().await;
    assert_eq!(stream.ids(30).await, expected[20..]);
    process.publish(&keyed("one", "next", json!(null))).await;
    assert_eq!(stream.ids(1).await, ["next"]);
    let list = offset_of_first_partition(Offset::Invalid);
    let committed = consumer(&settings).committed_offsets(list, SOON).unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(42));
    drop(process);
    std::fs::remove_dir_all(settings.get("DATA_DIR")).unwrap();
}

/// A port that is taken is named in the error.
pub async fn unless_its_port_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = std::env::temp_dir().join(unique("taken"));
    let error = EmbeddedBroker::start(&dir, address).unwrap_err();
    assert!(
        matches!(error, EmbeddedBrokerError::Listen { address: named, .. } if named == address),
        "{error}"
    );
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A broker that was stopped can be started again on the same data and port.
pub async fn over_a_stop() {
    let dir = std::env::temp_dir().join(unique("again"));
    let first = EmbeddedBroker::start(&dir, ([127, 0, 0, 1], 0).into()).unwrap();
    let address = first.address();
    first.stop();
    let second = EmbeddedBroker::start(&dir, address).unwrap();
    assert_eq!(second.address(), address);
    second.stop();
    std::fs::remove_dir_all(&dir).unwrap();
}

/// The disk of the embedded broker is full: publishing says so, streams stay open, and what was
/// acknowledged before is delivered, and there again when there is room.
pub async fn that_were_acknowledged_before_the_disk_was_full() {
    let settings = settings_embedded()
        .with("HEARTBEAT_INTERVAL", "500ms")
        .with("PRODUCE_TIMEOUT", "2s");
    let begun = Instant::now();
    let process = Process::start_on_full_disk(&settings, 4 * 1024).await;
    let wanted = query(&json!([{ "eventType": "t" }]));
    let mut stream = Sse::open(process.public, &wanted, &[]).await;
    stream.subscribed().await;
    let cursor = stream.last_event_id.clone().unwrap();
    let acknowledged = fill(&process).await;
    assert_eq!(stream.ids(acknowledged.len()).await, acknowledged);
    within(Duration::from_secs(60), "readiness fails", async || {
        process.status("/readyz").await == 503
    })
    .await;
    assert_eq!(process.status("/health").await, 200);
    let beat = stream.block().await.expect("the stream is open");
    assert!(beat.bytes.starts_with(": heartbeat"), "{}", beat.bytes);
    let log = process.log();
    assert!(log.contains("kafka takes no records"), "{log}");
    let lines = log.lines().count() as u64;
    assert!(lines < 50 + begun.elapsed().as_secs(), "{log}");
    drop(process);

    let process = Process::start(&settings).await;
    let headers = [("last-event-id", cursor.as_str())];
    let mut stream = Sse::open(process.public, &wanted, &headers).await;
    stream.subscribed().await;
    assert_eq!(stream.ids(acknowledged.len()).await, acknowledged);
    process.publish(&keyed("one", "next", json!(null))).await;
    while stream.ids(1).await != ["next"] {
        // What was answered with 503 may have been written.
    }
    drop(process);
    std::fs::remove_dir_all(settings.get("DATA_DIR")).unwrap();
}

/// Publishes large events until the disk takes no more, then smaller ones; returns the ids of those
/// that were acknowledged.
async fn fill(process: &Process) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for bytes in [50_000, 1_000, 1] {
        let text = json!("x".repeat(bytes));
        loop {
            let id = acknowledged.len().to_string();
            let answer = process.submit(&keyed("one", &id, text.clone())).await;
            if answer.status != 202 {
                let status = answer.status;
                assert!(matches!(status, 503 | 504), "{}", answer.text());
                answer.problem(status);
                break;
            }
            acknowledged.push(id);
            assert!(acknowledged.len() < 2000, "the disk is never full");
        }
    }
    acknowledged
}
