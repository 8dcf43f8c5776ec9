//! What the shared state says of APIs, and what that makes of those of the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{ConfiguredApis, STATE_KIND};
use crate::proxy::definition::{Definition, Hosts};
use crate::proxy::routes::Candidate;
use crate::shared::StateLog;

/// What the shared state says of APIs, by id.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    by_id: BTreeMap<Arc<str>, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// What it was read from.
    value: Bytes,
    /// `None` for what was deleted, and for what cannot be used here.
    definition: Option<Arc<Definition>>,
}

impl Kept {
    /// Reads what has changed in the state; returns whether anything has.
    pub(super) fn update(&mut self, state: &StateLog, hosts: &Hosts) -> bool {
        let mut later = BTreeMap::new();
        let mut has_changed = false;
        state.for_each(STATE_KIND, |id, value| {
            let known = self.by_id.remove_entry(id);
            let known = known.filter(|(_, entry)| entry.value == *value);
            has_changed |= known.is_none();
            let (id, entry) = known.unwrap_or_else(|| (id.into(), Entry::read(id, value, hosts)));
            later.insert(id, entry);
        });
        // What is left is no longer there, or there with another value.
        has_changed |= !self.by_id.is_empty();
        self.by_id = later;
        has_changed
    }

    /// Adds a definition that is not in the state yet.
    pub(super) fn add(&mut self, definition: Arc<Definition>) {
        let id = Arc::clone(&definition.id);
        let entry = Entry {
            value: Bytes::new(),
            definition: Some(definition),
        };
        self.by_id.insert(id, entry);
    }

    /// Returns the definitions that are in use, in the order of their routes: those of the file, each as the state has it
    /// where it has it, then the others sorted by their ids.
    pub(super) fn active(&self, configured: &ConfiguredApis) -> Vec<Arc<Definition>> {
        let mut others = self.by_id.clone();
        let of_file =
            configured
                .definitions
                .iter()
                .filter_map(|api| match others.remove(&api.id) {
                    Some(entry) => entry.definition,
                    None => Some(Arc::clone(api)),
                });
        let of_file: Vec<Arc<Definition>> = of_file.collect();
        let others = others.into_values().filter_map(|entry| entry.definition);
        of_file
            .into_iter()
            .chain(others)
            .filter(|api| api.is_active)
            .collect()
    }

    /// Returns all routes in their order.
    pub(super) fn candidates(&self, configured: &ConfiguredApis) -> Vec<Arc<Candidate>> {
        let active = self.active(configured).into_iter();
        active.flat_map(|api| api.routes.clone()).collect()
    }

    /// Returns what to tell whoever runs this instance: what is doubtful, and what of the file is not in force.
    pub(super) fn doubts(&self, configured: &ConfiguredApis) -> Vec<String> {
        let overridden = configured.definitions.iter().filter_map(|api| {
            let id = &api.id;
            self.by_id.contains_key(id).then(|| {
                format!("api {id:?} of PROXY_CONFIG_FILE is not in force: it was changed or deleted over /v3/apis")
            })
        });
        let active = self.active(configured);
        let doubtful = active.iter().flat_map(|api| configured.doubts_of(api));
        overridden.chain(doubtful).collect()
    }
}

impl Entry {
    fn read(id: &str, value: &Bytes, hosts: &Hosts) -> Self {
        Self {
            value: value.clone(),
            definition: read(id, value, hosts).map(Arc::new),
        }
    }
}

fn read(id: &str, value: &[u8], hosts: &Hosts) -> Option<Definition> {
    let Some(document) = parse(id, value) else {
        tracing::error!(
            api = id,
            "a definition in the shared state is no JSON, its requests lead nowhere"
        );
        return None;
    };
    if !super::is_active(&document) {
        return None;
    }
    match Definition::read(&Value::Object(document), hosts) {
        Ok(definition) => Some(definition),
        Err(faults) => {
            tracing::error!(api = id, %faults, "a definition in the shared state cannot be used, its requests lead nowhere");
            None
        }
    }
}

/// Reads an entry of the state; its key is the id.
pub(super) fn parse(id: &str, value: &[u8]) -> Option<Map<String, Value>> {
    let mut document: Map<String, Value> = serde_json::from_slice(value).ok()?;
    document.insert("id".to_owned(), id.into());
    Some(document)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proxy::apis::ApisConfig;
    use crate::proxy::definition::Means;

    fn api(id: &str, path: &str) -> Value {
        json!({
            "id": id, "name": id, "proxy": { "target_url": "t", "port": 1 },
            "version_data": { "default": { "endpoints": [{ "id": "e", "method": "GET", "path_regex": path }] } },
        })
    }

    fn routes(kept: &[(&str, Value)]) -> Vec<String> {
        let file = json!([api("b", "/b"), api("a", "/a")]).to_string();
        let config = ApisConfig {
            proxy_config_file: Some(file),
        };
        let configured = config.load(Hosts::default(), Means::default()).unwrap();
        let mut all = Kept::default();
        for (id, value) in kept {
            let value = Bytes::from(value.to_string());
            let entry = Entry::read(id, &value, &Hosts::default());
            all.by_id.insert((*id).into(), entry);
        }
        let candidates = all.candidates(&configured);
        let names = candidates
            .iter()
            .map(|candidate| format!("{} {}", candidate.route.api, candidate.route.path_regex));
        names.collect()
    }

    #[test]
    fn those_of_the_file_come_first_as_the_state_has_them() {
        assert_eq!(routes(&[]), ["b /b", "a /a"]);
        assert_eq!(
            routes(&[
                ("z", api("z", "/z")),
                ("c", api("other", "/c")),
                ("b", api("b", "/new"))
            ]),
            ["b /new", "a /a", "c /c", "z /z"]
        );
    }

    #[test]
    fn what_was_deleted_or_cannot_be_used_leads_nowhere() {
        assert_eq!(routes(&[("b", json!({ "active": false }))]), ["a /a"]);
        assert_eq!(routes(&[("b", api("b", "(")), ("c", json!("x"))]), ["a /a"]);
    }
}
