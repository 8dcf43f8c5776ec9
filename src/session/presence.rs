//! Events that say who comes and goes, for operators who asked for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::config::SessionConfig;
use super::guest::Guest;
use crate::kafka::{KafkaConfig, Outbox, OutgoingRecord, Producer, TopicError, TopicSpec};
use crate::telemetry::{Limited, Tasks, Transport, now_ms, rfc3339};

/// How many events may wait for Kafka; one too many is dropped, and the log says so.
const QUEUE_LIMIT: usize = 10_000;
/// How often the log says that Kafka does not take the events.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// A connection was opened.
    Join,
    /// A connection has ended.
    Leave,
}

/// Where the events go: to a topic, or nowhere. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PresenceEvents(Option<Queue>);

/// What is told and not written yet.
#[derive(Debug, Clone)]
struct Queue {
    sender: mpsc::Sender<Told>,
    end: CancellationToken,
}

#[derive(Debug)]
struct Told {
    presence: Presence,
    guest: Arc<Guest>,
    transport: Transport,
    at_ms: i64,
}

impl PresenceEvents {
    /// Writes `rig.presence.join` and `rig.presence.leave` to the topic of the settings, with the session as
    /// key, until the process stops; without a topic nobody is told.
    #[must_use]
    pub fn start(
        config: &SessionConfig,
        kafka: &KafkaConfig,
        producer: &Producer,
        tasks: &Tasks,
    ) -> Self {
        let Some(topic) = config.presence_topic.clone() else {
            return Self(None);
        };
        let (sender, queue) = mpsc::channel(QUEUE_LIMIT);
        let writer = Writer {
            topic,
            kafka: kafka.clone(),
            producer: producer.clone(),
            complaints: Limited::new(COMPLAINT_INTERVAL),
        };
        let end = CancellationToken::new();
        let outbox = Outbox {
            queue,
            end: end.clone(),
        };
        tasks.spawn("presence", writer.run(outbox));
        Self(Some(Queue { sender, end }))
    }

    /// Has what was told before written, and nothing after it.
    pub(super) fn end(&self) {
        if let Some(queue) = &self.0 {
            queue.end.cancel();
        }
    }

    /// Tells of one connection; never waits.
    pub(super) fn tell(&self, presence: Presence, guest: &Arc<Guest>, transport: Transport) {
        let Some(queue) = &self.0 else { return };
        let told = Told {
            presence,
            guest: Arc::clone(guest),
            transport,
            at_ms: now_ms(),
        };
        if queue.sender.try_send(told).is_err() {
            tracing::debug!("a presence event was dropped: too many wait for kafka");
        }
    }
}

/// Writes the events to Kafka.
struct Writer {
    topic: String,
    kafka: KafkaConfig,
    producer: Producer,
    complaints: Limited,
}

impl Writer {
    /// Writes what comes, in order, some at a time, until the end is told.
    async fn run(self, outbox: Outbox<Told>) {
        let topic = TopicSpec::of_records(&self.topic, 1);
        let instance = self.kafka.instance();
        let (writer, instance) = (&self, &*instance);
        let complain = |error: &TopicError| writer.complain(error);
        let write = |told| writer.write(told, instance);
        outbox.write(&self.kafka, topic, complain, write).await;
    }

    async fn write(&self, told: Told, instance: &str) {
        for session in &told.guest.sessions {
            let event = told.to_json(session, instance);
            let record = OutgoingRecord {
                topic: &self.topic,
                key: Some(session.as_bytes()),
                headers: &[("content-type", b"application/cloudevents+json")],
                payload: Some(event.as_bytes()),
            };
            if let Err(error) = self.producer.produce(record).await {
                self.complain(&error);
            }
        }
    }

    fn complain(&self, error: &dyn std::error::Error) {
        if let Some(suppressed) = self.complaints.admit("presence", Instant::now()) {
            let topic = &self.topic;
            tracing::warn!(%error, suppressed, topic, "presence events cannot be written");
        }
    }
}

impl Told {
    fn to_json(&self, session: &str, instance: &str) -> String {
        let kind = match self.presence {
            Presence::Join => "rig.presence.join",
            Presence::Leave => "rig.presence.leave",
        };
        json!({
            "specversion": "1.0",
            "type": kind,
            "source": "rig",
            "id": uuid::Uuid::new_v4().to_string(),
            "time": rfc3339(self.at_ms),
            "data": {
                "session": session,
                "user": self.guest.user.as_deref(),
                "transport": self.transport.as_str(),
                "instance": instance,
            },
        })
        .to_string()
    }
}
