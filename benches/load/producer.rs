//! The producer: rdkafka on a thread of its own, straight to the topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use crate::event::{Moment, Stamp};
use crate::tally::Audience;

/// How long the producer waits for a permit before it takes an event for lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the broker may take for all that is queued; less than after what time librdkafka gives up.
const FLUSH_PATIENCE: Duration = Duration::from_secs(240);

/// When the next event is sent.
#[derive(Debug)]
pub(crate) enum Pace {
    /// So many events a second, whatever becomes of them.
    PerSecond(u32),
    /// As soon as there is a permit.
    Permits(Receiver<()>),
}

/// What to send.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) audience: Audience,
    pub(crate) pace: Pace,
    pub(crate) duration: Duration,
}

impl Plan {
    /// Calls `send` for each event when it is its turn; returns how many there were.
    ///
    /// Blocks: for a thread of its own.
    pub(crate) fn follow(
        &self,
        mut send: impl FnMut(Stamp) -> anyhow::Result<()>,
    ) -> anyhow::Result<u64> {
        let began = Moment::now();
        let end = began.after(self.duration);
        let mut number = 0;
        loop {
            let due = match &self.pace {
                Pace::PerSecond(rate) => {
                    let due = began.after(Duration::from_secs(number) / *rate);
                    std::thread::sleep(due.since(Moment::now()));
                    due
                }
                Pace::Permits(permits) => {
                    if permits.recv_timeout(PATIENCE).is_err() {
                        break;
                    }
                    Moment::now()
                }
            };
            if due >= end {
                break;
            }
            send(Stamp { number, due })?;
            number += 1;
        }
        Ok(number)
    }
}

/// Sends events to one topic. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Producer {
    client: Arc<ThreadedProducer<Failures>>,
    topic: String,
}

/// Counts the records that the broker did not take.
#[derive(Debug, Default)]
struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Producer {
    /// Sends each event at once.
    pub(crate) fn new(brokers: &str, topic: &str) -> anyhow::Result<Self> {
        Self::gathering(brokers, topic, Duration::ZERO, 10_000)
    }

    /// Sends each event at once, and is content when one broker has it.
    pub(crate) fn careless(brokers: &str, topic: &str) -> anyhow::Result<Self> {
        let client = config(brokers)
            .set("linger.ms", "0")
            .set("acks", "1")
            .create_with_context(Failures::default())?;
        Ok(Self {
            client: Arc::new(client),
            topic: topic.to_owned(),
        })
    }

    /// Waits for so long that events can be sent together, so many at most.
    pub(crate) fn gathering(
        brokers: &str,
        topic: &str,
        linger: Duration,
        most: u32,
    ) -> anyhow::Result<Self> {
        let client = config(brokers)
            .set("linger.ms", linger.as_millis().to_string())
            .set("batch.num.messages", most.to_string())
            // Keeps the order whatever is sent again.
            .set("enable.idempotence", "true")
            .create_with_context(Failures::default())?;
        Ok(Self {
            client: Arc::new(client),
            topic: topic.to_owned(),
        })
    }

    /// Sends what `plan` says and waits for the acknowledgements; returns how many events were sent.
    ///
    /// Blocks: for a thread of its own.
    pub(crate) fn run(&self, plan: &Plan) -> anyhow::Result<u64> {
        let number = plan.follow(|stamp| self.send(stamp, plan.audience))?;
        self.flush()?;
        Ok(number)
    }

    /// Waits until the broker has acknowledged everything.
    ///
    /// Blocks: for a thread of its own.
    pub(crate) fn flush(&self) -> anyhow::Result<()> {
        self.client
            .flush(FLUSH_PATIENCE)
            .context("the broker did not acknowledge in time")?;
        let failures = self.client.context().0.load(Ordering::Relaxed);
        ensure!(failures == 0, "the broker did not take {failures} events");
        Ok(())
    }

    /// Queues an event for a partition; waits while the queue is full.
    ///
    /// Blocks: for a thread of its own.
    pub(crate) fn put(&self, partition: i32, key: &str, event: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + FLUSH_PATIENCE;
        let mut record = BaseRecord::to(&self.topic)
            .partition(partition)
            .key(key)
            .payload(event)
            .headers(headers());
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((error, refused)) => {
                    let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    if !is_full || Instant::now() > deadline {
                        return Err(error).context("the producer takes no event");
                    }
                    record = refused;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    fn send(&self, stamp: Stamp, audience: Audience) -> anyhow::Result<()> {
        let to = audience.to(stamp.number);
        let (key, event) = (to.to_string(), stamp.event(audience.event_type(), to));
        let record = BaseRecord::to(&self.topic)
            .key(&key)
            .payload(&event)
            .headers(headers());
        self.client
            .send(record)
            .map_err(|(error, _)| error)
            .context("the queue is full")
    }
}

fn headers() -> OwnedHeaders {
    OwnedHeaders::new().insert(Header {
        key: "content-type",
        value: Some("application/cloudevents+json"),
    })
}

/// Deletes topics that the run has left in brokers that go on.
pub(crate) async fn delete(brokers: &str, topics: &[&str]) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(brokers).create()?;
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    for result in admin.delete_topics(topics, &options).await? {
        if let Err((topic, code)) = result {
            eprintln!("could not delete the topic {topic}: {code}");
        }
    }
    Ok(())
}

pub(crate) fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("allow.auto.create.topics", "false");
    config
}
