//! Errors as the client sees them: RFC 9457 problem details.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::reply::Body;
use crate::telemetry::Causes;

/// A request that is answered with an error.
///
/// `public` goes to the client; the cause goes to the log, once, when the response is made, and must
/// contain no token, payload or query string.
pub struct HttpError(Box<Problem>);

struct Problem {
    status: StatusCode,
    code: &'static str,
    public: String,
    headers: HeaderMap,
    members: serde_json::Map<String, serde_json::Value>,
    internal: Option<Box<dyn Error + Send + Sync>>,
}

impl HttpError {
    /// Makes an error; `code` is a stable `snake_case` word for programs, `public` a sentence for people.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, public: impl Into<String>) -> Self {
        Self(Box::new(Problem {
            status,
            code,
            public: public.into(),
            headers: HeaderMap::new(),
            members: serde_json::Map::new(),
            internal: None,
        }))
    }

    /// 400: the request is malformed.
    #[must_use]
    pub fn bad_request(code: &'static str, public: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, public)
    }

    /// 404: there is nothing at this path.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is nothing at this path.",
        )
    }

    /// 405: the resource has other methods, which `allow` lists (RFC 9110, 15.5.6).
    #[must_use]
    pub fn method_not_allowed(allow: HeaderValue) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "The resource does not support this method; see the Allow header.",
        )
        .with_header(ALLOW, allow)
    }

    /// 408: the body did not arrive in time; the connection is closed.
    #[must_use]
    pub fn body_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "The request body did not arrive in time.",
        )
        .and_close()
    }

    /// 413: the body is larger than `limit_bytes`; the connection is closed.
    #[must_use]
    pub fn too_large(limit_bytes: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("The request body is larger than {limit_bytes} bytes."),
        )
        .and_close()
    }

    /// 415: the body is in a format or an encoding that is not supported.
    #[must_use]
    pub fn unsupported_media_type(public: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            public,
        )
    }

    /// 429: the client may try again after `retry_after`.
    #[must_use]
    pub fn too_many_requests(
        code: &'static str,
        public: impl Into<String>,
        retry_after: Duration,
    ) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, public).with_retry_after(retry_after)
    }

    /// 500: something broke here; the client learns no more than that.
    #[must_use]
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "The server could not handle the request.",
        )
        .with_cause(cause)
    }

    /// 503: what the request needs is away; the client may try again after `retry_after`.
    #[must_use]
    pub fn unavailable(
        code: &'static str,
        public: impl Into<String>,
        retry_after: Duration,
    ) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, public).with_retry_after(retry_after)
    }

    /// 503: what has to be kept in Kafka cannot be.
    #[must_use]
    pub fn kafka_unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let retry_after = Duration::from_secs(5);
        Self::unavailable("kafka_unavailable", "Kafka cannot be reached.", retry_after)
            .with_cause(cause)
    }

    /// 503: what all instances share is not read to its end yet.
    #[must_use]
    pub fn state_not_read() -> Self {
        let retry_after = Duration::from_secs(1);
        Self::unavailable("not_ready", "The shared state is being read.", retry_after)
    }

    /// Adds the cause, for the log only.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.internal = Some(cause.into());
        self
    }

    /// Adds a member to the document (RFC 9457, 3.2), such as what is wrong with each part of the request.
    #[must_use]
    pub fn with_member(mut self, name: &str, value: serde_json::Value) -> Self {
        self.0.members.insert(name.to_owned(), value);
        self
    }

    /// Adds or replaces a header of the response.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Adds `Retry-After`, in whole seconds, rounded up.
    #[must_use]
    pub fn with_retry_after(self, after: Duration) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Closes the connection after the response.
    #[must_use]
    pub fn and_close(self) -> Self {
        self.with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Returns the stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// Returns when the client may try again, in whole seconds, where the answer says it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.0.headers.get(RETRY_AFTER)?.to_str().ok()?;
        seconds.parse().ok().map(Duration::from_secs)
    }

    /// Returns the sentence for people.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.0.public
    }

    /// Makes the response, `application/problem+json`, and logs the cause if there is one.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let (status, headers, body) = self.into_parts();
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// As [`into_response`](Self::into_response), for whoever passes the answer on in another way.
    #[must_use]
    pub fn into_parts(self) -> (StatusCode, HeaderMap, Bytes) {
        self.log();
        let problem = *self.0;
        let mut json = serde_json::json!({
            "type": "about:blank",
            "title": problem.status.canonical_reason().unwrap_or("Error"),
            "status": problem.status.as_u16(),
            "detail": problem.public,
            "code": problem.code,
        });
        if let Some(object) = json.as_object_mut() {
            object.extend(problem.members);
        }
        let mut headers = problem.headers;
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        (problem.status, headers, json.to_string().into())
    }

    fn log(&self) {
        let Some(cause) = &self.0.internal else {
            return;
        };
        let status = self.0.status.as_u16();
        let code = self.0.code;
        if self.0.status.is_server_error() {
            tracing::warn!(status, code, error = %Causes(cause.as_ref()), "request failed");
        } else {
            tracing::debug!(status, code, error = %Causes(cause.as_ref()), "request refused");
        }
    }
}

impl fmt::Debug for HttpError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HttpError")
            .field("status", &self.0.status)
            .field("code", &self.0.code)
            .field("public", &self.0.public)
            .field("internal", &self.0.internal)
            .finish()
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {}: {}",
            self.0.status.as_u16(),
            self.0.code,
            self.0.public
        )
    }
}

impl Error for HttpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.internal.as_ref().map(|cause| cause.as_ref() as _)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn body_of(response: Response<Body>) -> serde_json::Value {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let bytes = runtime
            .block_on(response.into_body().collect())
            .unwrap()
            .to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn the_body_is_a_problem_document() {
        let response =
            HttpError::bad_request("malformed_cursor", "The cursor is cut off.").into_response();
        assert_eq!(response.status(), 400);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert_eq!(
            body_of(response),
            serde_json::json!({
                "type": "about:blank", "title": "Bad Request", "status": 400,
                "detail": "The cursor is cut off.", "code": "malformed_cursor",
            })
        );
    }

    #[test]
    fn text_of_a_client_cannot_break_out_of_the_document() {
        let hostile = "\",\"code\":\"ok\"}\r\nx: y\u{0}\u{2028}";
        let body = body_of(HttpError::bad_request("bad", hostile).into_response());
        assert_eq!(body["detail"], hostile);
        assert_eq!(body["code"], "bad");
    }

    #[test]
    fn the_cause_does_not_reach_the_client() {
        let error = HttpError::internal(std::io::Error::other("/var/lib/secret"));
        assert!(error.source().is_some());
        assert!(
            !body_of(error.into_response())
                .to_string()
                .contains("secret")
        );
    }

    #[test]
    fn special_headers_are_set() {
        let response =
            HttpError::method_not_allowed(HeaderValue::from_static("GET, HEAD")).into_response();
        assert_eq!(response.headers()["allow"], "GET, HEAD");
        let cases = [
            (0, "0"),
            (1, "1"),
            (1_000, "1"),
            (1_001, "2"),
            (59_999, "60"),
        ];
        for (milliseconds, expected) in cases {
            let after = Duration::from_millis(milliseconds);
            let response = HttpError::unavailable("kafka", "Later.", after).into_response();
            assert_eq!(response.headers()["retry-after"], expected);
        }
        assert_eq!(
            HttpError::too_large(1).into_response().headers()["connection"],
            "close"
        );
    }
}
