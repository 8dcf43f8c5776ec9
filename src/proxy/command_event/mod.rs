//! A request as a CloudEvent, for targets that take events: Kafka and NATS.
//!
//! What the client sent stays as it is, but for the members `rig`, `traceparent` and `tracestate`: `rig` tells about
//! the request, as in RIG.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::uri::Authority;
use http::{HeaderMap, HeaderName};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::call::Call;
use super::route::{KeyRule, Route};
use crate::event::{CloudEvent, JsonPointer, Members, decode_any, string_value};
use crate::http::HttpError;
use crate::telemetry::{now_ms, rfc3339};

/// How requests become events.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Request proxy")]
pub struct CommandConfig {
    /// Largest body of a request for Kafka or NATS
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = crate::settings::bytes)]
    pub proxy_max_command_bytes: usize,
    /// Whether events for Kafka and NATS carry the Authorization and Cookie headers of their requests, as in RIG
    #[arg(
        long,
        default_value = "false",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub proxy_command_credentials: bool,
}

/// A request that was read and is an event now.
#[derive(Debug)]
pub(super) struct CommandEvent {
    event: CloudEvent,
    /// The body as it came.
    body: Bytes,
    is_with_credentials: bool,
}

/// The members that are replaced in what a client sends.
const OURS: [&str; 3] = ["rig", "traceparent", "tracestate"];

impl CommandEvent {
    /// Reads the body of a request and takes it as an event, or wraps it into one.
    ///
    /// # Errors
    /// As of [`Request::body`](crate::http::Request::body); 400 or 415 for what is said to be an event and is none;
    /// 400 for one of a reserved type.
    ///
    /// # Cancel safety
    /// Not cancel safe: the body is lost.
    pub(super) async fn read(call: &mut Call, config: &CommandConfig) -> Result<Self, HttpError> {
        let body = call.request.body(config.proxy_max_command_bytes).await?;
        let defaults = defaults(&call.route, path_and_query(&call.target).0);
        let event = decode_any(&call.request.headers, body.clone(), &defaults)
            .map_err(|error| HttpError::not_an_event(&error))?;
        HttpError::check_type(&event)?;
        Ok(Self {
            event,
            body,
            is_with_credentials: config.proxy_command_credentials,
        })
    }

    /// Returns the event as the client sent it, or as it was wrapped.
    pub(super) const fn event(&self) -> &CloudEvent {
        &self.event
    }

    /// Returns the body as it came, which is what tells one command from another.
    pub(super) const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the event in JSON as it goes to the target: with what is known of the request, and its trace.
    ///
    /// `correlation` is there if an answer is waited for.
    pub(super) fn to_json(&self, call: &Call, correlation: Option<&str>) -> Bytes {
        let rig = self.metadata(call, correlation).to_string();
        let parent = Value::from(call.trace.to_string()).to_string();
        let state = call
            .trace
            .state()
            .map(|state| Value::from(state).to_string());
        let [name, parent_name, state_name] = OURS;
        let mut added = vec![(name, rig.as_str()), (parent_name, parent.as_str())];
        added.extend(state.as_deref().map(|state| (state_name, state)));
        self.event.replace_members(&OURS, &added)
    }

    /// Returns the key that a rule gives; `None` without a value, or with an empty one.
    pub(super) fn key(&self, call: &Call, rule: &KeyRule) -> Option<Vec<u8>> {
        let key = match rule {
            KeyRule::TargetPartition => self.target_partition().map(String::into_bytes),
            KeyRule::Header(name) => {
                let value = call.request.headers.get(name);
                value.map(|value| value.as_bytes().to_vec())
            }
            KeyRule::Body(pointer) => scalar_at(&self.body, pointer).map(String::into_bytes),
            KeyRule::Path(group) => {
                let group = group
                    .checked_sub(1)
                    .and_then(|index| call.groups.get(index));
                group.map(|text| text.as_bytes().to_vec())
            }
            KeyRule::Session => Some(sender(call).into_bytes()),
        };
        key.filter(|key| !key.is_empty())
    }

