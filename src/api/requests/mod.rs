//! Requests that clients send as a message on their WebSocket, and the answers to them.
//!
//! # Source
//! The members are those of HTTP (RFC 9110): method, path with its query, headers, body, status.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as HttpBody;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::OWN_PATHS;
use crate::dispatch::Client;
use crate::event::{is_event_stream, is_json};
use crate::http::{HttpError, Reply, Request};
use crate::transport::ClientMessage;

/// The type of such a message.
pub(super) const KIND: &str = "rig.request";
/// The largest body of an answer: it waits in memory until the client takes it.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long an answer may take from its head to its end: one of few that a connection may wait for.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The most headers of a request.
const MAX_HEADERS: usize = 64;
/// The longest id of a request, since it comes back with the answer.
const MAX_ID_BYTES: usize = 256;

/// The data of such a message.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestFrame<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// JSON; or, with a content type that is not JSON, a string that is the body itself.
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(default)]
    body_base64: Option<String>,
}

impl<'a> RequestFrame<'a> {
    /// Reads the data of a message.
    ///
    /// # Errors
    /// 400 that says what is wrong.
    pub(super) fn parse(message: &ClientMessage<'a>) -> Result<Self, HttpError> {
        let has_id = match serde_json::from_str(message.id()) {
            Ok(Value::String(id)) => (1..=MAX_ID_BYTES).contains(&id.len()),
            Ok(Value::Number(id)) => id.to_string() == message.id(),
            _ => false,
        };
        if !has_id {
            return Err(bad(format!(
                "A request needs an id: a text of 1 to {MAX_ID_BYTES} bytes, or a number."
            )));
        }
        serde_json::from_str(message.data()).map_err(|error| {
            bad(format!(
                "Expected {{\"method\":…,\"path\":…,\"headers\":{{…}},\"body\":…}}: {error}."
            ))
        })
    }

    /// Makes the request that `client` would have sent over HTTP.
    ///
    /// # Errors
    /// 400 for what is no request, 404 for paths that no route can have, 501 for methods that no request may have.
    pub(super) fn into_request(self, client: Client) -> Result<Request, HttpError> {
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_| bad("The method is none.".to_owned()))?;
        if method == Method::CONNECT || method == Method::TRACE {
            return Err(HttpError::new(
                StatusCode::NOT_IMPLEMENTED,
                "not_implemented",
                "This server neither tunnels nor echoes requests.",
            ));
        }
        let uri: Uri = self
            .path
            .parse()
            .ok()
            .filter(|uri: &Uri| uri.authority().is_none() && self.path.starts_with('/'))
            .ok_or_else(|| bad("The path has to be one such as /orders?page=2.".to_owned()))?;
        if uri.path().starts_with(OWN_PATHS) {
            return Err(HttpError::not_found());
        }
        let mut headers = self.read_headers()?;
        let body = self.read_body(&mut headers)?;
        let mut request = http::Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let (head, ()) = request.into_parts();
        Ok(Request::from_parts(
            head,
            body,
            client.address,
            SocketAddr::new(client.address, 0),
            client.is_tls,
        ))
    }

    fn read_headers(&self) -> Result<HeaderMap, HttpError> {
        if self.headers.len() > MAX_HEADERS {
            return Err(bad(format!("A request has at most {MAX_HEADERS} headers.")));
        }
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 1);
        for (name, value) in &self.headers {
            let read = (HeaderName::try_from(name), HeaderValue::try_from(value));
            let (Ok(name), Ok(value)) = read else {
                return Err(bad(format!("The header {name:?} is none.")));
            };
            if name == HOST || name == CONTENT_LENGTH || name == http::header::TRANSFER_ENCODING {
                return Err(bad(format!("The header {name} is not for a message.")));
            }
            headers.append(name, value);
        }
        Ok(headers)
    }

    /// Returns the body, and says its type where the client does not.
    fn read_body(&self, headers: &mut HeaderMap) -> Result<Bytes, HttpError> {
        match (self.body, &self.body_base64) {
            (None, None) => Ok(Bytes::new()),
            (Some(_), Some(_)) => Err(bad("There is body and body_base64.".to_owned())),
            (None, Some(text)) => STANDARD
                .decode(text)
                .map(Bytes::from)
                .map_err(|_| bad("body_base64 is not Base64.".to_owned())),
            (Some(json), None) => {
                if headers.contains_key(CONTENT_TYPE) && !is_json(content_type(headers)) {
                    let text: String = serde_json::from_str(json.get()).map_err(|_| {
                        bad(
                            "A body that is not JSON has to be a string, or body_base64."
                                .to_owned(),
                        )
                    })?;
                    return Ok(text.into());
                }
                let json_type = HeaderValue::from_static("application/json");
                headers.entry(CONTENT_TYPE).or_insert(json_type);
                Ok(Bytes::copy_from_slice(json.get().as_bytes()))
            }
        }
    }
}

