//! What is asked of Kafka about a topic and its partitions. Each question blocks.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::context::SourceContext;
use super::start::Kept;

/// How long one question to Kafka may take.
pub(super) const ASK_LIMIT: Duration = Duration::from_secs(5);

/// The client that reads the source topics.
pub(super) type SourceConsumer = BaseConsumer<SourceContext>;

/// Returns the number of partitions of a topic, or `None` when there is no such topic.
pub(super) fn partition_count(consumer: &SourceConsumer, name: &str) -> KafkaResult<Option<i32>> {
    let metadata = consumer.fetch_metadata(Some(name), ASK_LIMIT)?;
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

/// Returns what the group has committed for each partition.
pub(super) fn committed(
    consumer: &SourceConsumer,
    name: &str,
    numbers: &[i32],
) -> KafkaResult<Vec<(i32, Option<i64>)>> {
    let mut list = TopicPartitionList::with_capacity(numbers.len());
    for number in numbers {
        list.add_partition(name, *number);
    }
    let answer = consumer.committed_offsets(list, ASK_LIMIT)?;
    let offset = |offset| match offset {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    answer
        .elements()
        .iter()
        .map(|element| {
            element
                .error()
                .map(|()| (element.partition(), offset(element.offset())))
        })
        .collect()
}

/// Returns what a partition holds.
pub(super) fn kept(consumer: &SourceConsumer, name: &str, number: i32) -> KafkaResult<Kept> {
    let (first, end) = consumer.fetch_watermarks(name, number, ASK_LIMIT)?;
    Ok(Kept { first, end })
}
