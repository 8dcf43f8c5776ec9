//! What an `EventSource` is told that there is no room for.
//!
//! A browser gives an event stream up for good when the answer is not a 200, and tries again when a 200 ends. It does
//! not look at `Retry-After`, but at `retry:`.
//!
//! # Source
//! WHATWG HTML, section 9.2.3 "Processing model" and 9.2.6 "Interpreting an event stream".

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use super::sse::RETRY_MS;
use crate::http::{Body, HttpError};

/// How server-sent events are refused.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Limits of clients")]
pub struct SseConfig {
    /// Answer to an EventSource that is over a limit (429, 503): its status, after which browsers give up, or an empty stream after which they retry
    #[arg(long, value_name = "ANSWER", value_enum, default_value_t = SseLimitAnswer::Status)]
    pub sse_limit_answer: SseLimitAnswer,
}

/// The answer to an `EventSource` that is over a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SseLimitAnswer {
    /// 429 or 503 with `Retry-After`: a program sees what is wrong; a browser gives the stream up for good.
    Status,
    /// 200 with an event stream that says when to come again, and ends: a browser tries again by itself.
    Retry,
}

/// The largest part of the time to wait that is added to it, by chance.
const JITTER_PERCENT: u64 = 20;

impl SseLimitAnswer {
    /// Answers a request for a stream that was refused; what is no matter of a limit keeps its status.
    ///
    /// With [`SseLimitAnswer::Retry`], those who are refused together come again spread over a fifth of the time
    /// that they are told to wait.
    #[must_use]
    pub fn refuse(self, error: HttpError) -> Response<Body> {
        let is_of_a_limit = matches!(
            error.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        match self {
            Self::Retry if is_of_a_limit => sse_refusal(&error, RandomState::new().hash_one(0)),
            _ => error.into_response(),
        }
    }
}

/// Returns an event stream that says in a comment why it ends, and when to come again; `chance` is any number.
fn sse_refusal(error: &HttpError, chance: u64) -> Response<Body> {
    let default = Duration::from_millis(RETRY_MS.into());
    let wait = error.retry_after().unwrap_or(default).max(default / 3);
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let jitter = chance % (wait_ms / 100).saturating_mul(JITTER_PERCENT).max(1);
    let retry_ms = wait_ms.saturating_add(jitter);
    // The code is a word of ours: it has no line end.
    let text = format!(": {code}\nretry: {retry_ms}\n\n", code = error.code());
    let mut response = Response::new(Body::new(Bytes::from(text)));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn text(response: Response<Body>) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn full(seconds: u64) -> HttpError {
        let wait = Duration::from_secs(seconds);
        HttpError::too_many_requests("too_many_connections", "Full.", wait)
    }

    #[tokio::test]
    async fn a_browser_is_told_when_to_come_again() {
        for (seconds, chance, retry_ms) in [
            (10, 0, 10_000),
            (10, 1_999, 11_999),
            (10, 2_000, 10_000),
            (10, u64::MAX, 11_615),
            (0, 0, 1_000),
        ] {
            let response = sse_refusal(&full(seconds), chance);
            assert_eq!(response.status(), 200);
            let kind = response.headers()[CONTENT_TYPE].to_str().unwrap();
            assert!(kind.starts_with("text/event-stream"), "{kind}");
            let expected = format!(": too_many_connections\nretry: {retry_ms}\n\n");
            assert_eq!(text(response).await, expected);
        }
        let unavailable = HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "away", "Away.");
        let response = sse_refusal(&unavailable, 0);
        assert_eq!(text(response).await, ": away\nretry: 3000\n\n");
    }

    #[test]
    fn only_limits_are_answered_so_and_only_where_that_is_asked_for() {
        let away = || HttpError::unavailable("away", "Away.", Duration::from_secs(1));
        let bad = || HttpError::bad_request("bad", "Bad.");
        for (answer, error, status) in [
            (SseLimitAnswer::Status, full(1), 429),
            (SseLimitAnswer::Status, away(), 503),
            (SseLimitAnswer::Retry, full(1), 200),
            (SseLimitAnswer::Retry, away(), 200),
            (SseLimitAnswer::Retry, bad(), 400),
        ] {
            assert_eq!(answer.refuse(error).status(), status, "{answer:?}");
        }
    }
}
