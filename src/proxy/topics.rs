//! The Kafka topics of routes: those that they write to are created where they are missing, and answers are read where
//! some come over Kafka.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::answers::Answers;
use super::apis::Apis;
use super::routes::Routes;
use crate::kafka::{KafkaConfig, TopicError, TopicSpec, ensure_topics};
use crate::telemetry::Tasks;

/// How long to wait before the next try while Kafka is away.
const RETRY: Duration = Duration::from_secs(1);

/// Begins to read the response topics as soon as there is a route whose answers come over Kafka, so that its first
/// command need not wait for that.
pub async fn listen_for_answers(apis: Apis, answers: Answers, tasks: Tasks) {
    let mut routes = apis.changes();
    let stopping = tasks.stopping();
    let first = routes.wait_for(|routes| routes.wait_for_records());
    if let Some(Ok(_)) = stopping.run_until_cancelled(first).await {
        answers.listen();
    }
}

/// Creates topics. Where that is not wanted, they have to be there.
#[derive(Debug)]
pub struct TopicMaker {
    /// How Kafka is reached.
    pub kafka: KafkaConfig,
    /// How many partitions a topic gets that is created.
    pub partitions: i32,
}

impl TopicMaker {
    /// Creates the topics of the routes as they are and become, until the process stops.
    pub async fn follow(self, apis: Apis, tasks: Tasks) {
        let mut routes = apis.changes();
        let mut known = BTreeSet::new();
        let stopping = tasks.stopping();
        let following = async {
            loop {
                let now: Arc<Routes> = Arc::clone(&routes.borrow_and_update());
                while !self.create(&now, &mut known).await {
                    tokio::time::sleep(RETRY).await;
                }
                if routes.changed().await.is_err() {
                    return;
                }
            }
        };
        stopping.run_until_cancelled(following).await;
    }

    /// Creates what is missing; returns false when Kafka could not be asked.
    async fn create(&self, routes: &Routes, known: &mut BTreeSet<String>) -> bool {
        loop {
            let wanted: BTreeSet<&str> = routes.topics().collect();
            let missing = wanted.into_iter().filter(|topic| !known.contains(*topic));
            let specs: Vec<_> = missing
                .map(|topic| TopicSpec::of_records(topic, self.partitions))
                .collect();
            match ensure_topics(&self.kafka, &specs).await {
                Ok(()) => {
                    known.extend(specs.into_iter().map(|spec| spec.name));
                    return true;
                }
                // The others are looked at again.
                Err(TopicError::Refused { topic, code }) => {
                    tracing::warn!(%code, topic, "a route has a topic that is not there");
                    known.insert(topic);
                }
                Err(error) => {
                    self.kafka.log.warn(format_args!("{error}"));
                    return false;
                }
            }
        }
    }
}
