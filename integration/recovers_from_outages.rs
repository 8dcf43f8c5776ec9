//! Kafka breaks under load: clients stay connected, and what was acknowledged arrives once, in order.

use std::time::Duration;

use serde_json::json;

use crate::support::brokers::ThreeBrokers;
use crate::support::gateway::{Gateway, Settings, within};
use crate::support::kafka::Kafka;
use crate::support::load::{Inbox, Load};
use crate::support::records::OwnKafka;
use crate::support::sse::Sse;

/// How long it may take until everything flows again; a busy machine starts a broker in half of that.
const HEALED: Duration = Duration::from_secs(120);
/// How long Kafka is frozen.
const FROST: Duration = Duration::from_secs(10);
/// How long a stream with a heartbeat each second may be silent on a busy machine.
const SILENCE: Duration = Duration::from_secs(8);
/// How many events show that the load flows.
const FLOWING: usize = 50;

pub async fn of_a_kafka_that_is_killed(kafka: &Kafka) {
    outage(kafka, async |own| {
        own.kill().await;
        own.start().await;
    })
    .await;
}

pub async fn of_a_kafka_that_is_frozen(kafka: &Kafka) {
    outage(kafka, async |own| {
        own.freeze().await;
        tokio::time::sleep(FROST).await;
        own.thaw().await;
    })
    .await;
}

async fn outage(kafka: &Kafka, happens: impl AsyncFnOnce(&OwnKafka)) {
    let own = kafka.own_stopped().await;
    own.start().await;
    let settings = Settings::new(kafka)
        .with("KAFKA_BROKERS", own.brokers())
        .with("HEARTBEAT_INTERVAL", "1s");
    let gateway = Gateway::with(settings).await;
    let inbox = Inbox::of(gateway.subscribe(json!([{ "eventType": "t" }])).await);
    let quiet = gateway.subscribe(json!([{ "eventType": "never" }])).await;
    let heartbeats = tokio::spawn(until_silent(quiet));
    let load = Load::start(gateway.public(), 4);
    flows(&load).await;
    happens(&own).await;
    flows(&load).await;
    assert!(
        !heartbeats.is_finished(),
        "a quiet stream was silent or ended"
    );
    heartbeats.abort();
    let acknowledged = load.stop().await;
    within(HEALED, "all that was acknowledged came", async || {
        inbox.has(&acknowledged)
    })
    .await;
    inbox.assert_once_and_in_order();
    drop(inbox);
    gateway.stop().await;
    own.kill().await;
}

/// Reads a quiet stream; ends when it ends, or is silent for much longer than between two heartbeats.
async fn until_silent(mut stream: Sse) {
    while let Ok(Some(_)) = tokio::time::timeout(SILENCE, stream.block()).await {}
}

async fn flows(load: &Load) {
    let goal = load.acknowledged() + FLOWING;
    within(HEALED, "events are taken", async || {
        load.acknowledged() >= goal
    })
    .await;
}

/// The broker that leads the partition is killed: another one takes over, events are taken again after
/// the election, and clients stay connected; so they do when the broker comes back.
pub async fn of_a_leader_that_is_killed(kafka: &Kafka) {
    let brokers = ThreeBrokers::start().await;
    let settings = Settings::new(kafka)
        .with("KAFKA_BROKERS", brokers.brokers())
        .with("KAFKA_SOURCE_PARTITIONS", "1")
        .with("HEARTBEAT_INTERVAL", "1s");
    let gateway = Gateway::with(settings).await;
    let topic = gateway.settings.topic().to_owned();
    let inbox = Inbox::of(gateway.subscribe(json!([{ "eventType": "t" }])).await);
    let load = Load::start(gateway.public(), 4);
    flows(&load).await;
    let leader = brokers.leader(&topic, 0).await.expect("a leader");
    brokers.node(leader).kill().await;
    flows(&load).await;
    let next = brokers.leader(&topic, 0).await.expect("a leader");
    assert_ne!(next, leader);
    brokers.node(leader).start().await;
    flows(&load).await;
    let acknowledged = load.stop().await;
    within(HEALED, "all that was acknowledged came", async || {
        inbox.has(&acknowledged)
    })
    .await;
    inbox.assert_once_and_in_order();
    drop(inbox);
    gateway.stop().await;
    brokers.kill().await;
}
