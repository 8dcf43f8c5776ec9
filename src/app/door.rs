//! The door: who may do what and who is here, put together from the settings.

use std::sync::{Arc, OnceLock};

use super::AppError;
use crate::access::{Access, AccessParts};
use crate::config::Config;
use crate::dispatch::{Dispatcher, TokenKey};
use crate::fetch::Fetch;
use crate::identity::Verifier;
use crate::kafka::Producer;
use crate::session::{Blacklist, PresenceEvents, Registry};
use crate::shared::StateLog;
use crate::telemetry::{Metrics, Readiness, Tasks};

/// What the door stands on.
pub(super) struct Ground<'a> {
    pub(super) producer: &'a Producer,
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) readiness: &'a Readiness,
    pub(super) metrics: &'a Metrics,
    pub(super) tasks: &'a Tasks,
}

/// What decides who may do what, and who knows who is here.
pub(super) struct Door {
    pub(super) state: Arc<StateLog>,
    /// Has the key of connection tokens, once it is known.
    pub(super) token_key: Arc<OnceLock<TokenKey>>,
    pub(super) blacklist: Blacklist,
    pub(super) access: Access,
    pub(super) registry: Registry,
}

impl Door {
    /// Starts to read the shared state and, where there is an issuer, to keep its keys up to date.
    pub(super) fn open(config: &Config, ground: &Ground<'_>) -> Result<Self, AppError> {
        let (producer, tasks) = (ground.producer, ground.tasks);
        let readiness = ground.readiness.clone();
        let state = StateLog::start(&config.kafka, producer.clone(), readiness)?;
        let state = Arc::new(state);
        let token_key = Arc::default();
        let own = ground.dispatcher.incarnation();
        let blacklist = Blacklist::new(Arc::clone(&state), own);
        let fetch = Fetch::new();
        let verifier = Verifier::new(&config.identity, &fetch, tasks, ground.metrics)?;
        let access = Access::new(AccessParts {
            config: config.access.clone(),
            rules: config.rules.clone(),
            verifier,
            blacklist: blacklist.clone(),
            extractors: Arc::clone(&config.extractors),
            limits: config.subscription_limits,
            cors: config.cors.cors.clone(),
            fetch,
            state: Arc::clone(&state),
            token_key: Arc::clone(&token_key),
            ticket_rates: config
                .rates
                .of_tickets(ground.metrics.limited_tickets.clone()),
            own,
        });
        let events = PresenceEvents::start(&config.session, &config.kafka, producer, tasks);
        let registry = Registry::new(&config.session, ground.dispatcher.clone(), events);
        Ok(Self {
            state,
            token_key,
            blacklist,
            access,
            registry,
        })
    }
}
