//! Which topics the source topics are, as Kafka says when it is asked.

use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use topic_ids::{Error, TopicId, topic_ids};

use super::context::SourceContext;

/// What Kafka says of the source topics' ids.
#[derive(Debug)]
pub(super) struct Identities {
    /// What the last answer said of each topic: its id, or none where there is no such topic.
    last: Vec<Option<TopicId>>,
    /// Whether the broker understands the question.
    is_supported: bool,
}

impl Identities {
    /// Starts with nothing known of `count` topics.
    pub(super) fn new(count: usize) -> Self {
        Self {
            last: vec![None; count],
            is_supported: true,
        }
    }

    /// Asks which topics have these names now; blocks for at most `limit` and a second.
    ///
    /// # Errors
    /// What Kafka said, when it cannot tell now.
    pub(super) fn ask(
        &mut self,
        client: &Client<SourceContext>,
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
    pub(super) fn of(&self, topic: usize) -> Option<TopicId> {
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
