//! Consumers that do nothing but read: what rdkafka itself reaches, with its defaults.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::event::Moment;
use crate::producer::config;

/// How long an answer of the broker may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long nothing may come.
const SILENCE: Duration = Duration::from_secs(30);
/// After how many records is looked at the clock.
const LOOK_EVERY: u64 = 1_000;

/// Where each partition of a topic ends.
pub(crate) type Ends = Vec<(i32, i64)>;

/// Returns a consumer that has nothing to read yet.
pub(crate) fn consumer(brokers: &str) -> anyhow::Result<BaseConsumer> {
    Ok(config(brokers)
        .set("group.id", "sluicegate-bench")
        .set("enable.auto.commit", "false")
        .create()?)
}

/// Asks the broker for the partitions of a topic and where they end.
///
/// Blocks: for a thread of its own.
pub(crate) fn ask_ends(consumer: &BaseConsumer, topic: &str) -> anyhow::Result<Ends> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let topics = metadata.topics();
    let found = topics.first().context("there is no such topic")?;
    let partitions = found.partitions().iter().map(|partition| {
        let (_, end) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE)?;
        Ok((partition.id(), end))
    });
    partitions.collect()
}

/// Returns where the partitions of a topic end now.
pub(crate) async fn ends(brokers: String, topic: String) -> anyhow::Result<Ends> {
    let asking = move || ask_ends(&consumer(&brokers)?, &topic);
    tokio::task::spawn_blocking(asking).await?
}

/// Lets a consumer read a topic from these places on.
pub(crate) fn assign(consumer: &BaseConsumer, topic: &str, from: &Ends) -> anyhow::Result<()> {
    let mut partitions = TopicPartitionList::new();
    for (partition, offset) in from {
        partitions.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    Ok(consumer.assign(&partitions)?)
}

/// Reads so many records that follow these places; returns when how many were read.
pub(crate) async fn count(
    brokers: String,
    topic: String,
    from: Ends,
    count: u64,
) -> anyhow::Result<Vec<(Moment, u64)>> {
    tokio::task::spawn_blocking(move || {
        let consumer = consumer(&brokers)?;
        assign(&consumer, &topic, &from)?;
        let mut seen = vec![(Moment::now(), 0)];
        let (mut records, mut bytes, mut since) = (0, 0, Instant::now());
        while records < count {
            match consumer.poll(Duration::from_millis(100)) {
                Some(message) => {
                    bytes += message?.payload_len();
                    records += 1;
                    if records % LOOK_EVERY == 0 || records == count {
                        since = Instant::now();
                        seen.push((Moment::now(), records));
                    }
                }
                None => ensure!(since.elapsed() < SILENCE, "nothing comes any more"),
            }
        }
        ensure!(bytes > 0, "the records are empty");
        Ok(seen)
    })
    .await?
}
