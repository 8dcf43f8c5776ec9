//! Sessions, for operators: who is connected, and who may not be any more.
//!
//! # Source
//! RIG's session blacklist; the lists are those that its first version had.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::health;
use crate::http::{Body, HttpError, Params, Query, Request};
use crate::session::{
    Blacklist, Directory, MAX_LISTED, MAX_SESSION_BYTES, OpenConnection, OpenSession, Wanted,
};
use crate::telemetry::rfc3339;

/// The largest request body.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// How many sessions a list has unless asked otherwise.
const DEFAULT_LIMIT: usize = 100;

/// Lists sessions and ends them, at all instances.
#[derive(Debug, Clone)]
pub struct SessionAdmin {
    blacklist: Blacklist,
    directory: Directory,
    kill_validity: Duration,
}

impl SessionAdmin {
    /// Works on this blacklist; a session that is ended without saying for how long is refused for
    /// `kill_validity`.
    #[must_use]
    pub const fn new(blacklist: Blacklist, directory: Directory, kill_validity: Duration) -> Self {
        Self {
            blacklist,
            directory,
            kill_validity,
        }
    }

    /// Refuses a session: `{"sessionId": …, "validityInSeconds": …}`. Answers 201 when Kafka has it.
    ///
    /// # Errors
    /// 400 that says what is wrong with the body, 503 when Kafka does not take it.
    pub(super) async fn refuse(&self, request: &mut Request) -> Result<Response<Body>, HttpError> {
        let body = request.body(MAX_BODY_BYTES).await?;
        let asked: Value = serde_json::from_slice(&body).map_err(|_| {
            bad("Expected a JSON object with \"sessionId\" and \"validityInSeconds\"")
        })?;
        let session = match asked.get("sessionId").unwrap_or(&Value::Null) {
            Value::Null => return Err(bad("Missing value for \"sessionId\"")),
            Value::String(session) if !session.is_empty() => session,
            other => return Err(bad(&format!("Expected non-empty string, got {other}"))),
        };
        check_name(session)?;
        let validity = validity(asked.get("validityInSeconds").unwrap_or(&Value::Null))?;
        let added = self.blacklist.add(session, validity).await;
        added.map_err(HttpError::kafka_unavailable)?;
        let mut response = object(StatusCode::CREATED, &json!({}));
        let location = format!(
            "/v3/session-blacklist/{}",
            utf8_percent_encode(session, NON_ALPHANUMERIC)
        );
        let location = HeaderValue::try_from(location).map_err(HttpError::internal)?;
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }

    /// Lists the sessions that are refused.
    pub(super) fn refused(&self) -> Response<Body> {
        let list = self.blacklist.list();
        let sessions: Vec<Value> = list
            .into_iter()
            .map(|(session, expires_ms)| json!({ "sessionId": session, "expiresAt": rfc3339(expires_ms) }))
            .collect();
        object(StatusCode::OK, &json!({ "sessions": sessions }))
    }

    /// Answers 200 for a session that is refused.
    ///
    /// # Errors
    /// 404 for one that is not.
    pub(super) fn is_refused(&self, params: &Params) -> Result<Response<Body>, HttpError> {
        let session = named(params, "id");
        let expires_ms = self
            .blacklist
            .refused_until(&session)
            .ok_or_else(not_found)?;
        let entry = json!({ "sessionId": session, "expiresAt": rfc3339(expires_ms) });
        Ok(object(StatusCode::OK, &entry))
    }

    /// Admits a session again; answers 204.
    ///
    /// # Errors
    /// 404 for one that is not refused, 503 when Kafka does not take it.
    pub(super) async fn admit(&self, params: &Params) -> Result<Response<Body>, HttpError> {
        let session = named(params, "id");
        self.blacklist
            .refused_until(&session)
            .ok_or_else(not_found)?;
        self.blacklist
            .remove(&session)
            .await
            .map_err(HttpError::kafka_unavailable)?;
        Ok(no_content())
    }

