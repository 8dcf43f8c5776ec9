//! A producer's client whose reports reach those who wait for them.
//!
//! rdkafka's `FutureProducer` does the same, but its thread spins for up to a millisecond in every tenth
//! of a second, as rdkafka rounds what is left of a wait down to milliseconds: a hundredth of a core for
//! an instance that does nothing.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use tokio::sync::oneshot;

use super::producer::Delivered;
use super::{QuietContext, Returning as _};

/// What Kafka said about a record.
pub(super) type Reported = Result<Delivered, KafkaError>;

/// How long one wait for reports is: the thread spins at its end, and lives so much longer than its
/// client at most.
const WAIT: Duration = Duration::from_secs(2);

impl ProducerContext for QuietContext {
    type DeliveryOpaque = Box<oneshot::Sender<Reported>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let report = match result {
            Ok(record) => Ok(Delivered {
                partition: record.partition(),
                offset: record.offset(),
            }),
            Err((error, _record)) => Err(error.clone()),
        };
        if waiting.send(report).is_err() {
            tracing::trace!("nobody waits for the report on a record any more");
        }
    }
}

/// A client with the thread that takes its reports.
pub(super) struct Reporting {
    client: Arc<BaseProducer<QuietContext>>,
    is_over: Arc<AtomicBool>,
}

impl Reporting {
    /// Starts the thread; it ends some time after this is dropped.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn new(client: BaseProducer<QuietContext>) -> std::io::Result<Self> {
        let client = Arc::new(client);
        let is_over = Arc::new(AtomicBool::new(false));
        let (polled, ends) = (Arc::clone(&client), Arc::clone(&is_over));
        thread::Builder::new()
            .name("produce-reports".to_owned())
            .spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    polled.poll(WAIT);
                    let client = polled.client();
                    client.context().rebootstrap().run(client);
                }
            })?;
        Ok(Self { client, is_over })
    }

    /// Returns the client for a caller that outlives this.
    pub(super) fn handle(&self) -> Arc<BaseProducer<QuietContext>> {
        Arc::clone(&self.client)
    }
}

impl Deref for Reporting {
    type Target = BaseProducer<QuietContext>;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
