//! An answer to a command, as the client will get it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::http::{Body, HttpError, Reply};

/// Status, headers and body for the client. Its headers have nothing to do with framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, from 200 to 599.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Makes an answer without headers.
    #[must_use]
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: body.into(),
        }
    }

    /// Sets the content type.
    #[must_use]
    pub fn with_type(mut self, content_type: &'static str) -> Self {
        let value = HeaderValue::from_static(content_type);
        self.headers.insert(CONTENT_TYPE, value);
        self
    }

    /// Makes the response; without a body where the status has none (RFC 9110, 15.3.5 and 15.4.5).
    pub(super) fn into_response(self) -> Response<Body> {
        let has_body = !matches!(
            self.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        );
        let body = if has_body { self.body } else { Bytes::new() };
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    /// Returns the memory that it takes, about.
    pub(super) fn size_bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + 64);
        self.body.len() + headers.sum::<usize>()
    }
}

impl From<HttpError> for Answer {
    fn from(error: HttpError) -> Self {
        let (status, headers, body) = error.into_parts();
        Self {
            status,
            headers,
            body,
        }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Response(answer.into_response())
    }
}

/// An answer on its way to another instance, in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WrittenAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    /// In base64.
    body: String,
}

impl From<&Answer> for WrittenAnswer {
    fn from(answer: &Answer) -> Self {
        // Values that are not UTF-8 are not taken from anybody.
        let headers = answer.headers.iter().filter_map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        Self {
            status: answer.status.as_u16(),
            headers: headers.collect(),
            body: STANDARD.encode(&answer.body),
        }
    }
}

impl WrittenAnswer {
    /// Reads it; `None` for what [`From`] did not write.
    pub(super) fn read(&self) -> Option<Answer> {
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().ok()?;
            headers.append(name, HeaderValue::from_str(value).ok()?);
        }
        Some(Answer {
            status: StatusCode::from_u16(self.status).ok()?,
            headers,
            body: STANDARD.decode(&self.body).ok()?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_the_way_to_another_instance() {
        let mut answer = Answer::new(StatusCode::CREATED, &b"\0\xff\r\n"[..]).with_type("x/y");
        for value in ["a=1", "b=2", "ä"] {
            let value = HeaderValue::from_str(value).unwrap();
            answer.headers.append("set-cookie", value);
        }
        let json = serde_json::to_string(&WrittenAnswer::from(&answer)).unwrap();
        let read: WrittenAnswer = serde_json::from_str(&json).unwrap();
        assert_eq!(read.read(), Some(answer));
    }

    #[test]
    fn an_answer_that_was_altered_on_the_way_is_none() {
        for (status, name, value, body) in [
            (99, "a", "b", ""),
            (200, "a b", "c", ""),
            (200, "a", "b\r\nc: d", ""),
            (200, "a", "b", "!"),
        ] {
            let written = WrittenAnswer {
                status,
                headers: vec![(name.to_owned(), value.to_owned())],
                body: body.to_owned(),
            };
            assert_eq!(written.read(), None, "{written:?}");
        }
    }

    #[test]
    fn a_status_without_body_gets_none() {
        use hyper::body::Body as _;
        for (status, expected) in [(204, 0), (205, 0), (304, 0), (200, 1), (404, 1)] {
            let answer = Answer::new(StatusCode::from_u16(status).unwrap(), "x");
            let response = answer.into_response();
            assert_eq!(
                response.body().size_hint().exact(),
                Some(expected),
                "{status}"
            );
        }
    }
}
