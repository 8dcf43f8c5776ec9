//! Creating the topics that Sluicegate needs.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use thiserror::Error;
use tokio::runtime::Runtime;

use super::{ConfigError, KafkaConfig, QuietContext};

/// How long Kafka may take to create topics.
const CREATE_LIMIT: Duration = Duration::from_secs(10);

/// A topic as it is created when it does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// The name.
    pub name: String,
    /// The number of partitions.
    pub partitions: i32,
    /// Settings of the topic, such as `cleanup.policy`.
    pub config: Vec<(&'static str, String)>,
}

impl TopicSpec {
    /// Returns a topic whose records are dropped after the time that the broker keeps records for.
    #[must_use]
    pub fn of_records(name: &str, partitions: i32) -> Self {
        Self {
            name: name.to_owned(),
            partitions,
            // Kafka's default, but the embedded broker would keep records for ever without it.
            config: vec![("cleanup.policy", "delete".to_owned())],
        }
    }
}

/// Why a topic does not exist and could not be created.
#[derive(Debug, Error)]
pub enum TopicError {
    /// No client can be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Kafka cannot be reached, or did not answer in time.
    #[error("kafka did not answer the request to create topics")]
    Unavailable(#[source] KafkaError),
    /// Kafka refuses to create the topic.
    #[error(
        "topic {topic} does not exist and kafka refuses to create it ({code}); create it, or allow it"
    )]
    Refused {
        /// The topic.
        topic: String,
        /// Kafka's reason.
        code: RDKafkaErrorCode,
    },
}

/// Creates each of `topics` that does not exist, with the broker's default replication.
///
/// Topics that exist are left as they are, and are enough where creating is not allowed.
///
/// # Errors
/// [`TopicError`] for the first topic that neither exists nor can be created.
///
/// # Cancel safety
/// Dropping the future may leave some topics created.
pub async fn ensure_topics(config: &KafkaConfig, topics: &[TopicSpec]) -> Result<(), TopicError> {
    if topics.is_empty() {
        return Ok(());
    }
    let admin: AdminClient<QuietContext> = config
        .client()
        .create_with_context(config.quiet())
        .map_err(ConfigError::from)?;
    let options = AdminOptions::new()
        .request_timeout(Some(CREATE_LIMIT))
        .operation_timeout(Some(CREATE_LIMIT));
    let specs: Vec<_> = topics.iter().map(new_topic).collect();
    let results = admin
        .create_topics(&specs, &options)
        .await
        .map_err(TopicError::Unavailable)?;
    let mut refused = Vec::new();
    for result in results {
        match result {
            Ok(topic) => tracing::info!(topic, "created the topic"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err(refusal) => refused.push(refusal),
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let config = config.clone();
    let existing = tokio::task::spawn_blocking(move || existing_topics(&config));
    let existing = existing.await.unwrap_or_else(|_panic| {
        Err(TopicError::Unavailable(KafkaError::AdminOp(
            RDKafkaErrorCode::Fail,
        )))
    })?;
    match refused
        .into_iter()
        .find(|(topic, _)| !existing.contains(topic))
    {
        Some((topic, code)) => Err(TopicError::Refused { topic, code }),
        None => Ok(()),
    }
}

/// Creates the missing topic `name` of records, called `what` in the log, if it is to have `partitions`.
///
/// Returns whether it is settled: nothing more can be done about it now. Blocks for as long as Kafka takes, at most
/// some seconds.
pub fn create_missing(
    config: &KafkaConfig,
    runtime: &Runtime,
    what: &str,
    name: &str,
    partitions: Option<i32>,
) -> bool {
    let Some(partitions) = partitions else {
        let log = &config.log;
        log.warn(format_args!("the {what} {name} does not exist"));
        return true;
    };
    let spec = TopicSpec::of_records(name, partitions);
    match runtime.block_on(ensure_topics(config, &[spec])) {
        // The next look finds it, once all brokers know it.
        Ok(()) | Err(TopicError::Unavailable(_)) => false,
        Err(error) => {
            config.log.warn(format_args!("{error}"));
            true
        }
    }
}

fn new_topic(spec: &TopicSpec) -> NewTopic<'_> {
    // Replication -1 is the broker's default (KIP-464).
    let topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(-1));
    spec.config
        .iter()
        .fold(topic, |topic, (key, value)| topic.set(key, value))
}

/// Lists the topics by a consumer, whose metadata requests create none.
fn existing_topics(config: &KafkaConfig) -> Result<Vec<String>, TopicError> {
    let consumer: BaseConsumer<QuietContext> = config
        .consumer("sluicegate-topics", &[])
        .create_with_context(config.quiet())
        .map_err(ConfigError::from)?;
    let metadata = consumer
        .fetch_metadata(None, CREATE_LIMIT)
        .map_err(TopicError::Unavailable)?;
    Ok(metadata
        .topics()
        .iter()
        .map(|topic| topic.name().to_owned())
        .collect())
}
