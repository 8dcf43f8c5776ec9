//! The APIs of the cluster: those that instances are started with, and those that were made since.
//!
//! ```text
//! PROXY_CONFIG_FILE ─┐
//!                    ├─▶ one list ─▶ Routes, swapped as a whole
//! state topic ───────┘
//! ```
//!
//! # Invariants
//! - What is in the shared state wins over what an instance was started with. A definition of the file that was
//!   deleted stays deleted, since the state says so; instances of a cluster have the same file.
//! - The order of routes is the same at all instances: the definitions of the file in their order, also those that were
//!   changed since; then the others, sorted by their ids.
//! - A definition of the state that cannot be used here leads nowhere, not to the one that it replaced.
//! - When a change was acknowledged, this instance routes by it.
//! - The public port opens when the routes are known. Where Kafka is away then, those of the file are in force until the
//!   state is read; what is not found is 503 so long ([`Apis::is_loaded`]).

mod configured;
mod merged;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

pub use self::configured::{ApisConfig, ApisConfigError, ConfiguredApis};
use self::merged::Kept;
use super::definition::{Definition, Faults};
use super::routes::{Routes, TooLarge};
use crate::shared::{StateError, StateLog};
use crate::telemetry::{Condition, Readiness, Tasks, now_ms, rfc3339};

/// The kind of the entries in the shared state.
const STATE_KIND: &str = "api";
/// The most APIs that can be made beside those of the file.
const MAX_APIS: usize = 1000;
/// The largest definition, in bytes of JSON; it has to fit a record.
pub const MAX_API_BYTES: usize = 256 * 1024;

/// Why an API was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The shared state is not read to its end yet.
    #[error("the shared state is being read")]
    NotLoaded,
    /// Something is wrong with the definition.
    #[error("the definition is refused: {0}")]
    Invalid(Faults),
    /// There is one with this id.
    #[error("there is an API with the id {id:?}")]
    Exists {
        /// The id.
        id: Box<str>,
    },
    /// There is none with this id.
    #[error("there is no API with the id {id:?}")]
    Missing {
        /// The id.
        id: Box<str>,
    },
    /// The shared state does not take it.
    #[error(transparent)]
    State(#[from] StateError),
    /// A definition was not read to its end, since the process stops.
    #[error("the definition was not read")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// The APIs of the cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Apis {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    configured: ConfiguredApis,
    state: Arc<StateLog>,
    /// The name of this instance.
    instance: String,
    routes: watch::Sender<Arc<Routes>>,
    /// What the state said when the routes were last compiled.
    kept: Mutex<Kept>,
    /// What was told of the definitions in force.
    told: Mutex<HashSet<String>>,
    is_loaded: AtomicBool,
}

