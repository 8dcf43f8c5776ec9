//! Definitions of APIs, for operators: which requests the proxy takes, and where they go.
//!
//! # Source
//! RIG's `/v3/apis`, with its statuses and bodies.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::sessions::{no_content, object};
use crate::http::{Body, HttpError, Params, Request};
use crate::proxy::{ApiError, Apis, MAX_API_BYTES};

/// Shows and changes the definitions, at all instances.
#[derive(Debug, Clone)]
pub struct ApiAdmin {
    apis: Apis,
}

impl ApiAdmin {
    /// Works on these APIs.
    #[must_use]
    pub const fn new(apis: Apis) -> Self {
        Self { apis }
    }

    /// Lists the definitions that are in use.
    ///
    /// # Errors
    /// 503 before the shared state is read.
    pub(super) fn list(&self) -> Result<Response<Body>, HttpError> {
        answer(self.apis.list(), |list| {
            object(StatusCode::OK, &Value::Array(list))
        })
    }

    /// Shows a definition; 404 for one that is not there.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub(super) fn show(&self, params: &Params) -> Result<Response<Body>, HttpError> {
        answer(self.apis.get(id(params)), |api| {
            object(StatusCode::OK, &api)
        })
    }

    /// Adds an API: 201 when Kafka has it, 400 that says all that is wrong with it, 409 where there is one with its id.
    ///
    /// # Errors
    /// 400 for what is not JSON, 413, 503 before the shared state is read and when Kafka does not take it.
    pub(super) async fn create(&self, request: &mut Request) -> Result<Response<Body>, HttpError> {
        let document = read(request).await?;
        answer(self.apis.create(document).await, |()| {
            message(StatusCode::CREATED, "ok")
        })
    }

    /// Changes an API: 200 when Kafka has it, 400 as for [`create`](Self::create), 404 where there is none.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub(super) async fn replace(
        &self,
        request: &mut Request,
        params: &Params,
    ) -> Result<Response<Body>, HttpError> {
        let document = read(request).await?;
        answer(self.apis.replace(id(params), document).await, |()| {
            message(StatusCode::OK, "ok")
        })
    }

    /// Deletes an API: 204 when Kafka knows, 404 where there is none.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub(super) async fn remove(&self, params: &Params) -> Result<Response<Body>, HttpError> {
        answer(self.apis.remove(id(params)).await, |()| no_content())
    }
}

async fn read(request: &mut Request) -> Result<Value, HttpError> {
    let body = request.body(MAX_API_BYTES).await?;
    serde_json::from_slice(&body)
        .map_err(|error| HttpError::bad_request("invalid_api", format!("Not JSON: {error}.")))
}

fn id(params: &Params) -> &str {
    params.get("id").unwrap_or_default()
}

/// Answers as RIG does, also with what is wrong.
fn answer<T>(
    result: Result<T, ApiError>,
    good: impl FnOnce(T) -> Response<Body>,
) -> Result<Response<Body>, HttpError> {
    let error = match result {
        Ok(value) => return Ok(good(value)),
        Err(error) => error,
    };
    Ok(match error {
        ApiError::Invalid(faults) => object(StatusCode::BAD_REQUEST, &faults.to_json()),
        ApiError::Exists { id } => {
            let text = format!("API with id={id} already exists.");
            message(StatusCode::CONFLICT, &text)
        }
        ApiError::Missing { id } => {
            let text = format!("API with id={id} doesn't exists.");
            message(StatusCode::NOT_FOUND, &text)
        }
        ApiError::NotLoaded => return Err(HttpError::state_not_read()),
        error @ ApiError::State(_) => return Err(HttpError::kafka_unavailable(error)),
        error @ ApiError::Interrupted(_) => return Err(HttpError::internal(error)),
    })
}

fn message(status: StatusCode, text: &str) -> Response<Body> {
    object(status, &json!({ "message": text }))
}
