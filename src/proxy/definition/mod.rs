//! Definitions of APIs: which requests go where, as RIG's users write it in JSON.
//!
//! ```text
//! JSON ─▶ Definition::read ─┬─▶ the document, with RIG's defaults, to be kept and shown
//!                           ├─▶ routes with their patterns
//!                           └─▶ or Faults: all that is wrong, by place and field
//! ```
//!
//! # Invariants
//! - What cannot be honoured is refused: an API that was taken works as it says.
//! - Members that mean nothing here are kept and have no effect; `doubts` tells them, and what this instance cannot serve.
//!
//! # Source
//! RIG 3.0's API definitions; `docs/api-definitions.md` and `schemas/api-definitions.json` have the format.

mod address;
mod doubts;
mod endpoint;
mod faults;
mod fields;
mod headers;
mod hosts;
mod key;
mod target;
mod upstream;

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

pub use self::doubts::Means;
pub(super) use self::doubts::doubts;
use self::endpoint::Surroundings;
pub use self::faults::Faults;
use self::fields::Fields;
pub use self::hosts::Hosts;
use super::routes::Candidate;

/// The longest id of an API or an endpoint, in bytes.
const MAX_ID_BYTES: usize = 256;
/// The most endpoints of one API.
const MAX_ENDPOINTS: usize = 1000;

/// An API that was read.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) id: Arc<str>,
    /// Whether it is in use; one that is not was deleted.
    pub(super) is_active: bool,
    /// Its routes, in the order of its endpoints.
    pub(super) routes: Vec<Arc<Candidate>>,
    /// What was read, with defaults for what was left out.
    pub(super) document: Map<String, Value>,
}

impl Definition {
    /// Reads one API; `hosts` are what definitions with `use_env` name.
    ///
    /// # Errors
    /// [`Faults`]: all that is wrong with it.
    pub(super) fn read(document: &Value, hosts: &Hosts) -> Result<Self, Faults> {
        let Some(object) = document.as_object() else {
            return Err(Faults::of_api(faults::API, "must be an object"));
        };
        let mut faults = Faults::default();
        let mut api = Fields::of(document);
        let id: Arc<str> = read_id(&mut api).unwrap_or_default().into();
        api.required_text("name");
        let endpoints = read_versions(document);
        let needs_upstream =
            endpoints.list.is_empty() || endpoints.list.iter().any(target::needs_upstream);
        let upstream = read_proxy(&mut api, hosts, needs_upstream);
        api.faults(endpoints.faults);
        if api.flag("versioned") {
            let reason = "must be false: the version default is the only one that is served";
            api.fault("versioned", reason);
        }
        let is_active = api.flag_or("active", true);
        let (tokens, auth_faults) = headers::read_auth(document);
        let (add_headers, header_faults) = headers::read_added(endpoints.version);
        api.faults(header_faults);
        faults.add(faults::API, api.into_faults());
        faults.add(&id, auth_faults);
        let surroundings = Surroundings {
            api: &id,
            auth_type: document.get("auth_type").unwrap_or(&Value::Null),
            tokens,
            add_headers,
            upstream,
        };
        let routes = read_endpoints(endpoints.list, &surroundings, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            document: with_defaults(object),
            id,
            is_active,
            routes,
        })
    }
}

/// Reads the id of an API or an endpoint.
fn read_id<'a>(fields: &mut Fields<'a>) -> Option<&'a str> {
    let id = fields.required_text("id")?;
    if id.len() > MAX_ID_BYTES {
        let reason = format!("must not be longer than {MAX_ID_BYTES} bytes");
        fields.fault("id", reason);
    }
    if id.contains(char::is_control) {
        fields.fault("id", "must not have control characters");
    }
    Some(id)
}

/// Reads the member `proxy`, which may be left out where nothing goes to an HTTP backend.
fn read_proxy(
    api: &mut Fields<'_>,
    hosts: &Hosts,
    is_needed: bool,
) -> Option<Arc<super::route::UpstreamSpec>> {
    let proxy = api.object("proxy");
    let is_empty = proxy.as_object().is_none_or(Map::is_empty);
    if is_empty && !is_needed {
        return None;
    }
    let is_something_else = proxy.is_null() && api.get("proxy").is_some();
    if is_empty && !is_something_else {
        api.fault("proxy", "must be present");
    }
    if proxy.is_null() {
        return None;
    }
    let (upstream, faults) = upstream::read_upstream(proxy, hosts);
    api.faults(faults);
    upstream.map(Arc::new)
}

/// The endpoints of the version that is served.
struct Endpoints<'a> {
    version: &'a Value,
    list: &'a [Value],
    faults: Vec<faults::Fault>,
}

/// Reads the member `version_data`, of which `default` is served.
fn read_versions(document: &Value) -> Endpoints<'_> {
    let mut api = Fields::of(document);
    let versions = api.object("version_data");
    let mut version = &Value::Null;
    let mut list: &[Value] = &[];
    match versions.as_object() {
        Some(versions) if !versions.is_empty() => {
            for (name, value) in versions {
                let mut fields = Fields::of(value);
                let endpoints = fields.required_list("endpoints");
                api.faults(fields.into_faults());
                if name == "default" {
                    (version, list) = (value, endpoints);
                }
            }
            if !versions.contains_key("default") {
                let reason = "must have the version default, the only one that is served";
                api.fault("version_data", reason);
            }
        }
        found => {
            api.fault("version_data", "must be present");
            if found.is_some() {
                let reason = "must have at least one version, e.g. default";
                api.fault("version_data", reason);
            }
        }
    }
    if list.len() > MAX_ENDPOINTS {
        let reason = format!("must not be more than {MAX_ENDPOINTS}");
        api.fault("endpoints", reason);
        list = &[];
    }
    Endpoints {
        version,
        list,
        faults: api.into_faults(),
    }
}

fn read_endpoints(
    list: &[Value],
    surroundings: &Surroundings<'_>,
    faults: &mut Faults,
) -> Vec<Arc<Candidate>> {
    let mut ids = HashSet::new();
    let mut routes = Vec::with_capacity(list.len());
    for value in list {
        let (id, route, mut found) = endpoint::read_endpoint(value, surroundings);
        if !id.is_empty() && !ids.insert(id) {
            found.push(("id".into(), "must not be that of another endpoint".into()));
        }
        faults.add(&format!("{}/{id}", surroundings.api), found);
        routes.extend(route.map(Arc::new));
    }
    routes
}

/// Adds RIG's defaults for what an API leaves out.
fn with_defaults(object: &Map<String, Value>) -> Map<String, Value> {
    let mut document = object.clone();
    for (name, default) in [
        ("auth_type", json!("none")),
        ("versioned", json!(false)),
        ("active", json!(true)),
        ("ref_number", json!(0)),
    ] {
        let member = document.entry(name).or_insert(Value::Null);
        if member.is_null() {
            *member = default;
        }
    }
    document
}

#[cfg(test)]
mod tests;
