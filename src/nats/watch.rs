//! What the operator learns of the connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::{Client, ClientError, Event, ServerError};
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::permits::Permits;
use crate::telemetry::{Limited, NatsMetrics};

/// How often the state of the connection is looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often the same kind of trouble is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Takes note of what the library tells.
#[derive(Debug)]
pub(super) struct Notices {
    metrics: NatsMetrics,
    inbox: Arc<Inbox>,
    permits: Arc<Permits>,
    limited: Limited,
}

impl Notices {
    pub(super) fn new(metrics: NatsMetrics, inbox: Arc<Inbox>, permits: Arc<Permits>) -> Self {
        Self {
            metrics,
            inbox,
            permits,
            limited: Limited::new(LOG_INTERVAL),
        }
    }

    pub(super) fn take(&self, event: &Event) {
        match event {
            Event::SlowConsumer(_) => {
                self.metrics.lost();
                self.warn("slow consumer", "messages came faster than they were read");
            }
            Event::ServerError(ServerError::Other(text)) => {
                if let Some(subject) = forbidden(text) {
                    self.permits.revoke(subject);
                    self.inbox.refuse(subject);
                }
                self.warn("server", text);
            }
            Event::ServerError(error) => self.warn("server", &error.to_string()),
            Event::ClientError(ClientError::Other(text)) => self.warn("client", text),
            Event::ClientError(error) => self.warn("client", &error.to_string()),
            // The state of the connection is watched below.
            Event::Connected
            | Event::Disconnected
            | Event::LameDuckMode
            | Event::Draining
            | Event::Closed => {}
        }
    }

    fn warn(&self, kind: &str, reason: &str) {
        if let Some(suppressed) = self.limited.admit(kind, Instant::now()) {
            tracing::warn!(reason = ?reason, suppressed, "trouble with nats");
        }
    }
}

/// Returns the subject that we may not publish to, if that is what the server says.
fn forbidden(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("Permissions Violation for Publish to \"")?;
    Some(rest.split_once('"')?.0)
}

/// Keeps the metric of the connection up to date, and logs when it comes and goes, until the process stops.
pub(super) async fn watch(client: Client, metrics: NatsMetrics, stopping: CancellationToken) {
    let (mut was_up, mut seen) = (true, 0);
    while (stopping
        .run_until_cancelled(tokio::time::sleep(INTERVAL))
        .await)
        .is_some()
    {
        let is_up = client.connection_state() == State::Connected;
        let connects = client.statistics().connects.load(Ordering::Relaxed);
        metrics.up.set(i64::from(is_up));
        if is_up && connects != seen {
            tracing::info!("connected to nats");
        } else if was_up && !is_up {
            tracing::warn!("nats cannot be reached");
        }
        (was_up, seen) = (is_up, if is_up { connects } else { seen });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_subject_is_read_out_of_what_the_server_says() {
        let says = "Permissions Violation for Publish to \"a.b\"";
        assert_eq!(forbidden(says), Some("a.b"));
        for other in ["Permissions Violation for Subscription to \"a\"", "", "x"] {
            assert_eq!(forbidden(other), None, "{other}");
        }
    }
}
