//! Decodes HTTP requests with any body: what is no event becomes the data of one.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;

use super::binary::BinaryEvent;
use super::cloud_event::CloudEvent;
use super::http_binding::{self, Submission, SubmissionError, decode_http};
use super::json::{Members, NESTING_LIMIT, check_text};
use super::media_type::{self, Mode};

/// What the body of a request was taken for.
#[derive(Debug, Clone)]
pub enum AnyBody {
    /// An event, as the client sent it.
    Event(CloudEvent),
    /// The data of an event that was made for it.
    Data(CloudEvent),
}

/// Decodes one request: an event in structured or binary mode as [`decode_http`] does, and any other body as the
/// data of an event of version 1.0 with the attributes `defaults`.
///
/// Whoever says that the body is an event is held to it: by a content type of CloudEvents, by the header
/// `ce-specversion`, or by a JSON object with a member `specversion` or `cloudEventsVersion`, where the content type
/// is `application/json` or one that clients send unasked: none, `text/plain`, or that of a form.
///
/// # Errors
/// [`SubmissionError`] for what is said to be an event and is none, for a batch, and for a body that is not the JSON
/// that its content type says.
pub fn decode_any(
    headers: &HeaderMap,
    body: Bytes,
    defaults: &[(&str, Cow<'_, str>)],
) -> Result<AnyBody, SubmissionError> {
    let content_type = http_binding::content_type(headers)?;
    let mode = content_type.map_or(Mode::Binary, media_type::mode);
    if mode != Mode::Binary || headers.contains_key("ce-specversion") {
        return match decode_http(headers, body)? {
            Submission::One(event) => Ok(AnyBody::Event(event)),
            Submission::Batch(_) => Err(SubmissionError::Unexpected),
        };
    }
    http_binding::check_encoding(headers)?;
    if content_type.is_none_or(media_type::says_little) && claims_to_be_an_event(&body) {
        return Ok(AnyBody::Event(CloudEvent::from_structured(body)?));
    }
    let mut event = BinaryEvent::new(content_type, &body);
    event
        .add("specversion", "1.0".into())
        .map_err(|fault| SubmissionError::Event(fault.into()))?;
    for (name, value) in defaults {
        event
            .add(name, Cow::Borrowed(value))
            .map_err(|fault| SubmissionError::Event(fault.into()))?;
    }
    Ok(AnyBody::Data(event.into_event()?))
}

fn claims_to_be_an_event(body: &[u8]) -> bool {
    let Ok(text) = check_text(body, NESTING_LIMIT) else {
        return false;
    };
    if !text.trim_start().starts_with('{') {
        return false;
    }
    Members::parse(text).is_ok_and(|members| {
        ["specversion", "cloudEventsVersion"]
            .iter()
            .any(|name| members.get(name).is_some())
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::super::decode_error::DecodeError;
    use super::*;

    fn decode(headers: &[(&str, &str)], body: &[u8]) -> Result<CloudEvent, SubmissionError> {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        let defaults = [
            ("type", "t".into()),
            ("id", "1".into()),
            ("source", "/s".into()),
        ];
        let decoded = decode_any(&headers, Bytes::copy_from_slice(body), &defaults)?;
        let is_ours = |event: &CloudEvent| event.id() == "1";
        match decoded {
            AnyBody::Event(event) if !is_ours(&event) => Ok(event),
            AnyBody::Data(event) if is_ours(&event) => Ok(event),
            other => panic!("taken for something else: {other:?}"),
        }
    }

    const START: &str = r#"{"specversion":"1.0","type":"t","id":"1","source":"/s""#;

    /// Content type, body, and how the event ends.
    type Case = (Option<&'static str>, &'static [u8], &'static str);

    const WRAPPED: [Case; 15] = [
        (
            Some("application/json"),
            b" {\"a\": 1.0} ",
            r#","datacontenttype":"application/json","data":{"a": 1.0}}"#,
        ),
        (
            Some("application/vnd.order+json"),
            b"[]",
            r#","datacontenttype":"application/vnd.order+json","data":[]}"#,
        ),
        (
            Some("text/plain"),
            b"a\"\n\0",
            r#","datacontenttype":"text/plain","data":"a\"\n\u0000"}"#,
        ),
        (
            Some("application/x-www-form-urlencoded"),
            b"a=b&c=%20",
            r#","datacontenttype":"application/x-www-form-urlencoded","data":"a=b&c=%20"}"#,
        ),
        (
            Some("application/octet-stream"),
            b"{}",
            r#","datacontenttype":"application/octet-stream","data_base64":"e30="}"#,
        ),
        (
            Some("multipart/form-data; boundary=x"),
            b"--x",
            r#","datacontenttype":"multipart/form-data; boundary=x","data_base64":"LS14"}"#,
        ),
        (
            Some("text/plain; charset=latin1"),
            b"\xe4",
            r#","datacontenttype":"text/plain; charset=latin1","data_base64":"5A=="}"#,
        ),
        (
            Some("text/plain"),
            b"\xff",
            r#","datacontenttype":"text/plain","data_base64":"/w=="}"#,
        ),
        (
            Some("application/json"),
            b"",
            r#","datacontenttype":"application/json"}"#,
        ),
        (None, b"", "}"),
        (None, b"{\"a\":1}", r#","data":{"a":1}}"#),
        (None, b"{", r#","data_base64":"ew=="}"#),
        (
            Some("application/vnd.x+json"),
            b"{\"specversion\":7}",
            r#","datacontenttype":"application/vnd.x+json","data":{"specversion":7}}"#,
        ),
        (
            Some("application/json"),
            b"[{\"specversion\":\"1.0\"}]",
            r#","datacontenttype":"application/json","data":[{"specversion":"1.0"}]}"#,
        ),
        (
            Some("junk"),
            b"x",
            r#","datacontenttype":"junk","data_base64":"eA=="}"#,
        ),
    ];

    #[test]
    fn any_body_becomes_data() {
        for (content_type, body, rest) in WRAPPED {
            let headers: Vec<_> = content_type
                .map(|value| ("content-type", value))
                .into_iter()
                .collect();
            let event =
                decode(&headers, body).unwrap_or_else(|error| panic!("{content_type:?}: {error}"));
            let json = std::str::from_utf8(event.json()).unwrap();
            assert_eq!(json.strip_prefix(START), Some(rest), "{content_type:?}");
        }
    }

    #[test]
    fn events_are_taken_as_they_are() {
        let event =
            br#" {"specversion" : "0.2", "type":"x","id":"7","rig":{"target_partition":"p"}} "#;
        for content_type in [
            "application/json",
            "application/cloudevents+json; charset=utf-8",
            "text/plain;charset=UTF-8",
            "application/x-www-form-urlencoded",
        ] {
            let decoded = decode(&[("content-type", content_type)], event).unwrap();
            assert_eq!(&decoded.json()[..], event, "{content_type}");
        }
        assert_eq!(&decode(&[], event).unwrap().json()[..], event);
        let old = br#"{"cloudEventsVersion":"0.1","eventType":"x","eventID":"7"}"#;
        assert_eq!(decode(&[], old).unwrap().event_type(), "x");
        let binary = [
            ("content-type", "text/plain"),
            ("ce-specversion", "1.0"),
            ("ce-type", "x"),
            ("ce-id", "7"),
            ("ce-source", "/b"),
        ];
        let binary = decode(&binary, b"hi").unwrap();
        assert_eq!((binary.event_type(), binary.source()), ("x", "/b"));
    }

    #[test]
    fn what_says_that_it_is_an_event_has_to_be_one() {
        for (content_type, body) in [
            ("application/cloudevents+json", "{}"),
            ("application/cloudevents+json", "hi"),
            ("application/json", r#"{"specversion":"1.0"}"#),
            (
                "application/json",
                r#"{"specversion":"9","type":"t","id":"1"}"#,
            ),
            ("application/json", r#"{"specversion":null,"type":"t"}"#),
            ("text/plain", r#"{"cloudEventsVersion":"0.1"}"#),
            ("application/json", "{\"a\":"),
            ("application/json", "hi"),
        ] {
            let refused = decode(&[("content-type", content_type)], body.as_bytes());
            assert!(
                matches!(refused, Err(SubmissionError::Event(_))),
                "{content_type} {body}"
            );
        }
        let deep = "[".repeat(100_000);
        let refused = decode(&[("content-type", "application/json")], deep.as_bytes());
        assert!(matches!(
            refused,
            Err(SubmissionError::Event(DecodeError::TooDeep { .. }))
        ));
        let batch = [("content-type", "application/cloudevents-batch+json")];
        assert!(matches!(
            decode(&batch, b"[]"),
            Err(SubmissionError::Unexpected)
        ));
        let twice = [("content-type", "text/plain"), ("content-type", "x/y")];
        assert!(matches!(
            decode(&twice, b""),
            Err(SubmissionError::NoContentType)
        ));
        let gzip = [("content-encoding", "gzip")];
        assert!(matches!(
            decode(&gzip, b"x"),
            Err(SubmissionError::UnsupportedEncoding { .. })
        ));
    }
}
