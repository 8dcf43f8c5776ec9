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
        let mut list = TopicPartitionList::new();
        let mut ends = Vec::new();
        for partition in 0..i32::try_from(PARTITIONS)? {
            let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
            list.add_partition_offset(topic, partition, Offset::Offset(low))?;
            ends.push((low, high));
        }
        consumer.assign(&list)?;
        let mut log = Self {
            partitions: ends.iter().map(|_| Vec::new()).collect(),
            places: HashMap::new(),
        };
        let deadline = Instant::now() + PATIENCE;
        while ends.iter().any(|(next, high)| next < high) {
            anyhow::ensure!(Instant::now() < deadline, "the topic cannot be read");
            if let Some(Ok(record)) = consumer.poll(Duration::from_secs(1)) {
                let partition = usize::try_from(record.partition())?;
                ends[partition].0 = record.offset() + 1;
                log.append(partition, record.offset(), record.payload(), seed)?;
            }
        }
        Ok(log)
    }

    fn append(
        &mut self,
        partition: usize,
        offset: i64,
        payload: Option<&[u8]>,
        seed: u64,
    ) -> anyhow::Result<()> {
        let named: Named<'_> = serde_json::from_slice(payload.unwrap_or_default())?;
        let id: EventId = named.id.parse()?;
        let records = &mut self.partitions[partition];
        let index = records.len();
        records.push(Record {
            offset,
            id,
            content: id.content(seed),
        });
        let place = Place { partition, index };
        self.places.entry(id).or_default().push(place);
        Ok(())
    }

    /// Returns where an event is, in the order of offsets; nowhere, once, or more often.
    pub fn places(&self, id: EventId) -> &[Place] {
        self.places.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Returns how many events are there more than once.
    pub fn repeated(&self) -> usize {
        let all = self.places.values();
        all.filter(|places| places.len() > 1).count()
    }

    pub fn record(&self, place: Place) -> &Record {
        &self.partitions[place.partition][place.index]
    }
}
