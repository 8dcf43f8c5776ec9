//! The definitions of APIs that an instance is started with.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::proxy::definition::{Definition, Faults, Hosts, Means, doubts};
use crate::proxy::routes::{Routes, TooLarge};

/// Where the definitions of APIs are.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Request proxy")]
pub struct ApisConfig {
    /// Definitions of APIs: a list in JSON, or the path of a file with it
    #[arg(long, value_name = "APIS")]
    pub proxy_config_file: Option<String>,
}

/// Why definitions of APIs are refused at start.
#[derive(Debug, thiserror::Error)]
pub enum ApisConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}, which PROXY_CONFIG_FILE names: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Not JSON.
    #[error("PROXY_CONFIG_FILE: not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// Not a list.
    #[error("PROXY_CONFIG_FILE: expected a list of APIs, as in [{{\"id\": …}}]")]
    NotAList,
    /// Something is wrong with some of them.
    #[error("PROXY_CONFIG_FILE: {0}")]
    Faults(Faults),
    /// There are too many.
    #[error("PROXY_CONFIG_FILE: {0}")]
    TooLarge(#[from] TooLarge),
}

/// The definitions of APIs that an instance is started with; none by default. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ConfiguredApis {
    pub(super) definitions: Arc<[Arc<Definition>]>,
    pub(super) routes: Arc<Routes>,
    /// What definitions with `use_env` name, also those that are made later.
    pub(super) hosts: Arc<Hosts>,
    pub(super) means: Means,
}

impl ApisConfig {
    /// Reads the definitions; `hosts` are what those with `use_env` name, and `means` what they can rely on.
    ///
    /// # Errors
    /// [`ApisConfigError`], with all that is wrong in one line.
    pub fn load(&self, hosts: Hosts, means: Means) -> Result<ConfiguredApis, ApisConfigError> {
        let json = match self.proxy_config_file.as_deref().map(str::trim) {
            None | Some("") => "[]".to_owned(),
            Some(json) if json.starts_with(['[', '{']) => json.to_owned(),
            Some(path) => {
                let path = PathBuf::from(path);
                std::fs::read_to_string(&path)
                    .map_err(|source| ApisConfigError::Unreadable { path, source })?
            }
        };
        let Value::Array(list) = serde_json::from_str(&json)? else {
            return Err(ApisConfigError::NotAList);
        };
        let definitions = read_all(&list, &hosts).map_err(ApisConfigError::Faults)?;
        let active = definitions.iter().filter(|api| api.is_active);
        let candidates = active.flat_map(|api| api.routes.iter().cloned());
        Ok(ConfiguredApis {
            routes: Arc::new(Routes::compile(candidates.collect())?),
            definitions: definitions.into(),
            hosts: Arc::new(hosts),
            means,
        })
    }
}

impl ConfiguredApis {
    /// Returns what is doubtful about definitions that are in use: members that mean nothing, and what this instance
    /// cannot serve.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let active = self.definitions.iter().filter(|api| api.is_active);
        active.flat_map(|api| self.doubts_of(api)).collect()
    }

    pub(super) fn doubts_of(&self, api: &Definition) -> Vec<String> {
        doubts(&api.document, &self.hosts, self.means)
    }
}

fn read_all(list: &[Value], hosts: &Hosts) -> Result<Vec<Arc<Definition>>, Faults> {
    let mut faults = Faults::default();
    let mut definitions = Vec::with_capacity(list.len());
    let mut ids = HashSet::new();
    for (position, document) in (1..).zip(list) {
        match Definition::read(document, hosts) {
            Ok(api) if ids.insert(Arc::clone(&api.id)) => definitions.push(Arc::new(api)),
            Ok(_) => {
                let twice = Faults::of_api("id", "must not be that of another API");
                faults.add_api(position, twice);
            }
            Err(found) => faults.add_api(position, found),
        }
    }
    if faults.is_empty() {
        Ok(definitions)
    } else {
        Err(faults)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn load(text: &str) -> Result<ConfiguredApis, ApisConfigError> {
        let config = ApisConfig {
            proxy_config_file: Some(text.to_owned()),
        };
        config.load(Hosts::default(), Means::default())
    }

    fn api(id: &str) -> Value {
        json!({
            "id": id, "name": id, "proxy": { "target_url": "t", "port": 1 },
            "version_data": { "default": { "endpoints": [] } },
        })
    }

    #[test]
    fn definitions_are_a_list_or_a_file_with_it() {
        assert!(load("").unwrap().definitions.is_empty());
        let json = json!([api("b"), api("a")]).to_string();
        let ids = |apis: ConfiguredApis| -> Vec<String> {
            let ids = apis.definitions.iter().map(|api| api.id.to_string());
            ids.collect()
        };
        assert_eq!(ids(load(&format!(" {json}")).unwrap()), ["b", "a"]);
        let path = std::env::temp_dir().join(format!("sluicegate-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, json).unwrap();
        let loaded = load(path.to_str().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(ids(loaded.unwrap()), ["b", "a"]);
    }

    #[test]
    fn all_that_is_wrong_is_told_in_one_line() {
        let bad = json!([api("a"), { "id": "b", "name": "b" }, api("a")]).to_string();
        for (text, message) in [
            (
                "/no/such/file",
                "cannot read /no/such/file, which PROXY_CONFIG_FILE names: ",
            ),
            ("[", "PROXY_CONFIG_FILE: not JSON: "),
            ("{}", "PROXY_CONFIG_FILE: expected a list of APIs"),
            (
                &bad,
                "PROXY_CONFIG_FILE: api 2: proxy must be present; api 2: version_data must be present; \
                 api 3: id must not be that of another API",
            ),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
