//! All instances of a cluster see the same state, and can send each other commands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser as _;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluicegate::dispatch::Incarnation;
use sluicegate::kafka::{KafkaConfig, Producer};
use sluicegate::shared::{ClusterKey, CommandError, CommandLog, Records, SharedConfig, StateLog};
use sluicegate::telemetry::{Condition, Readiness, Tasks};

use crate::support::gateway::{Gateway, Settings as Variables, event, unique};
use crate::support::kafka::Kafka;

const SOON: Duration = Duration::from_secs(20);

#[derive(clap::Parser)]
struct Settings {
    #[command(flatten)]
    shared: SharedConfig,
}

fn config(kafka: &Kafka, cluster: &str, instance: &str) -> KafkaConfig {
    KafkaConfig {
        cluster_name: cluster.to_owned(),
        ..kafka.config(instance)
    }
}

fn state(config: &KafkaConfig) -> (StateLog, Readiness) {
    let readiness = Readiness::new();
    let producer = Producer::new(config).expect("a producer");
    (
        StateLog::start(config, producer, readiness.clone()).expect("the state starts"),
        readiness,
    )
}

fn commands(config: &KafkaConfig, tasks: &Tasks) -> CommandLog {
    let name = config.instance();
    let handler = move |body: Value| {
        let answer = json!({"by": name, "got": body});
        Box::pin(async move {
            if let Some(time_ms) = body["sleep_ms"].as_u64() {
                tokio::time::sleep(Duration::from_millis(time_ms)).await;
            }
            answer
        }) as sluicegate::shared::CommandReply
    };
    let producer = Producer::new(config).expect("a producer");
    CommandLog::start(
        config,
        producer,
        &config.instance(),
        Arc::new(handler),
        Readiness::new(),
        tasks,
    )
    .expect("the commands start")
}

/// Who wrote sees it at once; others soon, also those that start later; a removed entry is gone.
pub async fn what_one_instance_writes_all_read(kafka: &Kafka) {
    let cluster = unique("cluster");
    let (first, readiness) = state(&config(kafka, &cluster, "first"));
    let (second, _) = state(&config(kafka, &cluster, "second"));
    tokio::join!(first.loaded(), second.loaded());
    assert!(readiness.holds(Condition::StateLoaded));
    let mut changes = second.changes("colour");
    first.put("colour", "sky", b"blue").await.expect("written");
    assert_eq!(first.get("colour", "sky").as_deref(), Some(&b"blue"[..]));
    first.put("colour", "sky", b"grey").await.expect("written");
    first.put("colour", "a/b", b"red").await.expect("written");
    first.remove("colour", "a/b").await.expect("removed");
    assert_eq!(first.get("colour", "a/b"), None);
    for (key, value) in [
        ("sky", Some("blue")),
        ("sky", Some("grey")),
        ("a/b", Some("red")),
        ("a/b", None),
    ] {
        let change = tokio::time::timeout(SOON, changes.recv())
            .await
            .expect("in time")
            .expect("a change");
        assert_eq!(&*change.key, key);
        assert_eq!(change.value.as_deref(), value.map(str::as_bytes));
    }
    let (third, _) = state(&config(kafka, &cluster, "third"));
    third.loaded().await;
    let mut entries = Vec::new();
    third.for_each("colour", |key, value| {
        entries.push((key.to_owned(), value.clone()))
    });
    assert_eq!(entries, [("sky".to_owned(), "grey".into())]);
}

#[derive(Serialize, Deserialize)]
struct Count {
    count: u32,
}

/// Instances that change the same record at the same time know nothing of each other's change yet; the last one is the
/// newest all the same.
pub async fn no_change_is_behind_one_that_was_not_known_yet(kafka: &Kafka) {
    let cluster = unique("cluster");
    let states: Vec<_> = (0..3)
        .map(|number| Arc::new(state(&config(kafka, &cluster, &format!("i{number}"))).0))
        .collect();
    join_all(states.iter().map(|state| state.loaded())).await;
    let counts: Vec<_> = (states.iter().zip(0..))
        .map(|(state, own)| {
            let ttl = Duration::from_secs(600);
            Records::<Count>::new(Arc::clone(state), "count", ttl, Incarnation(own))
        })
        .collect();
    let one_more = async |counts: &Records<Count>| {
        let mut count = 0;
        let more = |counted: Count| {
            (counted.count >= count).then(|| {
                count = counted.count + 1;
                Count { count }
            })
        };
        counts.update("visitors", more).await.expect("written")
    };
    assert!(!one_more(&counts[0]).await, "there is none");
    let none = Count { count: 0 };
    counts[0].keep("visitors", none).await.expect("written");
    for counts in &counts {
        assert!(counts.find("visitors").await.is_some());
    }
    let mut changes = states[0].changes("count");
    for _ in 0..10 {
        let all = join_all(counts.iter().map(&one_more)).await;
        assert_eq!(all, [true; 3]);
        // Who has read this back has read all before it.
        states[0].put("end", "", b"").await.expect("written");
        let mut written = Vec::new();
        while let Ok(change) = changes.try_recv() {
            let record: Count = serde_json::from_slice(&change.value.unwrap()).unwrap();
            written.push(record.count);
        }
        let last = written.pop().expect("changes");
        assert!(
            written.iter().all(|count| *count < last),
            "{written:?} {last}"
        );
    }
}

