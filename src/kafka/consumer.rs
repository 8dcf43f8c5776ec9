//! A consumer that comes back to its brokers.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;

use super::{ConfigError, QuietContext, Rebootstrap};

/// A context that is told when its client has lost its brokers.
pub trait Returning: ConsumerContext {
    /// Returns what brings the client back to them.
    fn rebootstrap(&self) -> &Rebootstrap;
}

/// rdkafka's consumer, whose polling also brings it back to its brokers when it has lost all of them.
///
/// What is told to its context is told while it is polled: who only asks it has to poll it after an error, too.
pub struct Consumer<C: Returning + 'static = QuietContext>(BaseConsumer<C>);

impl<C: Returning> Consumer<C> {
    /// Makes a client with these settings. Does not wait for Kafka.
    ///
    /// # Errors
    /// [`ConfigError`] when librdkafka refuses the settings.
    pub fn new(settings: &ClientConfig, context: C) -> Result<Self, ConfigError> {
        use rdkafka::config::FromClientConfigAndContext as _;
        Ok(Self(BaseConsumer::from_config_and_context(
            settings, context,
        )?))
    }

    /// Returns the next record or error; `None` when there is none for so long.
    ///
    /// Blocks. Waits that are no whole milliseconds are shortened to such.
    pub fn poll(&self, wait: Duration) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        let polled = self.0.poll(wait);
        // One without brokers has no records for long.
        if !matches!(polled, Some(Ok(_))) {
            let client = self.0.client();
            client.context().rebootstrap().run(client);
        }
        polled
    }
}

impl<C: Returning> Deref for Consumer<C> {
    type Target = BaseConsumer<C>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<C: Returning> fmt::Debug for Consumer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").finish_non_exhaustive()
    }
}
