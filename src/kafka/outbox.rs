//! What is written in the background, and at the end of the process still is.

use std::future::Future;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{KafkaConfig, TopicError, TopicSpec, ensure_topics};

/// How many records are on their way at the same time.
const IN_FLIGHT: usize = 256;
/// How long to wait before the topic is created again.
const RETRY: Duration = Duration::from_secs(1);

/// What is to be written to one topic, until its end is told.
#[derive(Debug)]
pub struct Outbox<T> {
    /// What waits; who puts it there never waits.
    pub queue: mpsc::Receiver<T>,
    /// Cancelled when nothing more comes that matters.
    pub end: CancellationToken,
}

impl<T> Outbox<T> {
    /// Creates the topic where it is missing; Kafka may be away for a while. Then `write` gets what comes, in order,
    /// 256 at a time, and after the end was told what had come before.
    ///
    /// `complain` gets why the topic cannot be created, once a second.
    ///
    /// # Cancel safety
    /// Dropping the future drops what waits.
    pub async fn write<F: Future<Output = ()>>(
        self,
        kafka: &KafkaConfig,
        topic: TopicSpec,
        complain: impl Fn(&TopicError),
        write: impl Fn(T) -> F,
    ) {
        let specs = [topic];
        let creating = async {
            while let Err(error) = ensure_topics(kafka, &specs).await {
                complain(&error);
                tokio::time::sleep(RETRY).await;
            }
        };
        if self.end.run_until_cancelled(creating).await.is_none() {
            return;
        }
        let entries = stream::unfold(self, |mut outbox| async move {
            let entry = match outbox.end.run_until_cancelled(outbox.queue.recv()).await {
                Some(entry) => entry,
                None => {
                    outbox.queue.close();
                    outbox.queue.recv().await
                }
            };
            Some((entry?, outbox))
        });
        entries
            .map(write)
            .buffered(IN_FLIGHT)
            .for_each(std::future::ready)
            .await;
    }
}
