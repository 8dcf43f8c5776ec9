//! Health, readiness, metrics, and a shutdown that loses nobody.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::gateway::{Gateway, Settings, event, eventually, query};
use crate::support::http;
use crate::support::kafka::{Kafka, free_address};
use crate::support::program::{Process, settings};
use crate::support::ws::Ws;

pub async fn how_it_is(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    for (path, body) in [("/health", "OK"), ("/livez", "OK"), ("/startupz", "OK")] {
        let answer = http::request(gateway.internal(), "GET", path, &[], b"").await;
        assert_eq!((answer.status, answer.text()), (200, body), "{path}");
    }
    let answer = http::request(gateway.public(), "GET", "/_rig/health", &[], b"").await;
    assert_eq!((answer.status, answer.text()), (200, "OK"));
    let ready = http::request(gateway.internal(), "GET", "/readyz", &[], b"").await;
    assert_eq!(ready.json(), json!({ "ready": true, "waiting_for": [] }));
    let page = http::request(gateway.internal(), "GET", "/", &[], b"").await;
    assert!(page.text().contains("<title>Sluicegate</title>"));
    gateway.stop().await;
}

pub async fn what_it_did_in_numbers(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut stream = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    let mut socket = Ws::open(
        gateway.public(),
        &query(&json!([{ "eventType": "t" }])),
        None,
    )
    .await;
    socket.subscribed().await;
    for id in 0..5 {
        gateway
            .publish(&event("t", &id.to_string(), json!(1)))
            .await;
        gateway
            .publish(&event("u", &id.to_string(), json!(1)))
            .await;
    }
    stream.ids(5).await;
    for _ in 0..5 {
        socket.event().await;
    }
    let topic = gateway.settings.topic().to_owned();
    for (name, label, expected) in [
        ("sluicegate_consumed_records_total", topic.as_str(), 10.0),
        ("sluicegate_delivered_events_total", "sse", 5.0),
        ("sluicegate_delivered_events_total", "ws", 5.0),
        ("sluicegate_connections", "ws", 1.0),
        ("sluicegate_produced_events_total", "acknowledged", 10.0),
        ("sluicegate_delivery_age_seconds_count", "", 10.0),
        ("rig_subscriptions_total", "", 2.0),
        ("sluicegate_ready", "", 1.0),
    ] {
        // The shard counts after it has written.
        eventually(name, async || {
            (gateway.metric(name, label).await - expected).abs() < 0.1
        })
        .await;
    }
    gateway.stop().await;
}

pub async fn a_shutdown_tells_every_client_to_go(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("SHUTDOWN_GRACE", "2s");
    let gateway = Gateway::with(settings).await;
    let mut stream = gateway.subscribe(json!([{ "eventType": "t" }])).await;
    let mut socket = Ws::open(gateway.public(), "", None).await;
    socket.subscribed().await;
    let address = gateway.public();
    let stopping = tokio::spawn(gateway.stop());
    while stream.block().await.is_some() {}
    assert_eq!(socket.close_code().await.0, 1001);
    tokio::time::timeout(Duration::from_secs(15), stopping)
        .await
        .expect("in time")
        .unwrap();
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "nothing listens any more"
    );
}

/// Whatever an instance started has ended with it: threads that are left would go on asking Kafka.
pub async fn a_shutdown_leaves_no_connection_to_kafka(kafka: &Kafka) {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: only Linux has a list of the connections");
        return;
    }
    let own = kafka.own_stopped().await;
    own.start().await;
    let settings = Settings::new(kafka).with("KAFKA_BROKERS", own.brokers());
    let gateway = Gateway::with(settings).await;
    assert_ne!(own.connections(), 0);
    gateway.stop().await;
    let what = "nobody is connected to kafka any more";
    eventually(what, async || own.connections() == 0).await;
}

pub async fn that_kafka_is_away_and_heals_by_itself(kafka: &Kafka) {
    let own = kafka.own_stopped().await;
    let settings = Settings::new(kafka)
        .with("KAFKA_BROKERS", own.brokers())
        .with("PRODUCE_TIMEOUT", "1s");
    let gateway = Gateway::unready(settings).await;
    eventually("the public port opens without kafka", async || {
        http::request(gateway.internal(), "GET", "/health", &[], b"")
            .await
            .status
            == 200
    })
    .await;
    let ready = http::request(gateway.internal(), "GET", "/readyz", &[], b"").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.text().contains("kafka cannot be reached"),
        "{}",
        ready.text()
    );
    let mut waiting = gateway.open(json!([{ "eventType": "t" }])).await;
    let refused = gateway.submit(&event("t", "refused", json!(1))).await;
    refused.problem(503);
    assert!(refused.header("retry-after").is_some());
    own.start().await;
    gateway.ready().await;
    waiting.subscribed().await;
    eventually("events are taken", async || {
        gateway.submit(&event("t", "1", json!(1))).await.status == 202
    })
    .await;
    next_but_refused(&mut waiting, "1").await;
    own.kill().await;
    eventually("readiness fails", async || {
        http::request(gateway.internal(), "GET", "/readyz", &[], b"")
            .await
            .status
            == 503
    })
    .await;
    gateway
        .submit(&event("t", "refused", json!(1)))
        .await
        .problem(503);
    own.start().await;
    eventually("events are taken again", async || {
        gateway.submit(&event("t", "2", json!(1))).await.status == 202
    })
    .await;
    next_but_refused(&mut waiting, "2").await;
    gateway.stop().await;
    own.kill().await;
}

/// A Kafka that is not there from the start on: the program stays up, says so, and does not fill the log.
pub async fn that_kafka_is_not_there_at_most_once_a_second(kafka: &Kafka) {
    let settings = settings(kafka)
        .with("KAFKA_BROKERS", free_address().to_string())
        .with("PRODUCE_TIMEOUT", "1s");
    let begun = Instant::now();
    let process = Process::start_unready(&settings);
    eventually("the public port opens without kafka", async || {
        let public = tokio::net::TcpStream::connect(process.public).await;
        public.is_ok() && process.status("/health").await == 200
    })
    .await;
    while begun.elapsed() < Duration::from_secs(15) {
        let asked = Instant::now();
        let refused = process.submit(&event("t", "refused", json!(1))).await;
        refused.problem(503);
        assert!(asked.elapsed() < Duration::from_secs(15));
        assert_eq!(process.status("/health").await, 200);
        assert_eq!(process.status("/readyz").await, 503);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let log = process.log();
    let lines = log.lines().count() as u64;
    assert!(
        lines <= 5 + begun.elapsed().as_secs(),
        "{lines} lines:\n{log}"
    );
}

/// Reads up to the event with `id`. An event that was answered with 503 may have been written.
async fn next_but_refused(stream: &mut crate::support::sse::Sse, id: &str) {
    loop {
        let next = stream.next().await["id"].as_str().unwrap().to_owned();
        if next == id {
            return;
        }
        assert_eq!(next, "refused");
    }
}
