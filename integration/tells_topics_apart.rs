//! The ids that Kafka gives to topics, by which one that was made anew is known.

use std::process::Command;
use std::time::{Duration, Instant};

use librdkafka_calls::{Error, TopicId, topic_ids};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode;

use crate::support::gateway::{eventually, unique};
use crate::support::kafka::{Backend, Kafka};

const LIMIT: Duration = Duration::from_secs(30);
/// The first argument that makes the test binary ask again and again.
const ASK: &str = "ask-for-topic-ids";
/// How often, in a round, the question is asked that Kafka answers and the one that the client refuses.
const CALLS: [u32; 2] = [1_000, 3_000];
const ROUNDS: usize = 4;
/// How much a round may leave behind; a leak of anything at all is more, in each round.
const ALLOWED_BYTES: u64 = 48 * 1024;

fn client(kafka: &str) -> BaseConsumer {
    let mut config = rdkafka::ClientConfig::new();
    config
        .set("bootstrap.servers", kafka)
        .set("group.id", unique("ids"));
    config.create().unwrap()
}

fn id(consumer: &BaseConsumer, name: &str) -> Result<TopicId, RDKafkaErrorCode> {
    let mut answers = topic_ids(consumer.client(), &[name], LIMIT).unwrap();
    let (told, described) = answers.pop().unwrap();
    assert_eq!((told.as_str(), answers.len()), (name, 0));
    described
}

pub async fn by_an_id_that_stays_as_long_as_the_topic(kafka: &'static Kafka) {
    let names = [unique("a"), unique("b")];
    let consumer = client(&kafka.brokers());
    assert_eq!(
        id(&consumer, &names[0]),
        Err(RDKafkaErrorCode::UnknownTopicOrPartition),
        "asking creates nothing"
    );
    for name in &names {
        kafka.create(name, 1).await;
        eventually("kafka knows the topic", async || {
            id(&consumer, name).is_ok()
        })
        .await;
    }
    let [a, b] = names.each_ref().map(|name| id(&consumer, name).unwrap());
    assert!(a.is_known() && b.is_known() && a != b, "{a:?} {b:?}");
    assert_eq!(id(&client(&kafka.brokers()), &names[0]), Ok(a));
    let both = topic_ids(consumer.client(), &[&names[0], "no-such-topic"], LIMIT).unwrap();
    assert_eq!(both.len(), 2);
    // Its `topic_delete_by.sql` deletes all topics, those of the other tests too.
    if kafka.backend() == Backend::Embedded {
        return;
    }
    kafka.delete(&names[0]).await;
    kafka.create(&names[0], 1).await;
    eventually("the new topic has another id", async || {
        id(&consumer, &names[0]).is_ok_and(|new| new.is_known() && new != a)
    })
    .await;
}

pub async fn unless_kafka_cannot_be_asked() {
    let nobody = client("127.0.0.1:1");
    let asked = topic_ids(nobody.client(), &["a"], Duration::from_millis(200));
    assert!(matches!(asked, Err(Error::Kafka { .. })), "{asked:?}");
    let asked = topic_ids(nobody.client(), &["a\0b"], LIMIT);
    assert!(matches!(asked, Err(Error::Name(_))), "{asked:?}");
    assert!(topic_ids(nobody.client(), &[], LIMIT).unwrap().is_empty());
}

/// Measured in a process of its own, since everybody allocates in this one.
pub async fn without_a_leak(kafka: &'static Kafka) {
    let topic = unique("asked");
    kafka.create(&topic, 4).await;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(ASK).arg(kafka.brokers()).arg(&topic);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let grown: u64 = String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(grown < ALLOWED_BYTES, "grew by {grown} bytes in each round");
}

/// Asks if the arguments say so, and prints by how many bytes the process grew.
pub fn ask_if_asked() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, first, kafka, topic] = arguments.as_slice() else {
        return;
    };
    if first != ASK {
        return;
    }
    let consumer = client(kafka);
    let deadline = Instant::now() + LIMIT;
    while id(&consumer, topic).is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let ask = |[answered, refused]: [u32; 2]| {
        // The embedded broker now and then denies a topic while it deletes another one.
        let known = (0..answered)
            .filter(|_| id(&consumer, topic).is_ok())
            .count();
        assert!(known > 0);
        for _ in 0..refused {
            let twice = topic_ids(consumer.client(), &[topic, topic], LIMIT);
            assert!(
                matches!(
                    twice,
                    Err(Error::Kafka {
                        code: RDKafkaErrorCode::InvalidArgument,
                        ..
                    })
                ),
                "{twice:?}"
            );
        }
    };
    // Whatever it allocates once, for its threads or its connections, is not in all of the rounds.
    let grown = (0..ROUNDS).map(|_| {
        let before = resident_bytes();
        ask(CALLS);
        resident_bytes().saturating_sub(before)
    });
    let grown = grown.min().unwrap();
    let _written = std::io::Write::write_all(&mut std::io::stdout(), grown.to_string().as_bytes());
    std::process::exit(0);
}

/// Returns how much memory this process has in use; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
