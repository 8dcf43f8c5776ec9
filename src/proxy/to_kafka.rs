//! Routes to Kafka: a request becomes a record.

use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::answers::{Answer, Answers, CORRELATION_HEADER, Sending, Sent};
use super::call::Call;
use super::command_event::{CommandConfig, CommandEvent};
use super::event_data::EventData;
use super::route::KafkaTarget;
use crate::avro::{AvroSchema, Mismatch, Registry, RegistryError, Serializer};
use crate::event::{JSON_EVENT, Members, string_value};
use crate::http::{HttpError, Reply};
use crate::kafka::{OutgoingRecord, ProduceError, Producer};
use crate::telemetry::Metrics;

const AVRO: &[u8] = b"avro/binary";
/// Members that are no attributes, or are not true any more once the data is Avro.
const NOT_IN_HEADERS: [&str; 6] = [
    "data",
    "data_base64",
    "datacontenttype",
    "datacontentencoding",
    "contenttype",
    "contentType",
];

/// Writes commands to Kafka.
#[derive(Debug)]
pub(super) struct ToKafka {
    /// Writes records.
    pub(super) producer: Producer,
    /// Waits for answers.
    pub(super) answers: Answers,
    /// Has the schemas, if there is a registry.
    pub(super) registry: Option<Registry>,
    /// How the data of routes with a schema is written.
    pub(super) serializer: Serializer,
    /// How requests become events.
    pub(super) config: CommandConfig,
    /// Counts the records.
    pub(super) metrics: Metrics,
}

/// What a record is made of, but for what is known only when it is sent.
struct Outgoing {
    topic: Box<str>,
    key: Option<Vec<u8>>,
    event: CommandEvent,
    /// The data as Avro; `None` for an event in JSON.
    avro: Option<Vec<u8>>,
    waits: bool,
}

impl ToKafka {
    /// Writes the record of a request, and answers 202 once Kafka has acknowledged it; or, where the route says so,
    /// waits for the answer.
    ///
    /// # Errors
    /// 400, 413 or 415 for a body that cannot be taken, and 400 for data that its schema does not take: then nothing was
    /// written. 503 while Kafka does not acknowledge or there is no schema, 502 where Kafka refuses the record, and what
    /// [`Answers::run_once`] refuses.
    ///
    /// # Cancel safety
    /// Dropping the future or the reply ends the wait for the answer; the record may be written.
    pub(super) async fn call(
        &self,
        mut call: Call,
        target: &KafkaTarget,
    ) -> Result<Reply, HttpError> {
        let event = CommandEvent::read(&mut call, &self.config).await?;
        let command = event.command(&call)?;
        let outgoing = Outgoing {
            topic: target.topic.clone(),
            key: event.key(&call, &target.key),
            avro: self.encode(target.schema.as_deref(), &event).await?,
            event,
            waits: call.route.answer_from.comes_later(),
        };
        let (producer, metrics) = (self.producer.clone(), self.metrics.clone());
        let send = |sending| outgoing.send(sending, producer, metrics);
        self.answers.run_once(command, send).await
    }

    /// Encodes the data, if the route has a schema.
    async fn encode(
        &self,
        subject: Option<&str>,
        event: &CommandEvent,
    ) -> Result<Option<Vec<u8>>, HttpError> {
        let (Some(subject), Serializer::Avro) = (subject, self.serializer) else {
            return Ok(None);
        };
        let registry = self.registry.as_ref().ok_or_else(no_registry)?;
        let schema = registry.latest(subject).await.map_err(no_schema)?;
        let data = EventData::of(event.event())?;
        let encoded = encode(&schema, &data).map_err(|mismatch| misfit(&mismatch))?;
        Ok(Some(encoded))
    }
}

