//! Events that backends write in transactions, and what is left of those that were aborted.

use std::time::Duration;

use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Settings, event, query};
use crate::support::kafka::Kafka;
use crate::support::sse::Sse;

/// How long Kafka may take for anything.
const LIMIT: Duration = Duration::from_secs(20);

/// A backend that writes in transactions.
struct Backend {
    producer: FutureProducer,
    topic: String,
}

impl Backend {
    fn new(kafka: &Kafka, topic: &str) -> Self {
        let mut config = kafka.config("backend").client();
        config.set("transactional.id", topic).set("linger.ms", "0");
        let producer: FutureProducer = config.create().unwrap();
        producer.init_transactions(LIMIT).unwrap();
        let topic = topic.to_owned();
        Self { producer, topic }
    }

    /// Begins a transaction and writes so many events of 3 KB, all to one partition.
    async fn begin(&self, ids: &[String]) {
        self.producer.begin_transaction().unwrap();
        for id in ids {
            let json = event("t", id, json!("x".repeat(3000))).to_string();
            let record = FutureRecord::<[u8], str>::to(&self.topic).partition(0);
            let written = self.producer.send(record.payload(&json), LIMIT).await;
            written.expect("kafka takes the record");
        }
    }

    fn commit(&self) {
        self.producer.commit_transaction(LIMIT).unwrap();
    }

    fn abort(&self) {
        self.producer.abort_transaction(LIMIT).unwrap();
    }
}

/// Returns the ids of the events of a transaction.
fn ids(transaction: &str) -> Vec<String> {
    (0..30)
        .map(|number| format!("{transaction}{number}"))
        .collect()
}

fn wanted() -> Value {
    json!([{ "eventType": "t" }])
}

pub async fn whose_events_come_when_they_are_committed(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut stream = gateway.subscribe(wanted()).await;
    let backend = Backend::new(kafka, gateway.settings.topic());
    backend.begin(&ids("aborted")).await;
    backend.abort();
    backend.begin(&ids("a")).await;
    stream.stays_quiet(Duration::from_millis(300)).await;
    backend.commit();
    assert_eq!(stream.ids(30).await, ids("a"));
    gateway.stop().await;
}

/// What was aborted, and the mark at the end of each transaction, are holes between the events that are read again.
pub async fn also_when_the_past_is_read(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with("REPLAY_RING_BYTES", "64KiB")
        .with("OUTBOX_BYTES", "64KiB")
        .with("KAFKA_SOURCE_PARTITIONS", "1");
    let gateway = Gateway::with(settings).await;
    let mut live = gateway.subscribe(wanted()).await;
    let cursor = live.last_event_id.clone().unwrap();
    let backend = Backend::new(kafka, gateway.settings.topic());
    let mut expected = Vec::new();
    for number in 0..8 {
        let transaction = format!("{number}-");
        backend.begin(&ids(&transaction)).await;
        if number % 3 == 0 {
            backend.abort();
        } else {
            backend.commit();
            expected.extend(ids(&transaction));
        }
    }
    backend.begin(&ids("last")).await;
    backend.abort();
    assert_eq!(live.ids(expected.len()).await, expected);
    let mut resumed = gateway.resume(wanted(), &cursor).await;
    assert_eq!(resumed.ids(expected.len()).await, expected);
    for (start, count) in [("earliest", expected.len()), ("last:70", 70)] {
        let query = format!("{}&start={start}", query(&wanted()));
        let mut stream = Sse::open(gateway.public(), &query, &[]).await;
        stream.subscribed().await;
        let newest = &expected[expected.len() - count..];
        assert_eq!(stream.ids(count).await, newest, "{start}");
        stream.stays_quiet(Duration::from_millis(50)).await;
    }
    let read = gateway.metric("sluicegate_history_records_total", "").await;
    assert!(read >= 100.0, "it was read from Kafka");
    let gaps = gateway.metric("sluicegate_resume_gaps_total", "").await;
    assert!(gaps < 0.5, "nothing was missed");
    // A client that comes back goes on behind what was aborted.
    let cursor = resumed.last_event_id.clone().unwrap();
    backend.begin(&ids("later")).await;
    backend.commit();
    let mut again = gateway.resume(wanted(), &cursor).await;
    assert_eq!(again.ids(30).await, ids("later"));
    gateway.stop().await;
}
