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

use super::answers::Command;
use super::call::Call;
use super::query;
use super::route::{KeyRule, Route};
use crate::event::{AnyBody, CloudEvent, JsonPointer, Members, decode_any, string_value};
use crate::http::{HeldMemory, HttpError};
use crate::telemetry::{TraceContext, now_ms, rfc3339};

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

/// A request that was read and is an event now. It needs its call no more.
#[derive(Debug)]
pub(in crate::proxy) struct CommandEvent {
    event: CloudEvent,
    /// Whether the event was made here.
    is_made: bool,
    /// The body as it came.
    body: Bytes,
    /// What RIG tells of a request, and who sent it.
    rig: Map<String, Value>,
    trace: TraceContext,
    /// The command may be sent when its request is over.
    _memory: Option<HeldMemory>,
}

/// The members that are replaced in what a client sends.
const RIG: &str = "rig";
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

impl CommandEvent {
    /// Reads the body of a request and takes it as an event, or makes one for it.
    ///
    /// # Errors
    /// As of [`Request::body`](crate::http::Request::body); 400 or 415 for what is said to be an event and is none;
    /// 400 for one of a reserved type.
    ///
    /// # Cancel safety
    /// Not cancel safe: the body is lost.
    pub(in crate::proxy) async fn read(
        call: &mut Call,
        config: &CommandConfig,
    ) -> Result<Self, HttpError> {
        let body = call.request.body(config.proxy_max_command_bytes).await?;
        let defaults = defaults(&call.route, query::split(&call.target).0);
        let decoded = decode_any(&call.request.headers, body.clone(), &defaults);
        let (event, is_made) = match decoded.map_err(|error| HttpError::not_an_event(&error))? {
            AnyBody::Event(event) => (event, false),
            AnyBody::Data(event) => (event, true),
        };
        HttpError::check_type(&event)?;
        Ok(Self {
            event,
            is_made,
            body,
            rig: metadata(call, config.proxy_command_credentials),
            trace: call.trace.clone(),
            _memory: call.request.take_memory(),
        })
    }

    /// Returns the event as the client sent it, or as it was made.
    pub(in crate::proxy) const fn event(&self) -> &CloudEvent {
        &self.event
    }

    /// Returns the command that the event is.
    ///
    /// # Errors
    /// 400 for an `Idempotency-Key` that is none.
    pub(in crate::proxy) fn command(&self, call: &Call) -> Result<Command, HttpError> {
        let fingerprint = [
            call.request.method.as_str().as_bytes(),
            call.target.as_bytes(),
            &self.body,
        ];
        Command::new(call).with_key(call, &fingerprint)
    }

    /// Returns the event in JSON as it goes to the target: with what is known of the request, and its trace.
    ///
    /// `correlation` is there if an answer is waited for. An event that was made here gets the id `event_id`.
    pub(in crate::proxy) fn to_json(&self, correlation: Option<&str>, event_id: &str) -> Bytes {
        let json = |text: &str| Value::from(text).to_string();
        let mut rig = self.rig.clone();
        if let Some(correlation) = correlation {
            rig.insert("correlation".to_owned(), correlation.into());
        }
        let [parent, state] = TRACE;
        let mut added = vec![
            (RIG, Value::Object(rig).to_string()),
            (parent, json(&self.trace.to_string())),
        ];
        added.extend(self.trace.state().map(|value| (state, json(value))));
        let mut replaced = vec![RIG, parent, state];
        if self.is_made {
            replaced.push("id");
            added.push(("id", json(event_id)));
        }
        let added: Vec<_> = added
            .iter()
            .map(|(name, raw)| (*name, raw.as_str()))
            .collect();
        self.event.replace_members(&replaced, &added)
    }

    /// Returns the key that a rule gives; `None` without a value, or with an empty one.
    pub(in crate::proxy) fn key(&self, call: &Call, rule: &KeyRule) -> Option<Vec<u8>> {
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
}

/// Returns who sent a request: the session of its token, else the client's address.
pub(in crate::proxy) fn sender(call: &Call) -> String {
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

/// What RIG tells of a request, and who sends it.
fn metadata(call: &Call, with_credentials: bool) -> Map<String, Value> {
    let (host, port) = authority(call);
    let (path, query) = query::split(&call.target);
    let mut rig = Map::new();
    let mut add = |name: &str, value: Value| rig.insert(name.to_owned(), value);
    add("remoteip", call.request.client_address().to_string().into());
    add("host", host.into());
    add("port", port.into());
    add("scheme", scheme(call).into());
    add("headers", headers(call, with_credentials).into());
    add("method", call.request.method.as_str().into());
    add("path", path.into());
    add("query", query.unwrap_or_default().into());
    if let Some(session) = call.caller.sessions.first() {
        add("session", session.as_ref().into());
    }
    if let Some(user) = &call.caller.user {
        add("user", user.as_ref().into());
    }
    rig
}

/// Lists the headers, those of the route in the place of the client's.
fn headers(call: &Call, with_credentials: bool) -> Vec<Value> {
    let added = &call.route.add_headers;
    let is_replaced = |name: &HeaderName| added.iter().any(|(other, _)| other == name);
    let sent = call.request.headers.iter().filter(|(name, _)| {
        !is_replaced(name) && (with_credentials || !is_credential(&call.route, name))
    });
    let added = added.iter().map(|(name, value)| (name, value));
    sent.chain(added)
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect()
}

fn is_credential(route: &Route, name: &HeaderName) -> bool {
    [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name) || route.has_token_in(name)
}

fn scheme(call: &Call) -> &'static str {
    if call.request.is_tls() {
        "https"
    } else {
        "http"
    }
}

/// Returns host and port that the client asked for.
fn authority(call: &Call) -> (String, u16) {
    let default_port = if call.request.is_tls() { 443 } else { 80 };
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
