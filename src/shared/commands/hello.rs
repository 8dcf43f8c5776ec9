//! How instances know of each other: each says hello now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Shared;
use crate::kafka::ProduceError;
use crate::shared::members::HELLO_INTERVAL;
use crate::shared::message::Message;
use crate::telemetry::Condition;

/// How long to wait after a hello that Kafka did not take.
const HELLO_RETRY: Duration = Duration::from_secs(1);

impl Shared {
    /// Takes down whether Kafka takes records, and says so when that changes.
    fn writable(&self, is_writable: bool, error: Option<ProduceError>) {
        if self.readiness.holds(Condition::KafkaWritable) == is_writable {
            return;
        }
        self.readiness.set(Condition::KafkaWritable, is_writable);
        match error {
            Some(error) => tracing::warn!(%error, "kafka takes no records, waiting for it"),
            None => tracing::info!("kafka takes records again"),
        }
    }

    /// Says hello now and then, from the moment on at which others can be heard.
    pub(super) async fn say_hello(self: Arc<Self>, listening: Arc<watch::Sender<bool>>) {
        let stopping = self.tasks.stopping();
        let mut is_listening = listening.subscribe();
        let greeting = async {
            if is_listening.wait_for(|listening| *listening).await.is_err() {
                return;
            }
            let mut message = Message::Who {
                from: self.incarnation.clone(),
            };
            let mut interval = tokio::time::interval(HELLO_INTERVAL);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                while let Err(error) = self.send(&message).await {
                    self.writable(false, Some(error));
                    tokio::time::sleep(HELLO_RETRY).await;
                }
                self.writable(true, None);
                message = Message::Hello {
                    from: self.incarnation.clone(),
                };
            }
        };
        tokio::select! {
            () = greeting => {}
            () = stopping.cancelled() => {}
        }
    }

    pub(super) fn greet(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        self.tasks.spawn("greet", async move {
            let hello = Message::Hello {
                from: shared.incarnation.clone(),
            };
            if let Err(error) = shared.send(&hello).await {
                tracing::debug!(%error, "could not say hello");
            }
        });
    }
}