    fn target_partition(&self) -> Option<String> {
        let text = std::str::from_utf8(self.event.json()).ok()?;
        let rig = Members::parse(text).ok()?.get("rig")?;
        let partition = Members::parse(rig).ok()?.get("target_partition")?;
        string_value(partition).map(Cow::into_owned)
    }

    /// What RIG tells of a request, and who sends it.
    fn metadata(&self, call: &Call, correlation: Option<&str>) -> Value {
        let (host, port) = authority(call);
        let (path, query) = path_and_query(&call.target);
        let mut rig = json!({
            "remoteip": call.request.client_address().to_string(),
            "host": host,
            "port": port,
            "scheme": scheme(call),
            "headers": self.headers(call),
            "method": call.request.method.as_str(),
            "path": path,
            "query": query,
        });
        if let Some(members) = rig.as_object_mut() {
            add_caller(members, call);
            if let Some(correlation) = correlation {
                members.insert("correlation".to_owned(), correlation.into());
            }
        }
        rig
    }

    /// Lists the headers, those of the route in the place of the client's.
    fn headers(&self, call: &Call) -> Vec<Value> {
        let added = &call.route.add_headers;
        let is_replaced = |name: &HeaderName| added.iter().any(|(other, _)| other == name);
        let sent = call.request.headers.iter().filter(|(name, _)| {
            !is_replaced(name) && (self.is_with_credentials || !is_credential(&call.route, name))
        });
        let added = added.iter().map(|(name, value)| (name, value));
        sent.chain(added)
            .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
            .collect()
    }
}

/// Returns who sent a request: the session of its token, else the client's address.
pub(super) fn sender(call: &Call) -> String {
    let session = call.caller.sessions.first();
    session.map_or_else(
        || call.request.client_address().to_string(),
        |session| session.to_string(),
    )
}

/// The attributes of a body that is no event.
fn defaults(route: &Route, path: &str) -> [(&'static str, Cow<'static, str>); 5] {
    let encode = |id: &str| utf8_percent_encode(id, NON_ALPHANUMERIC).to_string();
    let source = format!(
        "/sluicegate/{}/{}",
        encode(&route.api),
        encode(&route.endpoint)
    );
    [
        ("type", route.endpoint.to_string().into()),
        ("source", source.into()),
        ("id", Uuid::new_v4().to_string().into()),
        ("time", rfc3339(now_ms()).into()),
        ("subject", path.to_owned().into()),
    ]
}

fn add_caller(members: &mut Map<String, Value>, call: &Call) {
    if let Some(session) = call.caller.sessions.first() {
        members.insert("session".to_owned(), session.as_ref().into());
    }
    if let Some(user) = &call.caller.user {
        members.insert("user".to_owned(), user.as_ref().into());
    }
}

fn is_credential(route: &Route, name: &HeaderName) -> bool {
    let token = route
        .secured
        .as_ref()
        .and_then(|places| places.header.as_ref());
    [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name) || token == Some(name)
}

// Until requests know it themselves.
const fn is_tls(_call: &Call) -> bool {
    false
}

fn scheme(call: &Call) -> &'static str {
    if is_tls(call) { "https" } else { "http" }
}

/// Returns host and port that the client asked for.
fn authority(call: &Call) -> (String, u16) {
    let default_port = if is_tls(call) { 443 } else { 80 };
    let authority = host_header(&call.request.headers);
    authority.map_or_else(
        || (String::new(), default_port),
        |authority| {
            let port = authority.port_u16().unwrap_or(default_port);
            (authority.host().to_owned(), port)
        },
    )
}

fn host_header(headers: &HeaderMap) -> Option<Authority> {
    headers.get(HOST)?.to_str().ok()?.parse().ok()
}

fn path_and_query(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// Returns the text of the string, number or boolean to which the pointer leads through the objects of a JSON text.
fn scalar_at(body: &[u8], pointer: &JsonPointer) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let raw = pointer
        .tokens()
        .try_fold(text, |text, name| Members::parse(text).ok()?.get(name))?;
    match raw.as_bytes().first()? {
        b'"' => string_value(raw).map(Cow::into_owned),
        b'{' | b'[' | b'n' => None,
        _ => Some(raw.to_owned()),
    }
}

#[cfg(test)]
mod tests;
