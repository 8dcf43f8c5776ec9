//! Events that say who comes and goes, for those who asked for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;

use super::guest::Guest;
use crate::kafka::{OutgoingRecord, Producer};
use crate::telemetry::{Limited, Tasks, Transport, now_ms};

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
pub struct PresenceEvents(Option<mpsc::Sender<Told>>);

#[derive(Debug)]
struct Told {
    presence: Presence,
    guest: Arc<Guest>,
    transport: Transport,
    at_ms: i64,
}

impl PresenceEvents {
    /// Writes `rig.presence.join` and `rig.presence.leave` to a topic, with the session as key, until
    /// the process stops; without a topic nobody is told. `instance` is the name of this one.
    #[must_use]
    pub fn start(
        topic: Option<String>,
        instance: String,
        producer: Producer,
        tasks: &Tasks,
    ) -> Self {
        let Some(topic) = topic else {
            return Self(None);
        };
        let (sender, queue) = mpsc::channel(QUEUE_LIMIT);
        tasks.spawn(
            "presence",
            write(topic, instance, producer, queue, tasks.clone()),
        );
        Self(Some(sender))
    }

    /// Tells of one connection; never waits.
    pub(super) fn tell(&self, presence: Presence, guest: &Arc<Guest>, transport: Transport) {
        let Some(sender) = &self.0 else { return };
        let told = Told {
            presence,
            guest: Arc::clone(guest),
            transport,
            at_ms: now_ms(),
        };
        if sender.try_send(told).is_err() {
            tracing::debug!("a presence event was dropped: kafka takes them too slowly");
        }
    }
}

async fn write(
    topic: String,
    instance: String,
    producer: Producer,
    mut queue: mpsc::Receiver<Told>,
    tasks: Tasks,
) {
    let stopping = tasks.stopping();
    let complaints = Limited::new(COMPLAINT_INTERVAL);
    while let Some(Some(told)) = stopping.run_until_cancelled(queue.recv()).await {
        for session in &told.guest.sessions {
            let event = told.to_json(session, &instance);
            let record = OutgoingRecord {
                topic: &topic,
                key: Some(session.as_bytes()),
                headers: &[("content-type", b"application/cloudevents+json")],
                payload: Some(event.as_bytes()),
            };
            if let Err(error) = producer.produce(record).await
                && let Some(suppressed) = complaints.admit("presence", Instant::now())
            {
                tracing::warn!(%error, suppressed, topic, "presence events cannot be written");
            }
        }
    }
}

impl Told {
    fn to_json(&self, session: &str, instance: &str) -> String {
        let kind = match self.presence {
            Presence::Join => "rig.presence.join",
            Presence::Leave => "rig.presence.leave",
        };
        let time = jiff::Timestamp::from_millisecond(self.at_ms);
        json!({
            "specversion": "1.0",
            "type": kind,
            "source": "rig",
            "id": uuid::Uuid::new_v4().to_string(),
            "time": time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string(),
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
