//! Writing to Kafka, with Kafka's acknowledgement as the answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};
use thiserror::Error;
use tokio::sync::oneshot;

use super::reports::{Reported, Reporting};
use super::{ConfigError, KafkaConfig};

/// How much longer than librdkafka's own deadline we wait for its report.
const REPORT_GRACE: Duration = Duration::from_secs(1);

/// A record to be written.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingRecord<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The key, which decides the partition; without one the partition is any.
    pub key: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The value; `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
}

/// Where Kafka wrote a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The partition.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
}

/// Why a record is not known to be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProduceError {
    /// Larger than the client or the topic takes. Nothing was written.
    #[error("the record is larger than kafka takes")]
    TooLarge,
    /// Kafka cannot be reached or the queue is full. Nothing was written; another try may succeed.
    #[error("kafka cannot take the record now")]
    Unavailable,
    /// No acknowledgement came in time. The record may have been written, or not.
    #[error("kafka did not acknowledge the record in time")]
    TimedOut,
    /// Kafka refused the record; another try will not help.
    #[error("kafka refused the record: {code}")]
    Refused {
        /// Kafka's reason.
        code: RDKafkaErrorCode,
    },
}

impl ProduceError {
    /// Returns the name in metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unavailable | Self::TimedOut => "unavailable",
            Self::TooLarge | Self::Refused { .. } => "refused",
        }
    }
}

/// Writes records with idempotence and the acknowledgement of all in-sync replicas.
///
/// Cheap to clone; all clones share one client and its queue of at most 64 MiB and 50,000 records.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    config: KafkaConfig,
    patience: Patience,
    client: RwLock<Reporting>,
}

/// How long a record waits for Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// As long as the settings say.
    Configured,
    /// Until Kafka takes it.
    Endless,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Producer {
    /// Makes a producer. It connects by itself, now or whenever Kafka can be reached.
    ///
    /// # Errors
    /// [`ConfigError`] when librdkafka refuses the settings.
    pub fn new(config: &KafkaConfig) -> Result<Self, ConfigError> {
        Self::with(config, Patience::Configured)
    }

    /// Makes a producer whose records wait for Kafka however long it is away, in the order in which they were given.
    ///
    /// On the embedded broker, where there is no idempotence, a record whose acknowledgement was lost is written again.
    ///
    /// # Errors
    /// [`ConfigError`] when librdkafka refuses the settings.
    pub fn patient(config: &KafkaConfig) -> Result<Self, ConfigError> {
        Self::with(config, Patience::Endless)
    }

    fn with(config: &KafkaConfig, patience: Patience) -> Result<Self, ConfigError> {
        let client = connect(config, patience)?;
        let shared = Shared {
            config: config.clone(),
            patience,
            client: RwLock::new(client),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Writes a record and waits for Kafka's acknowledgement, at most the configured timeout, unless this is a
    /// [`Producer::patient`] one.
    ///
    /// Records with the same key keep the order in which this function was first polled.
    ///
    /// # Errors
    /// [`ProduceError`]; each variant says whether something may have been written.
    ///
    /// # Cancel safety
    /// Once polled, the record is on its way: dropping the future gives up the answer only.
    pub async fn produce(&self, record: OutgoingRecord<'_>) -> Result<Delivered, ProduceError> {
        self.start(&record)?.await
    }

    /// Puts a record into the queue, and returns what waits for Kafka's acknowledgement.
    ///
    /// Records with the same key keep the order of the calls.
    ///
    /// # Errors
    /// [`ProduceError`] for a record that is not queued; otherwise as [`Producer::produce`].
    ///
    /// # Cancel safety
    /// The record is on its way: dropping the future gives up the answer only.
    pub fn start(
        &self,
        record: &OutgoingRecord<'_>,
    ) -> Result<impl Future<Output = Result<Delivered, ProduceError>> + Send + use<>, ProduceError>
    {
        let report = self.enqueue(record)?;
        let producer = self.clone();
        Ok(async move {
            match producer.reported(report).await {
                Some(Ok(delivered)) => Ok(delivered),
                Some(Err(error)) => Err(producer.failed(&error)),
                None => Err(ProduceError::TimedOut),
            }
        })
    }

    /// Waits for the report; `None` when the client was replaced after a fatal error, or the report is late.
    async fn reported(&self, report: oneshot::Receiver<Reported>) -> Option<Reported> {
        if self.shared.patience == Patience::Endless {
            return report.await.ok();
        }
        let deadline = self.shared.config.produce_timeout + REPORT_GRACE;
        tokio::time::timeout(deadline, report).await.ok()?.ok()
    }

    /// Waits until nothing is queued or in flight, at most `limit`. Returns whether that came about.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn flush(&self, limit: Duration) -> bool {
        let client = self.shared.client.read().handle();
        let flushed = tokio::task::spawn_blocking(move || client.flush(limit).is_ok());
        flushed.await.unwrap_or(false)
    }

    fn enqueue(
        &self,
        record: &OutgoingRecord<'_>,
    ) -> Result<oneshot::Receiver<Reported>, ProduceError> {
        let (waiting, report) = oneshot::channel();
        let mut outgoing =
            BaseRecord::<[u8], [u8], _>::with_opaque_to(record.topic, Box::new(waiting));
        if let Some(key) = record.key {
            outgoing = outgoing.key(key);
        }
        if let Some(payload) = record.payload {
            outgoing = outgoing.payload(payload);
        }
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            outgoing = outgoing.headers(record.headers.iter().fold(
                headers,
                |headers, (key, value)| {
                    headers.insert(Header {
                        key,
                        value: Some(*value),
                    })
                },
            ));
        }
        let sent = self.shared.client.read().send(outgoing);
        sent.map(|()| report)
            .map_err(|(error, _record)| self.failed(&error))
    }

    /// Classifies an error, and makes a new client if the old one is beyond repair.
    fn failed(&self, error: &KafkaError) -> ProduceError {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let classified = classify(code);
        let is_dead = self.shared.client.read().client().fatal_error().is_some();
        if is_dead {
            self.replace();
        }
        classified
    }

    /// An idempotent producer that lost its place in a partition, as after a re-created topic, never
    /// works again; a new one does.
    fn replace(&self) {
        let mut client = self.shared.client.write();
        let Some((code, reason)) = client.client().fatal_error() else {
            return;
        };
        match connect(&self.shared.config, self.shared.patience) {
            Ok(fresh) => {
                tracing::warn!(%code, reason, "the kafka producer failed for good and is replaced");
                *client = fresh;
            }
            Err(error) => tracing::error!(%error, "the kafka producer cannot be replaced"),
        }
    }
}

fn connect(config: &KafkaConfig, patience: Patience) -> Result<Reporting, ConfigError> {
    let timeout_ms = config.produce_timeout.as_millis().to_string();
    let (message_timeout_ms, records, queue_kib) = match patience {
        Patience::Configured => (timeout_ms.as_str(), "50000", "65536"),
        // Who has patience bounds what waits.
        Patience::Endless => ("0", "1000000", "2097151"),
    };
    // The embedded broker answers a producer that asks for a new epoch, as an idempotent one does
    // after a timeout, by closing the connection, for good. So the client sends each record once:
    // after a lost report a second sending would be a second record. The caller is told, and decides;
    // who has patience has decided.
    let (idempotent, in_flight, retries) = match (config.is_embedded, patience) {
        (true, Patience::Configured) => ("false", "1", "0"),
        (true, Patience::Endless) => ("false", "1", "2147483647"),
        (false, _) => ("true", "5", "2147483647"),
    };
    let client = config.client_with(&[
        ("enable.idempotence", idempotent),
        ("max.in.flight.requests.per.connection", in_flight),
        ("retries", retries),
        ("acks", "all"),
        ("linger.ms", "0"),
        ("message.timeout.ms", message_timeout_ms),
        ("request.timeout.ms", &timeout_ms),
        ("queue.buffering.max.messages", records),
        ("queue.buffering.max.kbytes", queue_kib),
        // Whether a record is too large is the topic's decision; this only bounds the client.
        ("message.max.bytes", "16777216"),
        ("compression.type", "none"),
        // Records of one key go where those of Java's producers go.
        ("partitioner", "murmur2_random"),
    ]);
    let client = client.create_with_context(config.quiet())?;
    Reporting::new(client).map_err(ConfigError::Thread)
}

/// Maps librdkafka's codes to what a caller can do about them.
const fn classify(code: RDKafkaErrorCode) -> ProduceError {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => ProduceError::TooLarge,
        Code::MessageTimedOut | Code::RequestTimedOut | Code::OperationTimedOut => {
            ProduceError::TimedOut
        }
        Code::NotEnoughReplicasAfterAppend | Code::Fatal | Code::PurgeInflight => {
            ProduceError::TimedOut
        }
        Code::InvalidTopic
        | Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::PolicyViolation
        | Code::InvalidRecord
        | Code::InvalidMessage
        | Code::InvalidTimestamp
        | Code::UnsupportedForMessageFormat => ProduceError::Refused { code },
        _ => ProduceError::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_whether_another_try_may_help() {
        use RDKafkaErrorCode as Code;
        for (code, expected) in [
            (Code::MessageSizeTooLarge, ProduceError::TooLarge),
            (Code::QueueFull, ProduceError::Unavailable),
            (Code::BrokerTransportFailure, ProduceError::Unavailable),
            (Code::AllBrokersDown, ProduceError::Unavailable),
            (Code::NotEnoughReplicas, ProduceError::Unavailable),
            (Code::MessageTimedOut, ProduceError::TimedOut),
            (Code::NotEnoughReplicasAfterAppend, ProduceError::TimedOut),
            (
                Code::InvalidTopic,
                ProduceError::Refused {
                    code: Code::InvalidTopic,
                },
            ),
            (
                Code::TopicAuthorizationFailed,
                ProduceError::Refused {
                    code: Code::TopicAuthorizationFailed,
                },
            ),
        ] {
            assert_eq!(classify(code), expected, "{code:?}");
        }
    }
}
