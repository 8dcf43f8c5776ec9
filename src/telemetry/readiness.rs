//! Whether this instance can serve, and if not, what it waits for.

use std::sync::Arc;

use tokio::sync::watch;

/// One thing that has to hold before the instance is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// At least one broker answers.
    KafkaReachable,
    /// Kafka takes what this instance writes; taken for granted until it does not.
    KafkaWritable,
    /// The topics of the cluster's shared state were read to their ends.
    StateLoaded,
    /// The routes of the request proxy are those of the shared state.
    RoutesKnown,
    /// The source topics were read up to the ends seen at start.
    SourceCaughtUp,
    /// A cursor can carry the positions of all partitions of the source topics.
    CursorHasRoom,
    /// The process is not shutting down.
    NotDraining,
}

impl Condition {
    const ALL: [Self; 7] = [
        Self::KafkaReachable,
        Self::KafkaWritable,
        Self::StateLoaded,
        Self::RoutesKnown,
        Self::SourceCaughtUp,
        Self::CursorHasRoom,
        Self::NotDraining,
    ];

    const fn bit(self) -> u8 {
        match self {
            Self::KafkaReachable => 1,
            Self::StateLoaded => 2,
            Self::SourceCaughtUp => 4,
            Self::NotDraining => 8,
            Self::KafkaWritable => 16,
            Self::CursorHasRoom => 32,
            Self::RoutesKnown => 64,
        }
    }

    /// Returns what `/readyz` says while the condition does not hold.
    #[must_use]
    pub const fn missing(self) -> &'static str {
        match self {
            Self::KafkaReachable => "kafka cannot be reached",
            Self::KafkaWritable => "kafka takes no records",
            Self::StateLoaded => "the shared state is being read",
            Self::RoutesKnown => "the API definitions are being read",
            Self::SourceCaughtUp => "the source topics are being read up to their ends",
            Self::CursorHasRoom => "the source topics have more partitions than a cursor can carry",
            Self::NotDraining => "shutting down",
        }
    }
}

/// The conditions of one instance. Cheap to clone; all clones share one state.
#[derive(Debug, Clone)]
pub struct Readiness {
    held: Arc<watch::Sender<u8>>,
}

impl Readiness {
    /// Starts with nothing but what is taken away later in force: [`Condition::NotDraining`],
    /// [`Condition::KafkaWritable`] and [`Condition::CursorHasRoom`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            held: Arc::new(watch::Sender::new(
                Condition::NotDraining.bit()
                    | Condition::KafkaWritable.bit()
                    | Condition::CursorHasRoom.bit(),
            )),
        }
    }

    /// Records whether `condition` holds now.
    pub fn set(&self, condition: Condition, holds: bool) {
        self.held.send_if_modified(|held| {
            let before = *held;
            if holds {
                *held |= condition.bit();
            } else {
                *held &= !condition.bit();
            }
            *held != before
        });
    }

    /// Returns whether `condition` holds now.
    #[must_use]
    pub fn holds(&self, condition: Condition) -> bool {
        *self.held.borrow() & condition.bit() != 0
    }

    /// Returns the conditions that do not hold, in the order in which they come about at start.
    #[must_use]
    pub fn missing(&self) -> Vec<Condition> {
        Condition::ALL
            .into_iter()
            .filter(|condition| !self.holds(*condition))
            .collect()
    }

    /// Returns whether all conditions hold.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.missing().is_empty()
    }

    /// Waits until a condition changes after this is called.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn changed(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        if self.held.subscribe().changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until all conditions hold.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn ready(&self) {
        let mut held = self.held.subscribe();
        let all = Condition::ALL
            .into_iter()
            .fold(0, |bits, condition| bits | condition.bit());
        // The sender lives in `self`, so the wait cannot fail.
        if held.wait_for(|bits| *bits == all).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}