    /// Ends a session: its connections are closed at all instances, and it is refused for
    /// `validityInSeconds` of the query. Answers 204 when Kafka has it.
    ///
    /// # Errors
    /// 400 for a bad duration, 503 when Kafka does not take it.
    pub(super) async fn end(
        &self,
        request: &Request,
        params: &Params,
    ) -> Result<Response<Body>, HttpError> {
        let session = named(params, "id");
        check_name(&session)?;
        let query = request.query()?;
        let validity = match query.get("validityInSeconds") {
            Some(text) => validity(&Value::from(text))?,
            None => self.kill_validity,
        };
        let added = self.blacklist.add(&session, validity).await;
        added.map_err(HttpError::kafka_unavailable)?;
        Ok(no_content())
    }

    /// Lists who is connected; `user`, `after` and `limit` of the query choose whom.
    ///
    /// # Errors
    /// 400 for a bad limit.
    pub(super) async fn list(&self, request: &Request) -> Result<Response<Body>, HttpError> {
        let query = request.query()?;
        let user = query.get("user").map(str::to_owned);
        self.page(&query, user).await
    }

    /// Lists the sessions of a user.
    ///
    /// # Errors
    /// 400 for a bad limit.
    pub(super) async fn of_user(
        &self,
        request: &Request,
        params: &Params,
    ) -> Result<Response<Body>, HttpError> {
        let user = named(params, "user");
        self.page(&request.query()?, Some(user)).await
    }

    async fn page(&self, query: &Query, user: Option<String>) -> Result<Response<Body>, HttpError> {
        let limit = match query.get("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LISTED).contains(limit))
                .ok_or_else(|| bad(&format!("limit has to be a number from 1 to {MAX_LISTED}")))?,
        };
        let wanted = Wanted {
            user,
            after: query.get("after").map(str::to_owned),
            limit,
        };
        let page = self.directory.page(wanted).await;
        let next = page.sessions.last().filter(|_| page.has_more);
        let body = json!({
            "sessions": page.sessions.iter().map(describe).collect::<Vec<Value>>(),
            "next": next.map(|last| last.session.as_str()),
            "connections": page.counts,
            "openConnections": page.open,
            "instances": page.instances,
            "silentInstances": page.silent,
        });
        Ok(object(StatusCode::OK, &body))
    }
}

fn describe(session: &OpenSession) -> Value {
    let connection = |connection: &OpenConnection| {
        json!({
            "transport": connection.transport,
            "since": rfc3339(connection.since_ms),
            "expiresAt": rfc3339(connection.expires_ms),
            "instance": connection.instance,
        })
    };
    json!({
        "sessionId": session.session,
        "user": session.user,
        "connectionCount": session.count,
        "connections": session.connections.iter().map(connection).collect::<Vec<Value>>(),
    })
}

/// Reads a number of seconds as RIG does: a positive number, or a string with one.
fn validity(value: &Value) -> Result<Duration, HttpError> {
    let seconds = match value {
        Value::Null => return Err(bad("Missing value for \"validityInSeconds\"")),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let seconds = seconds.ok_or_else(|| bad(&format!("Expected a number, got {value}")))?;
    let validity = Duration::try_from_secs_f64(seconds);
    let validity = validity.ok().filter(|validity| !validity.is_zero());
    validity.ok_or_else(|| bad(&format!("Expected a positive number, got {value}")))
}

fn check_name(session: &str) -> Result<(), HttpError> {
    if session.is_empty() || session.len() > MAX_SESSION_BYTES {
        return Err(bad(&format!(
            "A session is named by 1 to {MAX_SESSION_BYTES} bytes"
        )));
    }
    Ok(())
}

/// Returns a part of the path.
fn named(params: &Params, name: &str) -> String {
    params.get(name).unwrap_or_default().to_owned()
}

fn bad(what: &str) -> HttpError {
    HttpError::bad_request("invalid_session_request", format!("{what}."))
}

fn not_found() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "not_found", "Not found.")
}

/// Makes a response of JSON.
pub(super) fn object(status: StatusCode, body: &Value) -> Response<Body> {
    health::with_type(status, body.to_string().into(), "application/json")
}

/// Makes a response that says no more than that it is done.
pub(super) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::new(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
