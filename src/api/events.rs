//! Events that clients and backends submit over HTTP: they go to Kafka, and come back from there.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::access::{Access, Rates, Visitor};
use crate::event::{BatchError, CloudEvent, Submission, SubmissionError, decode_http};
use crate::http::{Body, HttpError, Request};
use crate::kafka::{ProduceError, Producer};
use crate::source::EventWriter;
use crate::telemetry::Metrics;

/// How events are submitted.
#[derive(Debug, Clone, clap::Args)]
pub struct SubmissionConfig {
    /// Topic that submitted events are written to; by default the first source topic
    #[arg(long, value_name = "TOPIC", help_heading = "Submission")]
    pub kafka_produce_topic: Option<String>,
    /// Attribute whose value is the record's key
    #[arg(
        long,
        value_name = "ATTRIBUTE",
        default_value = "partitionkey",
        help_heading = "Submission"
    )]
    pub kafka_produce_key: String,
    /// Largest request body with events
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = crate::settings::bytes, help_heading = "Submission")]
    pub max_submission_bytes: usize,
}

impl SubmissionConfig {
    /// Makes what writes the events; the topic is the configured one or `default_topic`.
    #[must_use]
    pub fn writer(&self, default_topic: &str, producer: Producer, metrics: Metrics) -> EventWriter {
        let topic = self.kafka_produce_topic.as_deref().unwrap_or(default_topic);
        EventWriter::new(topic, &self.kafka_produce_key, producer, metrics)
    }
}

/// The most events in one batch.
const MAX_BATCH_EVENTS: usize = 1000;

/// Takes events in.
#[derive(Debug, Clone)]
pub struct Submissions {
    max_bytes: usize,
    writer: EventWriter,
    rates: Arc<Rates>,
    metrics: Metrics,
}

impl Submissions {
    /// Takes requests of at most `max_bytes`, and hands their events to `writer`.
    #[must_use]
    pub fn new(max_bytes: usize, writer: EventWriter, rates: Rates, metrics: Metrics) -> Self {
        Self {
            max_bytes,
            writer,
            rates: Arc::new(rates),
            metrics,
        }
    }

    /// Answers 202 once Kafka has acknowledged all events of the request.
    ///
    /// Without `access` everybody may submit. One event is answered with itself, a batch with a list that has a result for each.
    ///
    /// # Errors
    /// 400, 413 or 415 for what cannot be taken, 401 and 403 for what `access` does not allow: then nothing
    /// was written, as with 429 over the limit of the client's session or, without one, address. 503 or 504 while Kafka does
    /// not acknowledge; for a batch, the answer says which events were written.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open which events are written.
    pub async fn submit(
        &self,
        request: &mut Request,
        access: Option<&Access>,
    ) -> Result<Response<Body>, HttpError> {
        let visitor = match access {
            Some(access) => access.identify(request, &request.query()?).await?,
            None => Visitor::default(),
        };
        let body = request.body(self.max_bytes).await?;
        let submission = decode_http(&request.headers, body.clone());
        let submission = submission.map_err(|error| self.refused(&error))?;
        if let Some(access) = access {
            let (sessions, address) = (visitor.sessions(), request.client_address());
            let count = submission.events().len();
            self.rates.admit(&sessions, address, count)?;
            let asked = (&request.headers, &body);
            access
                .check_submission(&visitor, submission.events(), asked)
                .await?;
        }
        match submission {
            Submission::One(event) => {
                HttpError::check_type(&event)?;
                self.writer.write(&event).await?;
                Ok(accepted(event.json().clone()))
            }
            Submission::Batch(events) => self.submit_batch(&events).await,
        }
    }

    async fn submit_batch(&self, events: &[CloudEvent]) -> Result<Response<Body>, HttpError> {
        if events.len() > MAX_BATCH_EVENTS {
            return Err(HttpError::bad_request(
                "batch_too_long",
                format!(
                    "A batch has at most {MAX_BATCH_EVENTS} events, this one has {}.",
                    events.len()
                ),
            ));
        }
        for event in events {
            HttpError::check_type(event)?;
        }
        // All are polled in order at first, which is the order in which they go to Kafka.
        let written = join_all(events.iter().map(|event| self.writer.write(event))).await;
        let results: Vec<Value> = events
            .iter()
            .zip(&written)
            .map(|(event, written)| result(event, written))
            .collect();
        match written.into_iter().find_map(Result::err) {
            None => Ok(accepted(Value::Array(results).to_string().into())),
            Some(error) => {
                Err(HttpError::from(error).with_member("results", Value::Array(results)))
            }
        }
    }

    fn refused(&self, error: &SubmissionError) -> HttpError {
        self.metrics.produced.with_label_values(&["refused"]).inc();
        match error {
            SubmissionError::Batch(BatchError::Invalid { invalid, .. }) => {
                let errors = invalid
                    .iter()
                    .map(|(index, fault)| json!({ "index": index, "detail": fault.to_string() }));
                HttpError::not_an_event(error).with_member("errors", errors.collect())
            }
            _ => HttpError::not_an_event(error),
        }
    }
}

fn result(event: &CloudEvent, written: &Result<(), ProduceError>) -> Value {
    let status = match written {
        Ok(()) => StatusCode::ACCEPTED,
        Err(error) => HttpError::from(error.clone()).status(),
    };
    let mut result =
        json!({ "id": event.id(), "source": event.source(), "status": status.as_u16() });
    if let (Err(error), Some(members)) = (written, result.as_object_mut()) {
        members.insert("detail".to_owned(), Value::String(error.to_string()));
    }
    result
}

fn accepted(body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
