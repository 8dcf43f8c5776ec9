//! Decodes HTTP requests: structured, binary and batched mode of the HTTP protocol binding.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode;

use super::batch::BatchError;
use super::binary::BinaryEvent;
use super::cloud_event::CloudEvent;
use super::decode_error::{DecodeError, EventFault};
use super::json::shorten;
use super::media_type::{self, Mode};

/// The events of one request.
#[derive(Debug, Clone)]
pub enum Submission {
    /// One event, in structured or binary mode.
    One(CloudEvent),
    /// Any number of events in batched mode.
    Batch(Vec<CloudEvent>),
}

impl Submission {
    /// Returns the events in their order.
    #[must_use]
    pub fn events(&self) -> &[CloudEvent] {
        match self {
            Self::One(event) => std::slice::from_ref(event),
            Self::Batch(events) => events,
        }
    }
}

/// Why a request has no events that can be taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// The one event is invalid.
    #[error(transparent)]
    Event(#[from] DecodeError),
    /// The batch is invalid; nothing of it is taken.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// No, several or an unreadable `content-type`, and the headers do not show an event without data.
    #[error("the request needs one header content-type, such as application/cloudevents+json")]
    NoContentType,
    /// A format of CloudEvents that is not supported.
    #[error("content type {content_type:?} is not supported")]
    UnsupportedMediaType {
        /// The content type, cut to a length that fits a message.
        content_type: Box<str>,
    },
    /// Several events where one is expected.
    #[error("a batch cannot be taken here, send one event")]
    Unexpected,
    /// The body is compressed.
    #[error("content encoding {content_encoding:?} is not supported")]
    UnsupportedEncoding {
        /// The coding, cut to a length that fits a message.
        content_encoding: Box<str>,
    },
}

/// Decodes one request.
///
/// `application/cloudevents+json` is structured, `application/cloudevents-batch+json` batched, `application/json` without
/// `ce-specversion` structured as in RIG, anything else binary. In structured mode `ce-` headers are ignored.
///
/// # Errors
/// [`SubmissionError`]; a batch is refused as a whole.
pub fn decode_http(headers: &HeaderMap, body: Bytes) -> Result<Submission, SubmissionError> {
    check_encoding(headers)?;
    let content_type = content_type(headers)?;
    let has_version = headers.contains_key("ce-specversion");
    match content_type.map_or(Mode::Binary, media_type::mode) {
        Mode::Structured => Ok(Submission::One(CloudEvent::from_structured(body)?)),
        Mode::Batch => Ok(Submission::Batch(CloudEvent::from_batch(body)?)),
        Mode::Unsupported => Err(SubmissionError::UnsupportedMediaType {
            content_type: shorten(content_type.unwrap_or_default()),
        }),
        Mode::Binary if has_version => Ok(Submission::One(binary(headers, content_type, &body)?)),
        Mode::Binary => match content_type {
            None => Err(SubmissionError::NoContentType),
            Some(json) if media_type::is_plain_json(json) => {
                Ok(Submission::One(CloudEvent::from_structured(body)?))
            }
            Some(_) => Err(DecodeError::from(EventFault::Missing {
                attribute: "specversion",
            })
            .into()),
        },
    }
}

pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), SubmissionError> {
    let is_plain = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"identity");
    match headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .map(|value| value.as_bytes())
        .find(|coding| !is_plain(coding))
    {
        None => Ok(()),
        Some(coding) => Err(SubmissionError::UnsupportedEncoding {
            content_encoding: shorten(&String::from_utf8_lossy(coding)),
        }),
    }
}

pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<&str>, SubmissionError> {
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => one
            .to_str()
            .map(Some)
            .map_err(|_| SubmissionError::NoContentType),
        (Some(_), Some(_)) => Err(SubmissionError::NoContentType),
    }
}

fn binary(
    headers: &HeaderMap,
    content_type: Option<&str>,
    data: &[u8],
) -> Result<CloudEvent, DecodeError> {
    let mut event = BinaryEvent::new(content_type, data);
    for (header, value) in headers {
        if let Some(name) = header.as_str().strip_prefix("ce-") {
            let value = decode_value(value.as_bytes());
            event.add(
                name,
                value.ok_or_else(|| EventFault::NotUtf8 {
                    attribute: shorten(name),
                })?,
            )?;
        }
    }
    event.into_event()
}