impl Outgoing {
    async fn send(
        self,
        sending: Sending,
        producer: Producer,
        metrics: Metrics,
    ) -> Result<Sent, HttpError> {
        let correlation = self.waits.then_some(sending.correlation.as_str());
        let json = self.event.to_json(correlation, &sending.event_id);
        let attributes = match &self.avro {
            Some(_) => attributes(&json)?,
            None => Vec::new(),
        };
        let content_type = if self.avro.is_some() {
            AVRO
        } else {
            JSON_EVENT.as_bytes()
        };
        let mut headers = vec![("content-type", content_type)];
        headers.extend(correlation.map(|id| (CORRELATION_HEADER, id.as_bytes())));
        headers.extend(
            attributes
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes())),
        );
        let record = OutgoingRecord {
            topic: &self.topic,
            key: self.key.as_deref(),
            headers: &headers,
            payload: Some(self.avro.as_deref().unwrap_or(&json)),
        };
        let began = Instant::now();
        let written = producer.produce(record).await.map(|_| ());
        metrics.count_produced(
            began.elapsed(),
            written.as_ref().copied().map_err(ProduceError::name),
        );
        written?;
        Ok(if self.waits {
            Sent::Waits
        } else {
            Sent::Done(Answer::new(StatusCode::ACCEPTED, "Accepted.").with_type("text/plain"))
        })
    }
}

fn encode(schema: &AvroSchema, data: &EventData) -> Result<Vec<u8>, Mismatch> {
    match data {
        EventData::Json(value) => schema.encode(value),
        EventData::Bytes(bytes) => schema.encode_bytes(bytes),
        EventData::None => schema.encode(&Value::Null),
    }
}

/// Returns the headers of an event whose data is the value of the record (CloudEvents, Kafka binding, 3.2.3); what is
/// no string, as it stands in JSON.
fn attributes(json: &Bytes) -> Result<Vec<(String, String)>, HttpError> {
    let text = std::str::from_utf8(json).map_err(HttpError::internal)?;
    let members = Members::parse(text).map_err(HttpError::internal)?;
    let attributes = members
        .iter()
        .filter(|(name, raw)| !NOT_IN_HEADERS.contains(name) && *raw != "null");
    Ok(attributes
        .map(|(name, raw)| {
            let value = string_value(raw).map_or_else(|| raw.to_owned(), Into::into);
            (format!("ce_{name}"), value)
        })
        .collect())
}

fn misfit(mismatch: &Mismatch) -> HttpError {
    HttpError::bad_request(
        "data_does_not_fit",
        format!("The data does not fit the schema of this route: {mismatch}."),
    )
}

fn no_schema(error: RegistryError) -> HttpError {
    unavailable().with_cause(error)
}

fn no_registry() -> HttpError {
    unavailable().with_cause("the route has a schema, but KAFKA_SCHEMA_REGISTRY_HOST is not set")
}

fn unavailable() -> HttpError {
    HttpError::unavailable(
        "schema_unavailable",
        "The schema of this route cannot be had now; nothing was written.",
        std::time::Duration::from_secs(5),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_headers_and_data_is_not() {
        let json = Bytes::from_static(
            br#"{"specversion":"0.2","type":"t\u00e4","id":7,"extension":{"a": 1},"flag":true,"gone":null,"data":{},"contenttype":"application/json","rig":{"correlation":"c"}}"#,
        );
        let headers = attributes(&json).unwrap();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(
            headers,
            [
                ("ce_specversion", "0.2"),
                ("ce_type", "tä"),
                ("ce_id", "7"),
                ("ce_extension", "{\"a\": 1}"),
                ("ce_flag", "true"),
                ("ce_rig", "{\"correlation\":\"c\"}"),
            ]
        );
    }

    #[test]
    fn data_is_encoded_by_its_kind() {
        let schema = |text| AvroSchema::parse(1, text, &[]).unwrap();
        let string = schema("\"string\"");
        assert!(encode(&string, &EventData::Json("x".into())).is_ok());
        assert!(encode(&string, &EventData::Bytes(vec![1])).is_err());
        assert!(encode(&string, &EventData::None).is_err());
        assert!(encode(&schema("\"bytes\""), &EventData::Bytes(vec![0xff])).is_ok());
        assert!(encode(&schema("[\"null\", \"bytes\"]"), &EventData::None).is_ok());
    }
}