impl Apis {
    /// Puts together what the instance is started with and the shared state, which [`follow`](Self::follow) reads;
    /// `instance` is its name in what it writes.
    #[must_use]
    pub fn new(configured: ConfiguredApis, state: Arc<StateLog>, instance: String) -> Self {
        let shared = Shared {
            routes: watch::Sender::new(Arc::clone(&configured.routes)),
            configured,
            state,
            instance,
            kept: Mutex::default(),
            told: Mutex::default(),
            is_loaded: AtomicBool::new(false),
        };
        shared.tell(shared.configured.doubts());
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Returns the routes as they are now.
    pub(crate) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.shared.routes.borrow())
    }

    /// Returns the routes as they are now and will be.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Routes>> {
        self.shared.routes.subscribe()
    }

    /// Returns whether the routes are those of the cluster: before, one that is not found may still come.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.shared.is_loaded.load(Ordering::Acquire)
    }

    /// Compiles the routes anew at each change of the shared state, until the process stops; sets
    /// [`Condition::RoutesKnown`] when they are those of the cluster for the first time.
    pub async fn follow(self, readiness: Readiness, tasks: Tasks) {
        let stopping = tasks.stopping();
        let mut changes = self.shared.state.changes(STATE_KIND);
        let loaded = self.shared.state.loaded();
        if stopping.run_until_cancelled(loaded).await.is_none() {
            return;
        }
        self.refresh().await;
        self.shared.is_loaded.store(true, Ordering::Release);
        readiness.set(Condition::RoutesKnown, true);
        while let Some(change) = stopping.run_until_cancelled(changes.recv()).await {
            if matches!(change, Err(RecvError::Closed)) {
                return;
            }
            // One compilation for all that has come meanwhile.
            while changes.try_recv().is_ok() {}
            self.refresh().await;
        }
    }

    /// Returns the definitions that are in use, in the order of their routes.
    ///
    /// # Errors
    /// [`ApiError::NotLoaded`].
    pub fn list(&self) -> Result<Vec<Value>, ApiError> {
        self.check_loaded()?;
        let documents = self.shared.documents().into_iter();
        Ok(documents.filter(is_active).map(Value::Object).collect())
    }

    /// Returns a definition that is in use.
    ///
    /// # Errors
    /// [`ApiError::NotLoaded`], [`ApiError::Missing`].
    pub fn get(&self, id: &str) -> Result<Value, ApiError> {
        self.active(id).map(Value::Object)
    }

    /// Adds an API. When this returns, Kafka has it and this instance routes by it.
    ///
    /// # Errors
    /// [`ApiError`]; also when another one that is in use has its id.
    ///
    /// # Cancel safety
    /// Dropping the future may leave it made.
    pub async fn create(&self, document: Value) -> Result<(), ApiError> {
        self.check_loaded()?;
        let definition = self.read(document).await?;
        let id = Arc::clone(&definition.id);
        let old = self.shared.document(&id);
        if old.as_ref().is_some_and(is_active) {
            return Err(ApiError::Exists { id: (*id).into() });
        }
        if self.shared.state.count(STATE_KIND) >= MAX_APIS {
            let reason = format!("must not be that of another API: there are {MAX_APIS} already");
            return Err(ApiError::Invalid(Faults::of_api("id", &reason)));
        }
        let number = old.map_or(0, |old| ref_number(&old) + 1);
        self.put(&id, definition.document.clone(), number).await
    }

    /// Replaces the members of an API that `document` has, and keeps its others. When this returns, Kafka has it and
    /// this instance routes by it. Of changes at the same time the last one in the log counts.
    ///
    /// # Errors
    /// [`ApiError`]; `document` has to be a whole definition by itself.
    ///
    /// # Cancel safety
    /// Dropping the future may leave it changed.
    pub async fn replace(&self, id: &str, mut document: Value) -> Result<(), ApiError> {
        self.check_loaded()?;
        if let Some(object) = document.as_object_mut() {
            object.insert("id".to_owned(), id.into());
        }
        self.read(document.clone()).await?;
        let mut merged = self.active(id)?;
        let number = ref_number(&merged) + 1;
        if let Value::Object(members) = document {
            merged.extend(members);
        }
        let definition = self.read(Value::Object(merged)).await?;
        self.put(id, definition.document.clone(), number).await
    }

    /// Deletes an API. When this returns, Kafka has it and this instance routes by it.
    ///
    /// # Errors
    /// [`ApiError`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave it deleted.
    pub async fn remove(&self, id: &str) -> Result<(), ApiError> {
        let old = self.active(id)?;
        if self.shared.configured(id).is_none() {
            self.shared.state.remove(STATE_KIND, id).await?;
            self.refresh().await;
            return Ok(());
        }
        let mut deleted = Map::new();
        deleted.insert("id".to_owned(), id.into());
        deleted.insert("active".to_owned(), false.into());
        self.put(id, deleted, ref_number(&old) + 1).await
    }

    fn check_loaded(&self) -> Result<(), ApiError> {
        if self.is_loaded() {
            Ok(())
        } else {
            Err(ApiError::NotLoaded)
        }
    }

    fn active(&self, id: &str) -> Result<Map<String, Value>, ApiError> {
        self.check_loaded()?;
        let document = self.shared.document(id).filter(is_active);
        document.ok_or_else(|| ApiError::Missing { id: id.into() })
    }

    /// Reads a definition, and looks whether it can be compiled with all others.
    async fn read(&self, document: Value) -> Result<Arc<Definition>, ApiError> {
        let shared = Arc::clone(&self.shared);
        let read = move || {
            let hosts = &shared.configured.hosts;
            let definition = Definition::read(&document, hosts).map_err(ApiError::Invalid)?;
            let definition = Arc::new(definition);
            let mut kept = shared.kept.lock().clone();
            kept.add(Arc::clone(&definition));
            let compiled = Routes::compile(kept.candidates(&shared.configured));
            let as_fault = |TooLarge| Faults::of_api("path_regex", &TooLarge.to_string());
            compiled.map_err(|error| ApiError::Invalid(as_fault(error)))?;
            Ok(definition)
        };
        tokio::task::spawn_blocking(read).await?
    }

    async fn put(
        &self,
        id: &str,
        mut document: Map<String, Value>,
        ref_number: u64,
    ) -> Result<(), ApiError> {
        document.insert("ref_number".to_owned(), ref_number.into());
        document.insert("timestamp".to_owned(), rfc3339(now_ms()).into());
        document.insert("node_name".to_owned(), json!(self.shared.instance));
        let json = Value::Object(document).to_string();
        if json.len() > MAX_API_BYTES {
            let reason = format!("must not be longer than {MAX_API_BYTES} bytes with what it had");
            return Err(ApiError::Invalid(Faults::of_api("version_data", &reason)));
        }
        let state = &self.shared.state;
        state.put(STATE_KIND, id, json.as_bytes()).await?;
        self.refresh().await;
        Ok(())
    }

    async fn refresh(&self) {
        let shared = Arc::clone(&self.shared);
        if let Err(error) = tokio::task::spawn_blocking(move || shared.compile()).await {
            tracing::error!(%error, "the routes were not compiled");
        }
    }
}