/// Undoes a quoted string, then exactly one percent-encoding (HTTP binding, 3.1.3.2); `None` if that is not UTF-8.
pub(super) fn decode_value(value: &[u8]) -> Option<Cow<'_, str>> {
    let Some(quoted) = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
    else {
        return percent_decode(value).decode_utf8().ok();
    };
    let mut bytes = quoted.iter().copied();
    let mut plain = Vec::with_capacity(quoted.len());
    while let Some(byte) = bytes.next() {
        let is_escape = byte == b'\\';
        plain.extend(if is_escape { bytes.next() } else { Some(byte) });
    }
    percent_decode(&plain)
        .decode_utf8()
        .ok()
        .map(|text| Cow::Owned(text.into_owned()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","type":"t","id":"1","source":"/s"}"#;
    const REQUIRED: [(&str, &str); 4] = [
        ("ce-specversion", "1.0"),
        ("ce-type", "t"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
    ];

    fn decode(headers: &[(&str, &str)], body: &str) -> Result<Submission, SubmissionError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        decode_http(&map, Bytes::copy_from_slice(body.as_bytes()))
    }

    fn one(headers: &[(&str, &str)], body: &str) -> CloudEvent {
        match decode(headers, body) {
            Ok(Submission::One(event)) => event,
            other => panic!("{headers:?} {other:?}"),
        }
    }

    #[test]
    fn structured_mode_ignores_the_headers() {
        for headers in [
            &[
                (
                    "content-type",
                    "application/cloudevents+json; charset=utf-8",
                ),
                ("ce-type", "other"),
            ][..],
            &[("Content-Type", "application/json")],
            &[
                ("content-type", "application/json;charset=UTF-8"),
                ("content-encoding", "identity"),
            ],
        ] {
            assert_eq!(one(headers, EVENT).json(), EVENT.as_bytes(), "{headers:?}");
        }
    }

    #[test]
    fn binary_mode_reads_the_headers() {
        let with = |more: &[(&'static str, &'static str)]| [&REQUIRED[..], more].concat();
        for (headers, body, name, value) in [
            (
                with(&[("content-type", "application/json")]),
                "{\"a\":1}",
                "datacontenttype",
                Some("application/json"),
            ),
            (
                with(&[("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80")]),
                "",
                "subject",
                Some("Euro \u{20ac} \u{1F600}"),
            ),
            (
                with(&[("ce-subject", "%e2%82%ac")]),
                "",
                "subject",
                Some("\u{20ac}"),
            ),
            (
                with(&[("ce-subject", "%41%2525")]),
                "",
                "subject",
                Some("A%25"),
            ),
            (
                with(&[("ce-subject", r#""quoted \"x\" \\ %20""#)]),
                "",
                "subject",
                Some("quoted \"x\" \\  "),
            ),
            (with(&[("ce-subject", "100%")]), "", "subject", Some("100%")),
            (with(&[("traceparent", "x")]), "", "traceparent", None),
        ] {
            let event = one(&headers, body);
            assert_eq!(event.attribute(name).as_deref(), value, "{headers:?}");
        }
        let event = one(&with(&[("content-type", "application/json")]), "{\"a\":1}");
        assert!(event.json().ends_with(br#""data":{"a":1}}"#));
    }

    #[test]
    fn batches_are_told_from_single_events_by_their_content_type() {
        let batch = decode(
            &[("content-type", "application/cloudevents-batch+json")],
            &format!("[{EVENT},{EVENT}]"),
        );
        assert!(matches!(batch, Ok(Submission::Batch(events)) if events.len() == 2));
        let not_a_batch = decode(
            &[("content-type", "application/cloudevents-batch+json")],
            EVENT,
        );
        assert!(matches!(
            not_a_batch,
            Err(SubmissionError::Batch(BatchError::NotAList))
        ));
    }

    #[test]
    fn requests_without_events_have_their_reason() {
        let text = ("content-type", "text/plain");
        assert!(matches!(
            decode(&[], EVENT),
            Err(SubmissionError::NoContentType)
        ));
        assert!(matches!(
            decode(&[text, text], EVENT),
            Err(SubmissionError::NoContentType)
        ));
        assert!(matches!(
            decode(&[text], EVENT),
            Err(SubmissionError::Event(DecodeError::NotACloudEvent {
                fault: EventFault::Missing { .. }
            }))
        ));
        assert!(matches!(
            decode(&[("content-type", "application/cloudevents+avro")], EVENT),
            Err(SubmissionError::UnsupportedMediaType { .. })
        ));
        assert!(matches!(
            decode(
                &[
                    ("content-type", "application/json"),
                    ("content-encoding", "gzip")
                ],
                EVENT
            ),
            Err(SubmissionError::UnsupportedEncoding { .. })
        ));
        assert!(matches!(
            decode(&[("content-type", "application/json")], "{"),
            Err(SubmissionError::Event(DecodeError::NotJson { .. }))
        ));
    }

    #[test]
    fn header_values_that_break_the_rules_are_refused() {
        for (name, value) in [
            ("ce-subject", "%C0%A0"),
            ("ce-subject", "%ff"),
            ("ce-x", "a%0Ab"),
            ("ce-x", "%00"),
            ("ce-type", "%0d"),
            ("ce-a_b", "x"),
            ("ce-id", "2"),
        ] {
            let headers = [&REQUIRED[..], &[(name, value)]].concat();
            assert!(
                matches!(
                    decode(&headers, ""),
                    Err(SubmissionError::Event(DecodeError::NotACloudEvent { .. }))
                ),
                "{name}: {value}"
            );
        }
    }
}
