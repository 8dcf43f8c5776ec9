//! Named tasks that are counted and joined at drain.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns the tasks of the process, tells them to stop and waits for their end.
///
/// Cheap to clone; all clones share one set of tasks.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Makes an empty set of tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `future` on the current runtime under a `name` that its log lines carry.
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        use tracing::Instrument as _;
        self.tracker
            .spawn(future.instrument(tracing::debug_span!("task", name)));
    }

    /// Returns the number of tasks that have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Returns the token that is cancelled when the process wants its tasks to end.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Asks all tasks to end and waits until they have.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the tasks told to stop, and unjoined.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
