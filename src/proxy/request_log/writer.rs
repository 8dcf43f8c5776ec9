//! Writes entries to Kafka.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::config::RequestLogConfig;
use super::{Noted, RequestLogParts};
use crate::avro::{Mismatch, Registry, RegistryError};
use crate::event::JSON_EVENT;
use crate::kafka::{
    KafkaConfig, Outbox, OutgoingRecord, ProduceError, Producer, TopicError, TopicSpec,
};
use crate::telemetry::{Limited, ProxyMetrics, rfc3339};

/// How long entries are still written after the process was told to end.
const PARTING: Duration = Duration::from_secs(2);
/// One complaint in this time.
const COMPLAINTS: Duration = Duration::from_secs(30);
const PARTITIONS: i32 = 4;

const SOURCE: &str = "/rig";
const KIND: &str = "com.rig.proxy.api.call";

/// Writes what comes to the topic.
pub(super) struct Writer {
    topic: String,
    /// Where the schema is, if there is one.
    avro: Option<(Registry, String)>,
    kafka: KafkaConfig,
    producer: Producer,
    metrics: ProxyMetrics,
    complaints: Limited,
}

/// Why an entry is not in the topic.
#[derive(Debug, thiserror::Error)]
enum NotWritten {
    #[error(transparent)]
    NoSchema(#[from] RegistryError),
    #[error("the entry does not fit the schema: {0}")]
    Misfit(#[from] Mismatch),
    #[error(transparent)]
    Kafka(#[from] ProduceError),
}

impl Writer {
    pub(super) fn new(config: &RequestLogConfig, parts: RequestLogParts) -> Self {
        let subject = config.kafka_log_schema.clone();
        let avro = parts.registry.filter(|_| !subject.is_empty());
        Self {
            topic: config.kafka_log_topic.clone(),
            avro: avro.map(|registry| (registry, subject)),
            kafka: parts.kafka,
            producer: parts.producer,
            metrics: parts.metrics,
            complaints: Limited::new(COMPLAINTS),
        }
    }

    /// Writes what comes, some at a time, until the end is told, and then, for a short time, what has come.
    pub(super) async fn run(self, outbox: Outbox<Noted>) {
        let topic = TopicSpec::of_records(&self.topic, PARTITIONS);
        let end = outbox.end.clone();
        let parting = async {
            end.cancelled().await;
            tokio::time::sleep(PARTING).await;
        };
        let complain = |error: &TopicError| self.complain(error);
        let write = |noted| self.write(noted);
        tokio::select! {
            () = outbox.write(&self.kafka, topic, complain, write) => {}
            () = parting => self.complain(&"the process ends"),
        }
    }

    async fn write(&self, noted: Noted) {
        if let Err(error) = self.try_to_write(&noted).await {
            let reason = match error {
                NotWritten::NoSchema(_) => "no_schema",
                NotWritten::Misfit(_) => "does_not_fit",
                NotWritten::Kafka(_) => "not_acknowledged",
            };
            self.metrics.log_dropped.with_label_values(&[reason]).inc();
            self.complain(&error);
        }
    }

    async fn try_to_write(&self, noted: &Noted) -> Result<(), NotWritten> {
        let key = noted.entry.key();
        let data = noted.entry.data();
        let id = Uuid::new_v4().to_string();
        let time = rfc3339(noted.at_ms);
        let mut headers: Vec<(&str, &[u8])> = Vec::new();
        let payload = if let Some((registry, subject)) = &self.avro {
            let schema = registry.latest(subject).await?;
            headers.extend([
                ("content-type", &b"avro/binary"[..]),
                ("ce_specversion", b"1.0"),
                ("ce_id", id.as_bytes()),
                ("ce_source", SOURCE.as_bytes()),
                ("ce_type", KIND.as_bytes()),
                ("ce_time", time.as_bytes()),
            ]);
            schema.encode_known(&data)?
        } else {
            headers.push(("content-type", JSON_EVENT.as_bytes()));
            event(&id, &time, &data).to_string().into_bytes()
        };
        let record = OutgoingRecord {
            topic: &self.topic,
            key: Some(key.as_bytes()),
            headers: &headers,
            payload: Some(&payload),
        };
        self.producer.produce(record).await?;
        Ok(())
    }

    fn complain(&self, error: &dyn std::fmt::Display) {
        if let Some(suppressed) = self.complaints.admit("request log", Instant::now()) {
            let topic = &self.topic;
            tracing::warn!(%error, suppressed, topic, "the request log cannot be written");
        }
    }
}

fn event(id: &str, time: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": SOURCE,
        "type": KIND,
        "time": time,
        "datacontenttype": "application/json",
        "data": data,
    })
}
