//! What was taken and hardly does what was meant: it is told to whoever runs an instance.

use serde_json::{Map, Value};

use super::hosts::{Host, Hosts};

/// What an instance has been set up with, as far as definitions need it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Means {
    /// Whether there is a key to verify tokens with.
    pub verifies_tokens: bool,
    /// Whether NATS is used.
    pub has_nats: bool,
    /// Whether there is a schema registry.
    pub has_registry: bool,
}

/// The members of an API that mean something, or meant something to RIG.
const API: [&str; 12] = [
    "id",
    "name",
    "auth_type",
    "auth",
    "versioned",
    "active",
    "version_data",
    "proxy",
    "ref_number",
    "timestamp",
    "node_name",
    "phx_ref",
];
const AUTH: [&str; 4] = ["use_header", "header_name", "use_query", "query_name"];
const PROXY: [&str; 5] = [
    "target_url",
    "port",
    "use_env",
    "target_urls",
    "health_path",
];
const ENDPOINT: [&str; 12] = [
    "id",
    "method",
    "path_regex",
    "path_replacement",
    "secured",
    "transform_request_headers",
    "target",
    "topic",
    "schema",
    "response_from",
    "key",
    "type",
];

/// Returns what is doubtful about a definition that was taken, a sentence each.
pub(in crate::proxy) fn doubts(
    document: &Map<String, Value>,
    hosts: &Hosts,
    means: Means,
) -> Vec<String> {
    let mut found = Vec::new();
    unknown(document, &API, &mut found);
    let part = |name: &str| document.get(name).and_then(Value::as_object);
    if let Some(auth) = part("auth") {
        unknown(auth, &AUTH, &mut found);
    }
    if let Some(proxy) = part("proxy") {
        unknown(proxy, &PROXY, &mut found);
        found.extend(unset_host(proxy, hosts));
    }
    let id = text(document, "id");
    let mut doubts: Vec<String> = found
        .into_iter()
        .map(|what| format!("api {id:?}: {what}"))
        .collect();
    let endpoints = document
        .get("version_data")
        .and_then(|versions| versions.pointer("/default/endpoints"))
        .and_then(Value::as_array);
    for endpoint in endpoints.into_iter().flatten().filter_map(Value::as_object) {
        let name = text(endpoint, "id");
        let found = of_endpoint(endpoint, means).into_iter();
        doubts.extend(found.map(|what| format!("api {id:?}, endpoint {name:?}: {what}")));
    }
    doubts
}

fn of_endpoint(endpoint: &Map<String, Value>, means: Means) -> Vec<String> {
    let mut found = Vec::new();
    unknown(endpoint, &ENDPOINT, &mut found);
    let goes_to = |target: &str| text(endpoint, "target").eq_ignore_ascii_case(target);
    let is_secured = endpoint.get("secured") == Some(&Value::Bool(true));
    if is_secured && !means.verifies_tokens {
        found.push(
            "it is secured, and there is no key to verify tokens with, so all its requests are answered with 401: \
             set JWT_SECRET_KEY, JWT_JWKS_URL or JWT_OIDC_ISSUER"
                .to_owned(),
        );
    }
    if goes_to("nats") && !means.has_nats {
        let what = "its target is nats, and NATS_SERVERS is not set, so all its requests are answered with 503";
        found.push(what.to_owned());
    }
    if goes_to("kafka") && !text(endpoint, "schema").is_empty() && !means.has_registry {
        let what = "it has a schema, and KAFKA_SCHEMA_REGISTRY_HOST is not set, so all its requests are answered with 503";
        found.push(what.to_owned());
    }
    found
}

/// Notes members that mean nothing: mostly they are misspelt.
fn unknown(object: &Map<String, Value>, known: &[&str], found: &mut Vec<String>) {
    let names = object.keys().filter(|name| !known.contains(&name.as_str()));
    found.extend(names.map(|name| format!("the member {name:?} means nothing here")));
}

/// Returns what is to be said of a host that a variable should name.
fn unset_host(proxy: &Map<String, Value>, hosts: &Hosts) -> Option<String> {
    let variable = text(proxy, "target_url");
    let is_named = proxy.get("use_env") == Some(&Value::Bool(true));
    (is_named && hosts.get(variable) == Host::Unset).then(|| {
        format!("the variable {variable:?} of target_url is not set, so its backend is localhost")
    })
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}