impl Shared {
    /// Compiles the routes of what the state has now. Of two at a time the later one has all that the other one saw.
    fn compile(&self) {
        let mut kept = self.kept.lock();
        if !kept.update(&self.state, &self.configured.hosts) {
            return;
        }
        match Routes::compile(kept.candidates(&self.configured)) {
            Ok(routes) => {
                self.routes.send_replace(Arc::new(routes));
                self.tell(kept.doubts(&self.configured));
            }
            Err(error) => {
                tracing::error!(%error, "the routes stay as they were: delete some definitions of APIs");
            }
        }
    }

    /// Logs what is doubtful about the definitions in force, each once as long as it holds.
    fn tell(&self, doubts: Vec<String>) {
        let mut told = self.told.lock();
        for doubt in doubts.iter().filter(|doubt| !told.contains(*doubt)) {
            tracing::warn!("{doubt}");
        }
        *told = doubts.into_iter().collect();
    }

    fn configured(&self, id: &str) -> Option<&Arc<Definition>> {
        let mut definitions = self.configured.definitions.iter();
        definitions.find(|api| *api.id == *id)
    }

    /// Returns what is known of an API, also of one that was deleted.
    fn document(&self, id: &str) -> Option<Map<String, Value>> {
        match self.state.get(STATE_KIND, id) {
            Some(value) => merged::parse(id, &value),
            None => Some(self.configured(id)?.document.clone()),
        }
    }

    fn documents(&self) -> Vec<Map<String, Value>> {
        let mut ids = Vec::new();
        self.state.for_each(STATE_KIND, |id, _| {
            if self.configured(id).is_none() {
                ids.push(id.to_owned());
            }
        });
        ids.sort_unstable();
        let configured = self.configured.definitions.iter().map(|api| &*api.id);
        let ids = configured.chain(ids.iter().map(String::as_str));
        ids.filter_map(|id| self.document(id)).collect()
    }
}

fn is_active(document: &Map<String, Value>) -> bool {
    document.get("active") != Some(&Value::Bool(false))
}

fn ref_number(document: &Map<String, Value>) -> u64 {
    let number = document.get("ref_number").and_then(Value::as_u64);
    // Room for all that may come.
    number.unwrap_or(0).min(u64::from(u32::MAX))
}
