//! Three real brokers: each partition on all of them, one of them its leader.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::kafka::{Kafka, Membership, free_address};
use super::records::OwnKafka;

/// How long Kafka may take to answer.
const LIMIT: Duration = Duration::from_secs(20);

/// Three Apache Kafkas that replicate each topic; two have to have a record before it is acknowledged.
pub struct ThreeBrokers {
    /// By id, from 1.
    nodes: [OwnKafka; 3],
}

impl ThreeBrokers {
    /// Starts all three.
    pub async fn start() -> Self {
        let controllers = [1, 2, 3].map(|id| (id, free_address().port()));
        let voters = controllers.map(|(id, port)| format!("{id}@127.0.0.1:{port}"));
        // Letters and digits only, whatever the random bytes: a hyphen could be read as an option.
        let cluster_id = STANDARD_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes());
        let cluster_id = cluster_id.replace(['+', '/'], "a");
        let nodes = controllers.map(|(id, controller)| {
            let properties = properties(id, &voters.join(","));
            let membership = Membership {
                cluster_id: cluster_id.clone(),
                controller,
                properties,
            };
            OwnKafka::of(Kafka::member(membership))
        });
        let brokers = Self { nodes };
        let [one, two, three] = &brokers.nodes;
        // None of them answers before two are there.
        tokio::join!(one.start(), two.start(), three.start());
        brokers
    }

    pub fn brokers(&self) -> String {
        self.nodes.each_ref().map(OwnKafka::brokers).join(",")
    }

    /// Returns the id of the broker that leads a partition; none while there is no leader.
    pub async fn leader(&self, topic: &str, partition: usize) -> Option<usize> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.brokers())
            .create()
            .unwrap();
        let topic = topic.to_owned();
        let asking = tokio::task::spawn_blocking(move || {
            let metadata = consumer.fetch_metadata(Some(&topic), LIMIT).ok()?;
            let partitions = metadata.topics().first()?.partitions();
            usize::try_from(partitions.get(partition)?.leader()).ok()
        });
        asking.await.expect("no panic")
    }

    /// Returns a broker by its id.
    pub fn node(&self, id: usize) -> &OwnKafka {
        &self.nodes[id - 1]
    }

    /// Kills all.
    pub async fn kill(&self) {
        for node in &self.nodes {
            node.kill().await;
        }
    }
}

fn properties(id: usize, voters: &str) -> Vec<String> {
    vec![
        format!("node.id={id}"),
        format!("controller.quorum.voters={voters}"),
        "default.replication.factor=3".to_owned(),
        "min.insync.replicas=2".to_owned(),
        "offsets.topic.replication.factor=3".to_owned(),
        "transaction.state.log.replication.factor=3".to_owned(),
        "transaction.state.log.min.isr=2".to_owned(),
        // How soon a dead broker is noticed.
        "broker.session.timeout.ms=4000".to_owned(),
        "broker.heartbeat.interval.ms=500".to_owned(),
    ]
}
