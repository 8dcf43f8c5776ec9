//! What is asked of Kafka about a topic and its partitions. Each question blocks.

use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::context::SourceContext;
use super::start::Kept;
use crate::kafka::Consumer;

/// How long one question to Kafka may take.
pub(super) const ASK_LIMIT: Duration = Duration::from_secs(5);

/// The client that reads the source topics.
pub(super) type SourceConsumer = Consumer<SourceContext>;

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
