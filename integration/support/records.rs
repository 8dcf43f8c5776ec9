//! Records as backends write them and as operators look at them, straight at the broker.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use tokio::sync::Mutex;

use super::gateway::eventually;
use super::kafka::{Backend, Kafka, Unavailable};

/// How long Kafka may take for anything.
const LIMIT: Duration = Duration::from_secs(20);

/// A record as it is in a topic.
#[derive(Debug)]
pub struct Record {
    pub partition: i32,
    pub key: Option<String>,
    pub headers: Vec<(String, String)>,
    pub value: Vec<u8>,
}

impl Record {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.value).unwrap()
    }
}

impl Kafka {
    pub fn brokers(&self) -> String {
        self.address().to_string()
    }

    /// Writes a record and waits for its acknowledgement.
    pub async fn produce(&self, topic: &str, headers: &[(&str, &str)], value: Option<&[u8]>) {
        self.write(topic, None, headers, value).await;
    }

    /// Writes an event in structured mode, without a header, as simple producers do.
    pub async fn produce_json(&self, topic: &str, json: &str) {
        self.write(topic, None, &[], Some(json.as_bytes())).await;
    }

    /// Writes an event to one partition.
    pub async fn produce_to(&self, topic: &str, partition: i32, json: &str) {
        self.write(topic, Some(partition), &[], Some(json.as_bytes()))
            .await;
    }

    /// Writes events to one partition, in order.
    pub async fn produce_all(&self, topic: &str, partition: i32, events: &[Value]) {
        let now_ms = sluicegate::telemetry::now_ms();
        let times: Vec<i64> = events.iter().map(|_| now_ms).collect();
        self.produce_at(topic, partition, events, &times).await;
    }

    /// Writes events to one partition, in order, with the timestamps of their records in
    /// milliseconds.
    pub async fn produce_at(&self, topic: &str, partition: i32, events: &[Value], times: &[i64]) {
        let producer = self.producer_for(topic, partition).await;
        let values: Vec<String> = events.iter().map(Value::to_string).collect();
        let written = values.iter().zip(times).map(|(value, time_ms)| {
            let record = FutureRecord::<[u8], str>::to(topic)
                .partition(partition)
                .timestamp(*time_ms)
                .payload(value.as_str());
            producer.send(record, LIMIT)
        });
        for written in futures_util::future::join_all(written).await {
            written.expect("kafka takes the record");
        }
    }

    async fn write(
        &self,
        topic: &str,
        partition: Option<i32>,
        headers: &[(&str, &str)],
        value: Option<&[u8]>,
    ) {
        let mut owned = OwnedHeaders::new();
        for (key, value) in headers {
            owned = owned.insert(Header {
                key,
                value: Some(*value),
            });
        }
        let producer = self.producer_for(topic, partition.unwrap_or(0)).await;
        let mut record = FutureRecord::<[u8], [u8]>::to(topic).headers(owned);
        record.payload = value;
        record.partition = partition;
        producer
            .send(record, LIMIT)
            .await
            .expect("kafka takes the record");
    }

    pub fn can_add_partitions(&self) -> bool {
        self.backend() == Backend::Apache
    }

