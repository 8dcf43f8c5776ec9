//! Reads where the requests of an endpoint go, and where their answers come from.

use std::sync::Arc;

use serde_json::Value;

use super::fields::{Fields, one_of};
use super::key::read_key;
use crate::kafka::TopicList;
use crate::proxy::route::{AnswerFrom, KafkaTarget, KeyRule, Target, UpstreamSpec};

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

/// Reads the target of an endpoint whose pattern has `groups` groups, and where its answers come from; nothing where
/// something is wrong with it, or with `upstream`.
pub(super) fn read_target(
    endpoint: &mut Fields<'_>,
    upstream: Option<&Arc<UpstreamSpec>>,
    groups: usize,
) -> Option<(Target, AnswerFrom)> {
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
    let kind = kind?;
    let from = read_answer(endpoint, kind, from.as_deref())?;
    let target = match kind {
        Kind::Http => Target::Http(Arc::clone(upstream?)),
        Kind::Kafka => Target::Kafka(KafkaTarget {
            topic: topic?.into(),
            schema: schema.map(Into::into),
            key: key?,
        }),
        Kind::Nats => Target::Nats(topic?.into()),
    };
    Some((target, from))
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

/// Reads where the answer comes from. RIG shows `http` where nothing was said.
fn read_answer(endpoint: &mut Fields<'_>, kind: Kind, from: Option<&str>) -> Option<AnswerFrom> {
    let expected: &[&str] = match (kind, from) {
        (_, None | Some("http")) | (Kind::Kafka | Kind::Nats, Some("none")) => {
            return Some(AnswerFrom::Target);
        }
        (Kind::Http | Kind::Kafka, Some("kafka")) => return Some(AnswerFrom::Kafka),
        (Kind::Http, Some("http_async")) => return Some(AnswerFrom::Callback),
        (Kind::Nats, Some("nats")) => return Some(AnswerFrom::Nats),
        (Kind::Http, Some(_)) => &["http", "kafka", "http_async"],
        (Kind::Kafka, Some(_)) => &["none", "kafka"],
        (Kind::Nats, Some(_)) => &["none", "nats"],
    };
    endpoint.fault("response_from", one_of(expected));
    None
}
