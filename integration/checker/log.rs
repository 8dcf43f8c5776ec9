//! What Kafka holds at the end: the truth that histories are compared with.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;

use super::event::{Content, EventId, PARTITIONS};

/// How long Kafka may take for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// All records of the topic.
#[derive(Debug, Default)]
pub struct Log {
    /// By partition, in Kafka's order.
    pub partitions: Vec<Vec<Record>>,
    places: HashMap<EventId, Vec<Place>>,
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    pub offset: i64,
    pub id: EventId,
    pub content: Content,
}

/// Where a record is: the partition, and its number among the records of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub partition: usize,
    pub index: usize,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: &'a str,
}

impl Log {
    /// Reads the topic from its beginning to its end. Blocks.
    ///
    /// # Errors
    /// Where Kafka cannot be read, or holds what nobody sent.
    pub fn read(brokers: &str, topic: &str, seed: u64) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "checker")
            .set("enable.auto.commit", "false")
            .create()?;
        let mut log = Self::default();
        for partition in 0..PARTITIONS {
            log.read_partition(&consumer, topic, partition, seed)?;
        }
        Ok(log)
    }

    fn read_partition(
        &mut self,
        consumer: &BaseConsumer,
        topic: &str,
        partition: u32,
        seed: u64,
    ) -> anyhow::Result<()> {
        let number = i32::try_from(partition)?;
        let (low, high) = consumer.fetch_watermarks(topic, number, PATIENCE)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, number, Offset::Offset(low))?;
        consumer.assign(&list)?;
        let mut records = Vec::new();
        let mut next = low;
        let deadline = Instant::now() + PATIENCE;
        while next < high {
            anyhow::ensure!(Instant::now() < deadline, "the topic cannot be read");
            let Some(Ok(record)) = consumer.poll(Duration::from_secs(1)) else {
                continue;
            };
            next = record.offset() + 1;
            let named: Named<'_> = serde_json::from_slice(record.payload().unwrap_or_default())?;
            let id: EventId = named.id.parse()?;
            let place = Place {
                partition: partition as usize,
                index: records.len(),
            };
            self.places.entry(id).or_default().push(place);
            records.push(Record {
                offset: record.offset(),
                id,
                content: id.content(seed),
            });
        }
        self.partitions.push(records);
        Ok(())
    }

    /// Returns where an event is, in the order of offsets; nowhere, once, or more often.
    pub fn places(&self, id: EventId) -> &[Place] {
        self.places.get(&id).map_or(&[], Vec::as_slice)
    }

    pub fn record(&self, place: Place) -> &Record {
        &self.partitions[place.partition][place.index]
    }
}
