//! The door: who may do what, put together from the settings.

use std::sync::{Arc, OnceLock};

use super::AppError;
use crate::access::{Access, AccessParts};
use crate::config::Config;
use crate::dispatch::{Incarnation, TokenKey};
use crate::fetch::Fetch;
use crate::identity::Verifier;
use crate::session::Blacklist;
use crate::shared::StateLog;
use crate::telemetry::{Metrics, Tasks};

/// What the door needs of the instance.
pub(super) struct Door<'a> {
    pub(super) blacklist: &'a Blacklist,
    pub(super) state: &'a Arc<StateLog>,
    pub(super) token_key: &'a Arc<OnceLock<TokenKey>>,
    pub(super) own: Incarnation,
}

impl Door<'_> {
    /// Puts it together; keys of tokens are kept up to date on `tasks`.
    pub(super) fn open(
        &self,
        config: &Config,
        tasks: &Tasks,
        metrics: &Metrics,
    ) -> Result<Access, AppError> {
        let fetch = Fetch::new();
        let verifier = Verifier::new(&config.identity, &fetch, tasks, metrics)?;
        Ok(Access::new(AccessParts {
            config: config.access.clone(),
            rules: config.rules.clone(),
            verifier,
            blacklist: self.blacklist.clone(),
            extractors: Arc::clone(&config.extractors),
            limits: config.subscription_limits,
            cors: config.cors.cors.clone(),
            fetch,
            state: Arc::clone(self.state),
            token_key: Arc::clone(self.token_key),
            own: self.own,
        }))
    }
}
