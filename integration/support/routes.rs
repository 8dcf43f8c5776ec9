//! API definitions, as tests write them.

use serde_json::{Value, json};

use super::gateway::Settings;
use super::kafka::Kafka;

/// The methods that [`all`] has routes for; `HEAD` takes those for `GET`.
pub const METHODS: [&str; 7] = [
    "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND",
];

/// An API with these endpoints at the backends with these URLs.
pub fn api(id: &str, urls: &[String], endpoints: Value) -> Value {
    json!({
        "id": id, "name": id, "proxy": { "target_urls": urls },
        "version_data": { "default": { "endpoints": endpoints } },
    })
}

/// An endpoint; its id is that of nothing else.
pub fn endpoint(method: &str, path_regex: &str) -> Value {
    let id = format!("{method} {path_regex}");
    json!({ "id": id, "method": method, "path_regex": path_regex })
}

/// An endpoint for GET whose path becomes another one at the backend.
pub fn replacing(path_regex: &str, replacement: &str) -> Value {
    let mut endpoint = endpoint("GET", path_regex);
    endpoint["path_replacement"] = json!(replacement);
    endpoint
}

/// An API that has a backend answer all requests.
pub fn all(url: &str) -> Value {
    all_below("all", "", &[url.to_owned()])
}

/// An API that has backends answer all requests whose path begins so.
pub fn all_below(id: &str, prefix: &str, urls: &[String]) -> Value {
    let pattern = format!("{prefix}/.*");
    let endpoints = METHODS.iter().map(|method| endpoint(method, &pattern));
    api(id, urls, endpoints.collect())
}

impl Settings {
    /// Settings of an instance with these APIs.
    pub fn routing(kafka: &Kafka, apis: &[Value]) -> Self {
        Self::new(kafka).with("PROXY_CONFIG_FILE", json!(apis).to_string())
    }
}
