//! Kafka breaks under load: clients stay connected, and what was acknowledged arrives once, in order.

use std::time::Duration;

use serde_json::json;

use crate::support::gateway::{Gateway, Settings, within};
use crate::support::kafka::Kafka;
use crate::support::load::{Inbox, Load};
use crate::support::records::OwnKafka;

/// How long it may take until everything flows again.
const HEALED: Duration = Duration::from_secs(60);
/// How long Kafka is frozen.
const FROST: Duration = Duration::from_secs(10);
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
    let load = Load::start(gateway.public(), 4);
    flows(&load).await;
    happens(&own).await;
    flows(&load).await;
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

async fn flows(load: &Load) {
    let goal = load.acknowledged() + FLOWING;
    within(HEALED, "events are taken", async || {
        load.acknowledged() >= goal
    })
    .await;
}
