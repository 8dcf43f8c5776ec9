//! Reads where the requests of an endpoint go, and where their answers come from.

use std::sync::Arc;

use serde_json::Value;

use super::fields::{Fields, one_of};
use super::key::read_key;
use crate::kafka::TopicList;
use crate::proxy::route::{HttpAnswer, KeyRule, Target, UpstreamSpec};

/// The kinds of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Kafka,
    Nats,
}

const KINDS: [&str; 3] = ["http", "kafka", "nats"];

/// Returns whether requests of an endpoint may go to an HTTP backend.
pub(super) fn needs_upstream(endpoint: &Value) -> bool {
    let target = Fields::of(endpoint).text("target").unwrap_or("http");
    target.eq_ignore_ascii_case("http")
}

/// Reads the target of an endpoint whose pattern has `groups` groups; nothing where something is wrong with it, or
/// with `upstream`.
pub(super) fn read_target(
    endpoint: &mut Fields<'_>,
    upstream: Option<&Arc<UpstreamSpec>>,
    groups: usize,
) -> Option<Target> {
    let name = endpoint.text("target").map(str::to_ascii_lowercase);
    let from = endpoint.text("response_from").map(str::to_ascii_lowercase);
    let kind = read_kind(endpoint, name.as_deref());
    let topic = read_topic(endpoint, kind);
    let schema = endpoint.text("schema");
    if schema.is_some() && name.is_none() {
        endpoint.fault("target", "must be present");
    } else if schema.is_some() && matches!(kind, Some(Kind::Http | Kind::Nats)) {
        endpoint.fault("schema", "must not be there but for the target kafka");
    }
    let key = read_rule(endpoint, kind, groups);
    match kind? {
        Kind::Http => {
            let answer = read_answer(endpoint, from.as_deref())?;
            let upstream = Arc::clone(upstream?);
            Some(Target::Http { upstream, answer })
        }
        Kind::Kafka => Some(Target::Kafka {
            waits: read_waits(endpoint, from.as_deref(), "kafka")?,
            topic: topic?.into(),
            schema: schema.map(Into::into),
            key: key?,
        }),
        Kind::Nats => Some(Target::Nats {
            waits: read_waits(endpoint, from.as_deref(), "nats")?,
            subject: topic?.into(),
        }),
    }
}

fn read_kind(endpoint: &mut Fields<'_>, name: Option<&str>) -> Option<Kind> {
    match name {
        None | Some("http") => return Some(Kind::Http),
        Some("kafka") => return Some(Kind::Kafka),
        Some("nats") if cfg!(feature = "nats") => return Some(Kind::Nats),
        Some("nats") => endpoint.fault("target", "must not be nats: this program has no NATS"),
        Some("kinesis") => {
            let reason = format!("{}: kinesis is not supported", one_of(&KINDS));
            endpoint.fault("target", reason);
        }
        Some(_) => endpoint.fault("target", one_of(&KINDS)),
    }
    None
}

/// Reads the topic, or the subject of NATS.
fn read_topic<'a>(endpoint: &mut Fields<'a>, kind: Option<Kind>) -> Option<&'a str> {
    let topic = endpoint.text("topic");
    match (kind?, topic) {
        (Kind::Http, _) => {}
        (_, None) => endpoint.fault("topic", "must be present"),
        (Kind::Kafka, Some(topic)) if !is_topic(topic) => {
            let reason = "must be 1 to 249 letters, digits, dots, underscores and hyphens";
            endpoint.fault("topic", reason);
        }
        (Kind::Nats, Some(subject)) if !is_subject(subject) => {
            let reason =
                "must be a subject: names with dots in between, without spaces and wildcards";
            endpoint.fault("topic", reason);
        }
        _ => {}
    }
    topic
}

fn is_topic(text: &str) -> bool {
    let list = text.parse::<TopicList>();
    list.is_ok_and(|list| matches!(list.names(), [name] if name == text))
}

fn is_subject(text: &str) -> bool {
    let is_bad = |character: char| character.is_whitespace() || character.is_control();
    let is_name = |name: &str| !name.is_empty() && !name.contains(['*', '>']);
    !text.contains(is_bad) && text.split('.').all(is_name)
}

fn read_rule(endpoint: &mut Fields<'_>, kind: Option<Kind>, groups: usize) -> Option<KeyRule> {
    let Some(rule) = endpoint.get("key") else {
        return Some(KeyRule::TargetPartition);
    };
    if kind? != Kind::Kafka {
        endpoint.fault("key", "must not be there but for the target kafka");
        return None;
    }
    match read_key(rule, groups) {
        Ok(rule) => Some(rule),
        Err(error) => {
            endpoint.fault("key", error.to_string());
            None
        }
    }
}

fn read_answer(endpoint: &mut Fields<'_>, from: Option<&str>) -> Option<HttpAnswer> {
    match from {
        None | Some("http") => Some(HttpAnswer::Direct),
        Some("kafka") => Some(HttpAnswer::Kafka),
        Some("http_async") => Some(HttpAnswer::Callback),
        Some(_) => {
            let reason = one_of(&["http", "kafka", "http_async"]);
            endpoint.fault("response_from", reason);
            None
        }
    }
}

/// Returns whether the client waits for an answer from `own`. RIG shows `http` where nothing was said: nobody waits.
fn read_waits(endpoint: &mut Fields<'_>, from: Option<&str>, own: &str) -> Option<bool> {
    match from {
        None | Some("none" | "http") => Some(false),
        Some(name) if name == own => Some(true),
        Some(_) => {
            endpoint.fault("response_from", one_of(&["none", own]));
            None
        }
    }
}
