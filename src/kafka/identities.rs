//! Which topics have certain names, and how many partitions they have, as Kafka says when it is asked.

use std::time::Duration;

use librdkafka_calls::{Error, TopicId, topic_ids};
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

/// Returns the number of partitions of a topic, or `None` when there is no such topic. Blocks for at most `limit`.
///
/// # Errors
/// What Kafka said, or that it cannot be reached.
pub fn partition_count<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    name: &str,
    limit: Duration,
) -> KafkaResult<Option<i32>> {
    let metadata = consumer.fetch_metadata(Some(name), limit)?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
        return Ok(None);
    };
    match topic.error() {
        None => Ok(i32::try_from(topic.partitions().len())
            .ok()
            .filter(|count| *count > 0)),
        Some(
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
        ) => Ok(None),
        Some(error) => Err(KafkaError::MetadataFetch(error.into())),
    }
}

/// What Kafka says of the ids of some topics.
#[derive(Debug)]
pub struct Identities {
    /// What the last answer said of each topic: its id, or none where there is no such topic.
    last: Vec<Option<TopicId>>,
    /// Whether the broker understands the question.
    is_supported: bool,
}

impl Identities {
    /// Starts with nothing known of `count` topics.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            last: vec![None; count],
            is_supported: true,
        }
    }

    /// Asks which topics have these names now; blocks for at most `limit` and a second.
    ///
    /// # Errors
    /// What Kafka said, when it cannot tell now.
    pub fn ask<C: ClientContext>(
        &mut self,
        client: &Client<C>,
        names: &[&str],
        limit: Duration,
    ) -> KafkaResult<()> {
        if !self.is_supported {
            return Ok(());
        }
        let answers = match topic_ids(client, names, limit) {
            Ok(answers) => answers,
            Err(Error::Kafka { code, reason }) if is_unsupported(code) => {
                tracing::info!(
                    reason,
                    "the broker gives topics no ids; one that is made anew may go unnoticed"
                );
                self.is_supported = false;
                return Ok(());
            }
            Err(Error::Kafka { code, .. }) => return Err(KafkaError::MetadataFetch(code)),
            Err(Error::Client | Error::Name(_)) => {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::Fail));
            }
        };
        for (name, last) in names.iter().zip(&mut self.last) {
            let answer = answers.iter().find(|(told, _)| told == name);
            *last = match answer.map(|(_, described)| described) {
                Some(Ok(id)) => Some(*id),
                Some(Err(
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
                ))
                | None => None,
                Some(Err(code)) => return Err(KafkaError::MetadataFetch(*code)),
            };
        }
        Ok(())
    }

    /// Returns the id of a topic as of the last answer: unknown where the broker gives none, and
    /// `None` where there was no such topic.
    #[must_use]
    pub fn of(&self, topic: usize) -> Option<TopicId> {
        if self.is_supported {
            self.last.get(topic).copied().flatten()
        } else {
            Some(TopicId::UNKNOWN)
        }
    }
}

/// Returns whether the broker, or what it is asked over, does not know the question.
const fn is_unsupported(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnsupportedFeature
            | RDKafkaErrorCode::UnsupportedVersion
            | RDKafkaErrorCode::InvalidRequest
    )
}