/// Returns the id of a message as its answer has it: as it came; what is none, empty or cut.
pub(super) fn id_of(message: &ClientMessage<'_>) -> Value {
    match serde_json::from_str(message.id()) {
        Ok(Value::String(id)) => Value::String(id.chars().take(MAX_ID_BYTES).collect()),
        Ok(Value::Number(id)) if id.to_string() == message.id() => Value::Number(id),
        _ => "".into(),
    }
}

/// Waits for the answer to the request with this id, and returns it as the client gets it.
pub(super) async fn answer(id: Value, reply: Reply) -> Value {
    match reply {
        Reply::Response(response) => told(id, response).await,
        Reply::Later(response) => told(id, response.await).await,
        Reply::Streamed(response) if is_event_stream(content_type(response.headers())) => {
            endless(id).await
        }
        Reply::Streamed(response) => told(id, response).await,
        Reply::TakenOver(..) => endless(id).await,
    }
}

/// Returns an error as the client gets it.
pub(super) async fn refusal(id: Value, error: HttpError) -> Value {
    told(id, error.into_response()).await
}

async fn endless(id: Value) -> Value {
    let problem = "This opens a stream: send it as a request of its own.";
    refusal(id, HttpError::bad_request("not_for_a_message", problem)).await
}

async fn told<B>(id: Value, response: Response<B>) -> Value
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = response.into_parts();
    let (status, headers, body) = match collected(body).await {
        Ok(body) => (head.status, head.headers, body),
        Err(error) => error.into_parts(),
    };
    let mut told = json!({ "id": id, "status": status.as_u16(), "headers": listed(&headers) });
    if let Some(members) = told.as_object_mut().filter(|_| !body.is_empty()) {
        let (name, value) = written(&headers, &body);
        members.insert(name.to_owned(), value);
    }
    told
}

/// Reads an answer to its end.
///
/// # Errors
/// 502 for one that is too large or breaks off, 504 for one that does not end in time.
async fn collected<B>(body: B) -> Result<Bytes, HttpError>
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collecting = Limited::new(body, MAX_ANSWER_BYTES).collect();
    match tokio::time::timeout(ANSWER_LIMIT, collecting).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let problem = format!(
                "The answer has more than {MAX_ANSWER_BYTES} bytes: send the request over HTTP."
            );
            Err(HttpError::new(
                StatusCode::BAD_GATEWAY,
                "answer_too_large",
                problem,
            ))
        }
        Ok(Err(error)) => {
            let problem = "The answer broke off.";
            let broken = HttpError::new(StatusCode::BAD_GATEWAY, "answer_cut", problem);
            Err(broken.with_cause(error))
        }
        Err(_elapsed) => {
            let problem = format!(
                "The answer did not end within {} seconds: send the request over HTTP.",
                ANSWER_LIMIT.as_secs()
            );
            Err(HttpError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "answer_too_slow",
                problem,
            ))
        }
    }
}

/// Returns the member that has the body: JSON as it is, other text as a string, the rest in Base64.
fn written(headers: &HeaderMap, body: &[u8]) -> (&'static str, Value) {
    if is_json(content_type(headers))
        && let Ok(json) = serde_json::from_slice(body)
    {
        return ("body", json);
    }
    match std::str::from_utf8(body) {
        Ok(text) if !is_json(content_type(headers)) => ("body", text.into()),
        _ => ("body_base64", STANDARD.encode(body).into()),
    }
}

/// Returns the headers with their values; of one that is there several times, the list of them. Cookies are for
/// browsers, which would not see them here.
fn listed(headers: &HeaderMap) -> Value {
    let mut listed = Map::new();
    for name in headers.keys().filter(|name| *name != SET_COOKIE) {
        let mut values: Vec<Value> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into())
            .collect();
        let value = match values.len() {
            1 => values.remove(0),
            _ => Value::Array(values),
        };
        listed.insert(name.as_str().to_owned(), value);
    }
    Value::Object(listed)
}

/// Returns the content type; an empty one where none is said, or it is no text.
fn content_type(headers: &HeaderMap) -> &str {
    let content_type = headers.get(CONTENT_TYPE);
    content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn bad(problem: String) -> HttpError {
    HttpError::bad_request("invalid_request_message", problem)
}

#[cfg(test)]
mod tests;
