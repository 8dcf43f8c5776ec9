//! What goes on while requests are answered.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::api::Texts;
use crate::dispatch::{ClientText, TokenKey};
use crate::proxy::Answers;
use crate::session::Blacklist;
use crate::shared::{ClusterKey, SharedConfig, StateLog};
use crate::telemetry::{Metrics, Readiness, Tasks};
use crate::transport::{Acknowledgements, LongPolling, STATE_KIND};

/// How often sessions that have ended are removed.
const CLEAN_UP_INTERVAL: Duration = Duration::from_secs(60);

/// Does what clients say on their connections. Each is served by itself, since a check or an issuer that is
/// asked may be slow. A connection says the next thing when the last one is done, or taken on where it is a request: there
/// are as many tasks for it at most as it may have requests under way.
pub(super) async fn read_texts(mut texts: mpsc::Receiver<ClientText>, said: Texts, tasks: Tasks) {
    let stopping = tasks.stopping();
    while let Some(Some(text)) = stopping.run_until_cancelled(texts.recv()).await {
        let said = said.clone();
        tasks.spawn("text", async move { said.on_text(text).await });
    }
}

/// Gets the key of connection tokens; Kafka may be away for a while.
pub(super) async fn get_token_key(
    config: SharedConfig,
    state: Arc<StateLog>,
    place: Arc<OnceLock<TokenKey>>,
    stopping: CancellationToken,
) {
    let key = async {
        loop {
            match ClusterKey::of_cluster(&config, &state).await {
                Ok(key) => return key,
                Err(error) => tracing::warn!(%error, "the key of connection tokens is not there"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    if let Some(key) = stopping.run_until_cancelled(key).await {
        place.get_or_init(|| TokenKey::new(key.as_bytes()));
    }
}

/// Tells waiting polls when the subscriptions of their sessions change, here or elsewhere.
pub(super) async fn watch_sessions(
    state: Arc<StateLog>,
    long_polling: Arc<LongPolling>,
    tasks: Tasks,
) {
    let stopping = tasks.stopping();
    let mut changes = state.changes(STATE_KIND);
    while let Some(change) = stopping.run_until_cancelled(changes.recv()).await {
        match change {
            Ok(change) => long_polling.on_change(&change.key).await,
            Err(RecvError::Lagged(_)) => long_polling.on_any_change().await,
            Err(RecvError::Closed) => return,
        }
    }
}

/// What has an end, and is removed after it.
pub(super) struct Ended {
    pub(super) long_polling: Arc<LongPolling>,
    pub(super) acknowledgements: Acknowledgements,
    pub(super) blacklist: Blacklist,
    pub(super) access: Access,
    pub(super) answers: Answers,
}

impl Ended {
    /// Removes it now and then, until the process stops.
    pub(super) async fn clean_up(self, tasks: Tasks) {
        let stopping = tasks.stopping();
        let wait = || tokio::time::sleep(CLEAN_UP_INTERVAL);
        while stopping.run_until_cancelled(wait()).await.is_some() {
            self.long_polling.remove_ended().await;
            self.acknowledgements.remove_ended().await;
            self.blacklist.remove_ended().await;
            self.access.remove_ended().await;
            self.answers.remove_ended().await;
        }
    }
}

/// Keeps the metric of the readiness up to date.
pub(super) async fn show_readiness(readiness: Readiness, metrics: Metrics, tasks: Tasks) {
    let stopping = tasks.stopping();
    loop {
        metrics.ready.set(i64::from(readiness.is_ready()));
        if stopping
            .run_until_cancelled(readiness.changed())
            .await
            .is_none()
        {
            return;
        }
    }
}
