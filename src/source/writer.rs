//! Writes events to Kafka that came in over other ways.

use std::sync::Arc;
use std::time::Instant;

use crate::event::{CloudEvent, JSON_EVENT};
use crate::kafka::{OutgoingRecord, ProduceError, Producer};
use crate::telemetry::Metrics;

/// Writes events to one topic. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventWriter {
    topic: Arc<str>,
    /// The attribute whose value is the record's key.
    key: Arc<str>,
    producer: Producer,
    metrics: Metrics,
}

impl EventWriter {
    /// Writes to `topic`, with the value of the attribute `key` as the key.
    #[must_use]
    pub fn new(topic: &str, key: &str, producer: Producer, metrics: Metrics) -> Self {
        Self {
            topic: topic.into(),
            key: key.into(),
            producer,
            metrics,
        }
    }

    /// Writes an event and waits for Kafka's acknowledgement.
    ///
    /// Events with the same key keep the order in which this function was first polled.
    ///
    /// # Errors
    /// [`ProduceError`]; each variant says whether it may have been written.
    ///
    /// # Cancel safety
    /// Once polled, the event is on its way: dropping the future gives up the answer only.
    pub async fn write(&self, event: &CloudEvent) -> Result<(), ProduceError> {
        self.start(event)?.await
    }

    /// Puts an event into the producer's queue, and returns what waits for Kafka's acknowledgement.
    ///
    /// Events with the same key keep the order of the calls.
    ///
    /// # Errors
    /// [`ProduceError`] for an event that is not queued; otherwise as [`EventWriter::write`].
    ///
    /// # Cancel safety
    /// The event is on its way: dropping the future gives up the answer only.
    pub fn start(
        &self,
        event: &CloudEvent,
    ) -> Result<impl Future<Output = Result<(), ProduceError>> + Send + use<>, ProduceError> {
        let key = event.attribute(&self.key);
        let record = OutgoingRecord {
            topic: &self.topic,
            key: key.as_ref().map(|key| key.as_bytes()),
            headers: &[("content-type", JSON_EVENT.as_bytes())],
            payload: Some(event.json()),
        };
        let began = Instant::now();
        let metrics = self.metrics.clone();
        let count = move |written: Result<(), &ProduceError>| {
            metrics.count_produced(began.elapsed(), written.map_err(ProduceError::name));
        };
        let waiting = (self.producer.start(&record)).inspect_err(|error| count(Err(error)))?;
        Ok(async move {
            let written = waiting.await.map(|_| ());
            count(written.as_ref().copied());
            written
        })
    }
}
