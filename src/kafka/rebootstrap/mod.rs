//! Clients that have lost all their brokers, and begin anew with those of the settings.
//!
//! librdkafka forgets brokers that Kafka's answer about the cluster does not name, and by itself begins anew when none is
//! left. But an answer may name no broker at all: that of a cluster whose brokers were all fenced for a moment, as
//! one is that was frozen. Then the end of the same answer can stop the new beginning before it has begun, and the
//! client never tries again: it waits for ever, beside a Kafka that is well.
//!
//! # Source
//! KIP-899 (rebootstrap); confluentinc/librdkafka#5301.

use std::time::{Duration, Instant};

use librdkafka_calls::add_brokers;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::KafkaConfig;

/// When a client that has lost its brokers is given them: not at once, since mostly it needs no help; and more than once,
/// since one whose connection is still ending is not added.
const TRIES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// Whether a client has lost all its brokers. To be told its errors, and run by whoever polls it.
#[derive(Debug)]
pub struct Rebootstrap {
    /// Those of the settings.
    brokers: String,
    loss: Mutex<Option<Loss>>,
}

#[derive(Debug, Clone, Copy)]
struct Loss {
    at: Instant,
    tries: usize,
}

impl Rebootstrap {
    /// Makes one for a client with these settings.
    #[must_use]
    pub fn new(config: &KafkaConfig) -> Self {
        let settings = config.client();
        Self {
            brokers: settings
                .get("bootstrap.servers")
                .unwrap_or_default()
                .to_owned(),
            loss: Mutex::default(),
        }
    }

    /// Notes an error of the client.
    pub fn note(&self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            let at = Instant::now();
            *self.loss.lock() = Some(Loss { at, tries: 0 });
        }
    }

    /// Returns whether the client has lost all its brokers not long ago.
    pub(super) fn has_lost_all(&self) -> bool {
        self.loss.lock().is_some()
    }

    /// Gives the client the brokers of the settings again when it has lost all of its own, and it is time.
    pub fn run<C: ClientContext>(&self, client: &Client<C>) {
        if !self.is_due(Instant::now()) {
            return;
        }
        let count = add_brokers(client, &self.brokers);
        tracing::debug!(
            count,
            "a client without brokers was given those to begin with"
        );
    }

    fn is_due(&self, now: Instant) -> bool {
        let mut loss = self.loss.lock();
        let Some(Loss { at, tries }) = &mut *loss else {
            return false;
        };
        let Some(after) = TRIES.get(*tries) else {
            *loss = None;
            return false;
        };
        let is_due = now.duration_since(*at) >= *after;
        *tries += usize::from(is_due);
        is_due
    }
}

#[cfg(test)]
mod tests;
