//! A check that another server makes: RIG's request to a URL, decided by its status.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use moka::future::Cache;

use crate::fetch::{Fetch, FetchLimits};
use crate::telemetry::Limited;

/// The most answers that are remembered.
const CACHE_ENTRIES: u64 = 10_000;
/// What is read of an answer, of which only the status counts.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How often the log says that the server cannot be reached.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// A server that decides. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct UrlCheck {
    uri: Uri,
    fetch: Fetch,
    limits: FetchLimits,
    answers: Option<Cache<[u8; 32], bool>>,
    complaints: std::sync::Arc<Limited>,
}

/// What a server is asked.
#[derive(Debug)]
pub(super) struct Question {
    /// What the client asks for, as it came.
    pub(super) body: Bytes,
    /// Its media type, and the attributes of a CloudEvent in binary mode.
    pub(super) headers: HeaderMap,
    /// Who asks.
    pub(super) authorization: Option<HeaderValue>,
}

/// Writes RIG's request for a list of subscriptions: `{"subscriptions": […]}`.
#[must_use]
pub fn as_request(list: &[u8]) -> Bytes {
    [b"{\"subscriptions\":", list, b"}"].concat().into()
}

impl UrlCheck {
    /// Asks at `uri`; an answer counts for `cache_ttl`, which may be zero.
    pub(super) fn new(uri: Uri, fetch: Fetch, timeout: Duration, cache_ttl: Duration) -> Self {
        let answers = || {
            Cache::builder()
                .max_capacity(CACHE_ENTRIES)
                .time_to_live(cache_ttl)
                .build()
        };
        Self {
            uri,
            fetch,
            limits: FetchLimits {
                timeout,
                max_response_bytes: MAX_ANSWER_BYTES,
            },
            answers: (!cache_ttl.is_zero()).then(answers),
            complaints: std::sync::Arc::new(Limited::new(COMPLAINT_INTERVAL)),
        }
    }

    /// Returns whether the server allows it: 2xx. Anything else denies, and so does a server that cannot
    /// be reached; that is asked again the next time.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the answer.
    pub(super) async fn allows(&self, question: Question) -> bool {
        let Some(answers) = &self.answers else {
            return self.ask(question).await.unwrap_or(false);
        };
        let key = question.digest();
        let answer = answers.try_get_with(key, async { self.ask(question).await.ok_or(()) });
        answer.await.unwrap_or(false)
    }

    async fn ask(&self, question: Question) -> Option<bool> {
        let mut request = Request::new(question.body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = question.headers;
        if let Some(authorization) = question.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        let trouble = match self.fetch.send(request, &self.limits).await {
            Ok(response) => match response.status() {
                status if status.is_success() => return Some(true),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Some(false),
                status => format!("it answered {}", status.as_u16()),
            },
            Err(error) => error.to_string(),
        };
        if let Some(suppressed) = self.complaints.admit("check", std::time::Instant::now()) {
            tracing::warn!(
                trouble,
                suppressed,
                "a check could not be made, so it denies"
            );
        }
        None
    }
}

impl Question {
    /// The question about something that is written as JSON.
    pub(super) fn json(body: Bytes, authorization: Option<HeaderValue>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self {
            body,
            headers,
            authorization,
        }
    }

    fn digest(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        let mut add = |part: &[u8]| {
            // With its length, so that no two questions run together.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        };
        add(self
            .authorization
            .as_ref()
            .map_or(b"", HeaderValue::as_bytes));
        for (name, value) in &self.headers {
            add(name.as_str().as_bytes());
            add(value.as_bytes());
        }
        add(&self.body);
        let digest = context.finish();
        digest.as_ref().try_into().unwrap_or([0; 32])
    }
}