/// Instances that start at the same time agree on one random key, and later ones find it.
pub async fn all_instances_agree_on_one_random_token_key(kafka: &Kafka) {
    let cluster = unique("cluster");
    let shared = Settings::parse_from(["test", "--node-cookie", ""]).shared;
    let logs: Vec<_> = (0..4)
        .map(|number| state(&config(kafka, &cluster, &format!("i{number}"))).0)
        .collect();
    let keys = tokio::join!(
        ClusterKey::of_cluster(&shared, &logs[0]),
        ClusterKey::of_cluster(&shared, &logs[1]),
        ClusterKey::of_cluster(&shared, &logs[2]),
        ClusterKey::of_cluster(&shared, &logs[3]),
    );
    let key = keys.0.expect("a key");
    for other in [keys.1, keys.2, keys.3] {
        assert!(key == other.expect("a key"), "instances disagree");
    }
    let (later, _) = state(&config(kafka, &cluster, "later"));
    assert!(
        key == ClusterKey::of_cluster(&shared, &later)
            .await
            .expect("a key")
    );
    // The value written last, which compaction keeps, is the key as well.
    let kept = later.get("secret", "token-key").expect("an entry");
    let again = ClusterKey::of_cluster(&shared, &later)
        .await
        .expect("a key");
    assert!(again == key && later.get("secret", "token-key") == Some(kept));
    let cookie =
        Settings::parse_from(["test", "--node-cookie", "some secret of many letters"]).shared;
    let derived = ClusterKey::of_cluster(&cookie, &later)
        .await
        .expect("a key");
    let state_topic = format!("{cluster}.state");
    let expected = ClusterKey::from_cookie("some secret of many letters", &state_topic);
    assert!(derived == expected && derived != key);
}

/// A command reaches its target and the reply comes back; who left or never was is gone.
pub async fn commands_reach_their_target_or_say_that_it_is_gone(kafka: &Kafka) {
    let cluster = unique("cluster");
    let tasks = Tasks::new();
    let (a, b) = (config(kafka, &cluster, "a"), config(kafka, &cluster, "b"));
    let first = commands(&a, &tasks);
    let second = commands(&b, &tasks);
    let reply = first.request("b", json!({"x": 1}), SOON).await;
    assert_eq!(reply, Ok(json!({"by": "b", "got": {"x": 1}})));
    let reply = first.request("a", json!(2), SOON).await;
    assert_eq!(reply, Ok(json!({"by": "a", "got": 2})));
    for number in 0..100 {
        let reply = first.request("b", json!(number), SOON).await;
        assert_eq!(reply, Ok(json!({"by": "b", "got": number})));
    }
    let slow = json!({"sleep_ms": 5000});
    let late = first.request("b", slow, Duration::from_millis(300)).await;
    assert_eq!(late, Err(CommandError::TimedOut));
    assert_eq!(
        first.request("never", json!(1), SOON).await,
        Err(CommandError::Gone)
    );
    second.stop().await;
    let start = Instant::now();
    let gone = first.request("b", json!(1), SOON).await;
    assert_eq!(gone, Err(CommandError::Gone));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    first.stop().await;
    tasks.stop().await;
}

/// Instances that start a new cluster in the same instant take each other's connection tokens.
pub async fn a_token_of_one_is_taken_by_all(kafka: &Kafka) {
    let settings = Variables::new(kafka);
    let (one, two, three) = tokio::join!(
        Gateway::with(settings.clone()),
        Gateway::with(settings.clone()),
        Gateway::with(settings)
    );
    let mut stream = one.open(json!([{ "eventType": "never" }])).await;
    let token = stream.subscribed().await;
    for (other, wanted) in [(&two, "two"), (&three, "three"), (&one, "one")] {
        let answer = other
            .change("sse", &token, json!([{ "eventType": wanted }]))
            .await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        assert_eq!(
            stream.event().await.event.as_deref(),
            Some("rig.subscriptions_set")
        );
        other.publish(&event(wanted, wanted, json!(null))).await;
        assert_eq!(stream.ids(1).await, [wanted]);
    }
    for gateway in [one, two, three] {
        gateway.stop().await;
    }
}
