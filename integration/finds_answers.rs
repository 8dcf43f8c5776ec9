//! Answers over Kafka reach their clients whatever happens to the response topics.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::gateway::{Gateway, Settings, eventually, unique, within};
use crate::support::http::{self, Answer};
use crate::support::kafka::Kafka;

/// How long one call to Kafka may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How long it may take until everything flows again after an outage.
const HEALED: Duration = Duration::from_secs(60);

/// An instance with a route whose answers come over Kafka, and whoever answers.
struct Asked {
    gateway: Gateway,
    brokers: ClientConfig,
    commands: BaseConsumer,
}

impl Asked {
    /// Starts an instance that finds its topics and creates none: it would be quicker than a test that makes one anew.
    async fn without_creating(kafka: &'static Kafka, settings: Settings) -> Self {
        let settings = settings.with("KAFKA_CREATE_TOPICS", "false");
        for topic in [settings.topic().to_owned(), commands_of(&settings)] {
            kafka.create(&topic, 1).await;
        }
        Self::with(settings).await
    }

    async fn with(settings: Settings) -> Self {
        let topic = commands_of(&settings);
        let api = json!([{ "id": "a", "name": "a", "version_data": { "default": { "endpoints": [{
            "id": "ask", "method": "POST", "path_regex": "/ask",
            "target": "kafka", "topic": topic, "response_from": "kafka",
        }]}}}]);
        let settings = settings
            .with("PROXY_CONFIG_FILE", api.to_string())
            .with("PROXY_KAFKA_RESPONSE_TIMEOUT", "90s");
        let mut brokers = ClientConfig::new();
        brokers
            .set("bootstrap.servers", settings.get("KAFKA_BROKERS"))
            .set("group.id", "worker")
            .set("reconnect.backoff.max.ms", "1000");
        let gateway = Gateway::with(settings).await;
        let commands: BaseConsumer = brokers.create().unwrap();
        let mut list = TopicPartitionList::new();
        eventually("the topic of commands is there", async || {
            let metadata = commands.fetch_metadata(Some(&topic), LIMIT);
            metadata.is_ok_and(|metadata| !metadata.topics()[0].partitions().is_empty())
        })
        .await;
        let metadata = commands.fetch_metadata(Some(&topic), LIMIT).unwrap();
        for partition in metadata.topics()[0].partitions() {
            list.add_partition_offset(&topic, partition.id(), Offset::Beginning)
                .unwrap();
        }
        commands.assign(&list).unwrap();
        Self {
            gateway,
            brokers,
            commands,
        }
    }

    /// Sends a command; returns the id under which it is answered, and the client that waits.
    async fn ask(&self) -> (String, JoinHandle<Answer>) {
        let public = self.gateway.public();
        let client =
            tokio::spawn(async move { http::request(public, "POST", "/ask", &[], b"?").await });
        let mut id = None;
        within(HEALED, "the command is written", async || {
            if let Some(Ok(message)) = self.commands.poll(Duration::from_millis(20)) {
                let headers = message.headers().expect("headers");
                let header = headers
                    .iter()
                    .find(|header| header.key == "rig-correlation");
                let value = header.and_then(|header| header.value).expect("an id");
                id = Some(String::from_utf8(value.to_vec()).unwrap());
            }
            assert!(!client.is_finished() || id.is_some(), "it was refused");
            id.is_some()
        })
        .await;
        (id.expect("an id"), client)
    }

    async fn answer(&self, id: &str, topic: &str, partition: i32) {
        let producer: FutureProducer = self.brokers.create().unwrap();
        // A new partition is not known everywhere at once.
        eventually("the partition is known", async || {
            let metadata = producer.client().fetch_metadata(Some(topic), LIMIT);
            let known = metadata.map_or(0, |metadata| metadata.topics()[0].partitions().len());
            i32::try_from(known).unwrap() > partition
        })
        .await;
        let answer = json!({ "rigcorrelation": id, "rigresponsecode": 201, "data": "!" });
        let answer = answer.to_string();
        let record = FutureRecord::<[u8], str>::to(topic).partition(partition);
        let written = producer.send(record.payload(&answer), LIMIT).await;
        written.expect("kafka takes the answer");
    }

    /// Sends a command, answers it in a partition of a topic, and checks that its client gets that.
    async fn is_answered(&self, topic: &str, partition: i32) {
        let (id, client) = self.ask().await;
        self.answer(&id, topic, partition).await;
        came(client).await;
    }
}

/// Returns the topic to which an instance with these settings writes commands.
fn commands_of(settings: &Settings) -> String {
    format!("{}-commands", settings.topic())
}

async fn came(client: JoinHandle<Answer>) {
    let answer = client.await.unwrap();
    assert_eq!((answer.status, answer.text()), (201, "\"!\""));
}

/// What comes later is read from its beginning, so that no answer in it is missed.
pub async fn in_topics_and_partitions_that_come_later(kafka: &'static Kafka) {
    let (first, later) = (unique("answers"), unique("later"));
    kafka.create(&first, 1).await;
    let settings =
        Settings::new(kafka).with("PROXY_KAFKA_RESPONSE_TOPICS", format!("{first},{later}"));
    let asked = Asked::without_creating(kafka, settings).await;
    asked.is_answered(&first, 0).await;
    kafka.create(&later, 2).await;
    asked.is_answered(&later, 1).await;
    // The embedded broker cannot add partitions.
    if kafka.can_add_partitions() {
        kafka.add_partitions(&first, 3).await;
        asked.is_answered(&first, 2).await;
    }
    asked.gateway.stop().await;
}

/// A topic that was made anew is read from its beginning, also where it is longer than what was read of the old one.
pub async fn in_a_topic_that_was_made_anew(kafka: &'static Kafka) {
    let topic = unique("answers");
    kafka.create(&topic, 1).await;
    let settings = Settings::new(kafka).with("PROXY_KAFKA_RESPONSE_TOPICS", topic.clone());
    let asked = Asked::without_creating(kafka, settings).await;
    for _ in 0..3 {
        asked.is_answered(&topic, 0).await;
    }
    let (id, client) = asked.ask().await;
    kafka.delete(&topic).await;
    kafka.create(&topic, 1).await;
    asked.answer(&id, &topic, 0).await;
    for number in 0..10 {
        asked.answer(&number.to_string(), &topic, 0).await;
    }
    came(client).await;
    asked.is_answered(&topic, 0).await;
    asked.gateway.stop().await;
}

/// When Kafka comes back so do the answers, also for those who wait already.
pub async fn after_an_outage_of_kafka(kafka: &Kafka) {
    let own = kafka.own_stopped().await;
    own.start().await;
    let topic = unique("answers");
    let settings = Settings::new(kafka)
        .with("KAFKA_BROKERS", own.brokers())
        .with("PROXY_KAFKA_RESPONSE_TOPICS", topic.clone());
    let asked = Asked::with(settings).await;
    asked.is_answered(&topic, 0).await;
    let (id, client) = asked.ask().await;
    own.kill().await;
    own.start().await;
    asked.answer(&id, &topic, 0).await;
    came(client).await;
    asked.is_answered(&topic, 0).await;
    asked.gateway.stop().await;
}