    pub async fn partitions(&self, topic: &str) -> i32 {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), LIMIT).unwrap();
        i32::try_from(metadata.topics()[0].partitions().len()).unwrap()
    }

    /// Returns a setting of a topic; `None` also when there is no such topic.
    pub async fn setting_of(&self, topic: &str, key: &str) -> Option<String> {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let asked = [ResourceSpecifier::Topic(topic)];
        let answer = admin.describe_configs(&asked, &AdminOptions::new()).await;
        let topic = answer.expect("kafka answers").pop().expect("a result");
        topic.ok()?.get(key)?.value.clone()
    }

    pub async fn add_partitions(&self, topic: &str, total: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let wanted = [NewPartitions::new(topic, usize::try_from(total).unwrap())];
        let results = admin
            .create_partitions(&wanted, &AdminOptions::new())
            .await
            .unwrap();
        results
            .into_iter()
            .next()
            .unwrap()
            .expect("the topic grows");
    }

    /// Deletes the records of a partition before an offset.
    pub async fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))
            .unwrap();
        admin
            .delete_records(&list, &AdminOptions::new())
            .await
            .expect("kafka deletes the records");
    }

    /// Creates a topic.
    pub async fn create(&'static self, topic: &str, partitions: i32) {
        let topic = topic.to_owned();
        blocking(move || self.create_topic(&topic, partitions)).await;
    }

    /// Deletes a topic and waits until Kafka knows nothing of it.
    pub async fn delete(&'static self, topic: &str) {
        let name = topic.to_owned();
        blocking(move || self.delete_topic(&name)).await;
        let consumer: BaseConsumer = self.client().create().unwrap();
        eventually("the topic is gone", async || {
            let all = consumer.fetch_metadata(None, LIMIT).unwrap();
            all.topics().iter().all(|known| known.name() != topic)
        })
        .await;
    }

    /// Returns the keys of all records of a topic.
    pub async fn keys(&self, topic: &str) -> Vec<Option<String>> {
        let records = self.records(topic).await;
        records.into_iter().map(|(key, _)| key).collect()
    }

    /// Returns the keys and values of all records of a topic.
    pub async fn records(&self, topic: &str) -> Vec<(Option<String>, Vec<u8>)> {
        let records = self.whole_records(topic).await;
        records
            .into_iter()
            .map(|record| (record.key, record.value))
            .collect()
    }

    /// Returns all records of a topic, partition by partition.
    pub async fn whole_records(&self, topic: &str) -> Vec<Record> {
        let mut config = self.client();
        config
            .set("group.id", "records")
            .set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().unwrap();
        let (mut records, began) = (Vec::new(), Instant::now());
        for partition in 0..self.partitions(topic).await {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, Offset::Beginning)
                .unwrap();
            consumer.assign(&list).unwrap();
            loop {
                let message = match consumer.poll(Duration::from_millis(100)) {
                    Some(Ok(message)) => message,
                    Some(Err(KafkaError::PartitionEOF(_))) => break,
                    Some(Err(error)) => panic!("{topic}: {error}"),
                    None => {
                        assert!(began.elapsed() < LIMIT, "{topic} is read in time");
                        continue;
                    }
                };
                let key = message
                    .key()
                    .map(|key| String::from_utf8(key.to_vec()).unwrap());
                let headers = message.headers().map(|headers| {
                    let text = |header: Header<'_, &[u8]>| {
                        let value = header.value.unwrap_or_default().to_vec();
                        (header.key.to_owned(), String::from_utf8(value).unwrap())
                    };
                    headers.iter().map(text).collect()
                });
                records.push(Record {
                    partition,
                    key,
                    headers: headers.unwrap_or_default(),
                    value: message.payload().unwrap_or_default().to_vec(),
                });
            }
        }
        records
    }

    /// Joins a consumer group and waits until it has partitions. Leaves it when dropped.
    pub async fn join_group(&self, group: &str, topic: &str) -> BaseConsumer {
        let mut config = self.client();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        blocking(move || {
            let deadline = Instant::now() + LIMIT;
            while consumer.assignment().unwrap().count() == 0 {
                assert!(Instant::now() < deadline, "the group takes no member");
                if let Some(Err(error)) = consumer.poll(Duration::from_millis(100)) {
                    panic!("the group refuses: {error}");
                }
            }
            consumer
        })
        .await
    }

    /// Returns a producer that knows a partition: a new one is not known everywhere at once.
    async fn producer_for(&self, topic: &str, partition: i32) -> FutureProducer {
        let producer: FutureProducer = self.client().create().unwrap();
        eventually("the partition is known", async || {
            let metadata = producer.client().fetch_metadata(Some(topic), LIMIT);
            let known = metadata.map_or(0, |metadata| metadata.topics()[0].partitions().len());
            i32::try_from(known).unwrap() > partition
        })
        .await;
        producer
    }

    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers());
        config.set("linger.ms", "0");
        config
    }

    /// Returns a broker of the same kind for one test, which is not running yet.
    pub async fn own_stopped(&self) -> OwnKafka {
        OwnKafka::stopped(self.backend()).await
    }
}

/// A broker that one test starts and kills.
pub struct OwnKafka {
    address: std::net::SocketAddr,
    kafka: Mutex<Option<Kafka>>,
}

impl OwnKafka {
    /// Makes a broker that is not running yet.
    pub async fn stopped(backend: Backend) -> Self {
        Self::of(blocking(move || Kafka::not_running(backend)).await)
    }

    /// Takes over a broker.
    pub fn of(kafka: Kafka) -> Self {
        Self {
            address: kafka.address(),
            kafka: Mutex::new(Some(kafka)),
        }
    }

    pub fn brokers(&self) -> String {
        self.address.to_string()
    }

    /// Starts it, with the data that it had when it was killed.
    pub async fn start(&self) {
        self.with(|kafka| kafka.run())
            .await
            .expect("the broker starts");
    }

    /// Kills it as by kill -9.
    pub async fn kill(&self) {
        self.tell(Kafka::kill).await;
    }

    /// Freezes it: its sockets stay open and nothing is answered.
    pub async fn freeze(&self) {
        self.tell(|kafka| kafka.freeze()).await;
    }

    /// Lets it go on after it was frozen.
    pub async fn thaw(&self) {
        self.tell(|kafka| kafka.thaw()).await;
    }

    async fn tell(&self, act: impl FnOnce(&mut Kafka) + Send + 'static) {
        let told = self.with(|kafka| {
            act(kafka);
            Ok(())
        });
        told.await.expect("the broker obeys");
    }

    /// Returns how many connections there are to it, from whatever process; on Linux only.
    pub fn connections(&self) -> usize {
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("a list of sockets");
        // Each line: number, own address, the peer's address, state; all in hexadecimal. 01 is "established".
        let port = format!(":{:04X}", self.address.port());
        let lines = sockets.lines().map(|line| line.split_whitespace());
        lines
            .filter_map(|mut fields| Some((fields.nth(2)?, fields.next()?)))
            .filter(|(peer, state)| peer.ends_with(&port) && *state == "01")
            .count()
    }

    /// Calls a function that blocks and makes runtimes of its own.
    async fn with(
        &self,
        act: impl FnOnce(&mut Kafka) -> Result<(), Unavailable> + Send + 'static,
    ) -> Result<(), Unavailable> {
        let mut place = self.kafka.lock().await;
        let mut kafka = place.take().expect("a broker");
        let (kafka, result) = blocking(move || {
            let result = act(&mut kafka);
            (kafka, result)
        })
        .await;
        *place = Some(kafka);
        result
    }
}

/// Runs what blocks where that is allowed.
async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(act).await.expect("no panic")
}
