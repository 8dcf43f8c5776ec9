//! The real program as a process: what kills, signals, freezes and strangers leave behind.

use std::time::Duration;

use serde_json::json;

use crate::support::gateway::{Settings, keyed, query, unique, within};
use crate::support::kafka::Kafka;
use crate::support::load::{Inbox, Load};
use crate::support::program::{Process, on_free_ports, settings};
use crate::support::sse::Sse;

/// How long an instance is frozen.
const FROST: Duration = Duration::from_secs(15);
/// How long it may take until everything flows again.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many events show that the load flows.
const FLOWING: usize = 50;

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

/// An instance is stopped for a while: its clients get everything when it goes on, without connecting
/// again; those of the other instance notice nothing.
pub async fn a_freeze_of_15_seconds(kafka: &Kafka) {
    let common = settings(kafka);
    let frozen = Process::start(&common).await;
    let awake = Process::start(&another(&common)).await;
    let wanted = query(&json!([{ "eventType": "t" }]));
    let inboxes = [
        inbox(frozen.public, &wanted).await,
        inbox(awake.public, &wanted).await,
    ];
    let load = Load::start(awake.public, 4);
    flows(&load).await;
    frozen.freeze();
    let until = tokio::time::Instant::now() + FROST;
    while tokio::time::Instant::now() < until {
        let before = inboxes[1].count();
        flows(&load).await;
        within(PATIENCE, "the other instance delivers", async || {
            inboxes[1].count() > before
        })
        .await;
    }
    frozen.thaw();
    flows(&load).await;
    let acknowledged = load.stop().await;
    for inbox in &inboxes {
        within(PATIENCE, "all that was acknowledged came", async || {
            inbox.has(&acknowledged)
        })
        .await;
        inbox.assert_once_and_in_order();
    }
}

/// Others join and leave the group under which an instance commits its offsets. Kafka has them
/// rebalance; the instance is no member and reads on.
pub async fn strangers_in_its_consumer_group(kafka: &Kafka) {
    let settings = settings(kafka);
    let process = Process::start(&settings).await;
    let wanted = query(&json!([{ "eventType": "t" }]));
    let inbox = inbox(process.public, &wanted).await;
    let load = Load::start(process.public, 4);
    flows(&load).await;
    let group = format!(
        "{}-{}",
        settings.get("KAFKATOFILTER_KAFKA_GROUP_ID"),
        settings.get("INSTANCE_ID")
    );
    for _ in 0..3 {
        let stranger = kafka.join_group(&group, settings.topic()).await;
        let before = inbox.count();
        flows(&load).await;
        within(
            PATIENCE,
            "events flow while others are members",
            async || inbox.count() > before,
        )
        .await;
        drop(stranger);
        flows(&load).await;
    }
    let acknowledged = load.stop().await;
    within(PATIENCE, "all that was acknowledged came", async || {
        inbox.has(&acknowledged)
    })
    .await;
    inbox.assert_once_and_in_order();
    assert_eq!(process.status("/readyz").await, 200);
}

/// Returns settings for another instance of the same cluster.
fn another(settings: &Settings) -> Settings {
    on_free_ports(settings.clone()).with("INSTANCE_ID", unique("process"))
}

async fn inbox(address: std::net::SocketAddr, wanted: &str) -> Inbox {
    let mut stream = Sse::open(address, wanted, &[]).await;
    stream.subscribed().await;
    Inbox::of(stream)
}

async fn flows(load: &Load) {
    let goal = load.acknowledged() + FLOWING;
    within(PATIENCE, "events are taken", async || {
        load.acknowledged() >= goal
    })
    .await;
}
