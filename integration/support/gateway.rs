//! An instance in this process, with topics of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate::app::App;
use sluicegate::config::Config;

use super::http::{self, Answer, PATIENCE, encode};
use super::kafka::{Backend, Kafka};
use super::sse::Sse;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Returns a name that nobody else uses, in this run or another one.
pub fn unique(what: &str) -> String {
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{what}-{}-{count}", uuid::Uuid::new_v4().simple())
}

/// Variables for one or more instances of a cluster.
#[derive(Debug, Clone)]
pub struct Settings {
    variables: BTreeMap<String, String>,
    backend: Backend,
}

impl Settings {
    /// Topics and a cluster of their own, on free ports.
    pub fn new(kafka: &Kafka) -> Self {
        let mut settings = Self {
            variables: BTreeMap::new(),
            backend: kafka.backend(),
        };
        for (name, value) in [
            ("KAFKA_BROKERS", kafka.brokers()),
            ("KAFKA_SOURCE_TOPICS", unique("events")),
            ("KAFKATOFILTER_KAFKA_GROUP_ID", unique("group")),
            ("CLUSTER_NAME", unique("cluster")),
            ("INBOUND_PORT", "0".to_owned()),
            ("API_HTTP_PORT", "0".to_owned()),
            ("SHUTDOWN_GRACE", "1s".to_owned()),
            ("SHARDS", "2".to_owned()),
            // A client that a test does not read for a while answers no pings, and is not dead.
            ("HEARTBEAT_INTERVAL", "5m".to_owned()),
        ] {
            settings.variables.insert(name.to_owned(), value);
        }
        settings
    }

    /// No variable at all, as for a program that starts its own broker.
    pub const fn empty() -> Self {
        Self {
            variables: BTreeMap::new(),
            backend: Backend::Embedded,
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    pub fn get(&self, name: &str) -> &str {
        &self.variables[name]
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn topic(&self) -> &str {
        self.get("KAFKA_SOURCE_TOPICS")
            .split(',')
            .next()
            .expect("a topic")
    }
}

/// A running instance.
#[derive(Debug)]
pub struct Gateway {
    app: App,
    pub settings: Settings,
}

impl Gateway {
    /// Starts an instance and waits until it is ready.
    pub async fn start(kafka: &Kafka) -> Self {
        Self::with(Settings::new(kafka)).await
    }

    /// Starts an instance with these settings and waits until it is ready.
    pub async fn with(settings: Settings) -> Self {
        let gateway = Self::unready(settings).await;
        gateway.ready().await;
        gateway
    }

    /// Starts an instance and does not wait.
    pub async fn unready(settings: Settings) -> Self {
        let settings = match settings.variables.contains_key("INSTANCE_ID") {
            true => settings,
            false => settings.with("INSTANCE_ID", unique("instance")),
        };
        let mut config =
            Config::from_environment(settings.pairs()).expect("the settings are valid");
        if settings.backend == Backend::Embedded {
            // It runs in another process here, but it is as slow to answer a fetch.
            let address = settings.get("KAFKA_BROKERS").parse().expect("an address");
            config.kafka = config.kafka.with_embedded(address);
        }
        let app = App::start(config).await.expect("the instance starts");
        Self { app, settings }
    }

    /// Waits until the public port is open and everything is ready.
    pub async fn ready(&self) {
        tokio::time::timeout(PATIENCE, self.app.ready())
            .await
            .expect("ready in time");
        eventually("the public port is open", async || {
            http::request(self.internal(), "GET", "/health", &[], b"")
                .await
                .status
                == 200
        })
        .await;
    }

    pub fn public(&self) -> SocketAddr {
        self.app.public_address()
    }

    pub fn internal(&self) -> SocketAddr {
        self.app.internal_address()
    }

    pub fn public_tls(&self) -> SocketAddr {
        self.app
            .public_tls_address()
            .expect("there is a certificate")
    }

    pub fn internal_tls(&self) -> SocketAddr {
        self.app
            .internal_tls_address()
            .expect("there is a certificate")
    }

    pub async fn stop(self) {
        self.app.stop().await;
    }

    /// Opens a stream with these subscriptions and reads up to `rig.subscriptions_set`.
    pub async fn subscribe(&self, subscriptions: Value) -> Sse {
        let mut stream = self.open(subscriptions).await;
        stream.subscribed().await;
        stream
    }

    /// Opens a stream with these subscriptions.
    pub async fn open(&self, subscriptions: Value) -> Sse {
        Sse::open(self.public(), &query(&subscriptions), &[]).await
    }

    /// Opens a stream that goes on after a cursor.
    pub async fn resume(&self, subscriptions: Value, last_event_id: &str) -> Sse {
        let headers = [("last-event-id", last_event_id)];
        let mut stream = Sse::open(self.public(), &query(&subscriptions), &headers).await;
        stream.subscribed().await;
        stream
    }

    /// Submits an event over HTTP and asserts that it was taken.
    pub async fn publish(&self, event: &Value) {
        let answer = self.submit(event).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }

    pub async fn submit(&self, event: &Value) -> Answer {
        let headers = [("content-type", "application/cloudevents+json")];
        let body = event.to_string();
        http::request(
            self.public(),
            "POST",
            "/_rig/v1/events",
            &headers,
            body.as_bytes(),
        )
        .await
    }

    /// Asks for a change of subscriptions at this instance.
    pub async fn change(&self, transport: &str, token: &str, subscriptions: Value) -> Answer {
        let target = format!("/_rig/v1/connection/{transport}/{token}/subscriptions");
        let body = json!({ "subscriptions": subscriptions }).to_string();
        let headers = [("content-type", "application/json")];
        http::request(self.public(), "PUT", &target, &headers, body.as_bytes()).await
    }

    /// Returns the sum of a metric over all labels that contain `label`.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        metric(self.internal(), name, label).await
    }
}

/// Returns the sum of a metric of the instance with this internal port.
pub async fn metric(internal: SocketAddr, name: &str, label: &str) -> f64 {
    let answer = http::request(internal, "GET", "/metrics", &[], b"").await;
    let lines = answer.text().lines().filter(|line| line.starts_with(name));
    let values = lines
        .filter(|line| line.contains(label))
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let is_named = series == name || series.starts_with(&format!("{name}{{"));
            is_named.then(|| value.parse::<f64>().expect("a number"))
        });
    values.sum()
}

/// Returns the query for these subscriptions.
pub fn query(subscriptions: &Value) -> String {
    format!("subscriptions={}", encode(&subscriptions.to_string()))
}

/// Returns an event of version 1.0.
pub fn event(event_type: &str, id: &str, data: Value) -> Value {
    json!({ "specversion": "1.0", "type": event_type, "source": "/test", "id": id, "data": data })
}

/// Returns an event of type `t` that goes to the same partition as all with this key.
pub fn keyed(key: &str, id: &str, data: Value) -> Value {
    let mut event = event("t", id, data);
    event["partitionkey"] = json!(key);
    event
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    within(PATIENCE, what, holds).await;
}

/// Waits until a condition holds, at most `limit`.
pub async fn within(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + limit;
    while !holds().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "did not come about: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
