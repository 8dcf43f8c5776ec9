//! Two instances with personal events.

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Settings, event};
use crate::support::kafka::Kafka;

/// Two types are personal, by different fields; of one the field is nobody's.
const EXTRACTORS: &str = r#"{
    "personal": { "name": { "event": { "json_pointer": "/data/name" }, "jwt": { "json_pointer": "/username" } } },
    "my.mail": { "to": { "event": { "json_pointer": "/data/name" }, "jwt": { "json_pointer": "/username" } } },
    "weather": { "name": { "event": { "json_pointer": "/data/name" } } }
}"#;

/// Two instances of one cluster.
pub struct Pair {
    pub one: Gateway,
    pub other: Gateway,
}

impl Pair {
    pub async fn start(kafka: &Kafka) -> Self {
        let settings = Settings::new(kafka)
            .with_tokens()
            .with("EXTRACTORS", EXTRACTORS);
        Self {
            one: Gateway::with(settings.clone()).await,
            other: Gateway::with(settings).await,
        }
    }

    pub fn gateways(&self) -> [&Gateway; 2] {
        [&self.one, &self.other]
    }

    /// Writes these events to one partition, so that they have an order.
    pub async fn write(&self, kafka: &Kafka, events: &[Value]) {
        let topic = self.one.settings.topic();
        kafka.produce_all(topic, 0, events).await;
    }

    pub async fn stop(self) {
        self.one.stop().await;
        self.other.stop().await;
    }
}

pub fn personal(user: &str, id: &str) -> Value {
    event("personal", id, json!({ "name": user }))
}

pub fn mail(user: &str, id: &str) -> Value {
    event("my.mail", id, json!({ "name": user }))
}

pub fn everybodys(event_type: &str, id: &str) -> Value {
    event(event_type, id, json!({ "name": "alice" }))
}
