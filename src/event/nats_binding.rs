//! Decodes NATS messages: structured mode, and binary mode as the NATS protocol binding has it since messages have
//! headers.

use bytes::Bytes;

use super::binary::BinaryEvent;
use super::cloud_event::CloudEvent;
use super::decode_error::{DecodeError, EventFault};
use super::http_binding::decode_value;
use super::json::shorten;
use super::media_type::{self, Mode};

/// The prefix of headers that carry attributes.
const PREFIX: &str = "ce-";
/// The attribute for the type of the data; the header `content-type` stands for it where it is not given.
const DATA_TYPE: &str = "datacontenttype";

/// Decodes one message. Names of headers are compared without case.
///
/// `content-type` decides: `application/cloudevents` is structured. Otherwise a `ce-specversion` header makes it binary,
/// with values percent-encoded as in HTTP; without one it is structured, too, which is all that servers before 2.2 know.
/// Several events in one message are refused.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_nats(
    headers: &[(Box<str>, Box<str>)],
    payload: Bytes,
) -> Result<CloudEvent, DecodeError> {
    let content_type = content_type(headers)?;
    match content_type.map_or(Mode::Binary, media_type::mode) {
        Mode::Structured => CloudEvent::from_structured(payload),
        Mode::Batch | Mode::Unsupported => Err(DecodeError::UnsupportedFormat {
            content_type: shorten(content_type.unwrap_or_default()),
        }),
        Mode::Binary if attributes(headers).any(|(name, _)| is(name, "specversion")) => {
            binary(headers, content_type, &payload)
        }
        Mode::Binary if payload.is_empty() => Err(DecodeError::NullValue),
        Mode::Binary if content_type.is_none_or(media_type::is_plain_json) => {
            CloudEvent::from_structured(payload)
        }
        Mode::Binary => Err(EventFault::Missing {
            attribute: "specversion",
        }
        .into()),
    }
}

fn binary(
    headers: &[(Box<str>, Box<str>)],
    content_type: Option<&str>,
    data: &[u8],
) -> Result<CloudEvent, DecodeError> {
    let names_data_type = attributes(headers).any(|(name, _)| is(name, DATA_TYPE));
    let names: Vec<String> = attributes(headers)
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    let mut event = BinaryEvent::new(content_type.filter(|_| !names_data_type), data);
    for (name, (_, value)) in names.iter().zip(attributes(headers)) {
        let value = decode_value(value.as_bytes()).ok_or_else(|| EventFault::NotUtf8 {
            attribute: shorten(name),
        })?;
        event.add(name, value)?;
    }
    event.into_event()
}

/// Returns the attributes, by their names without prefix.
fn attributes(headers: &[(Box<str>, Box<str>)]) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().filter_map(|(name, value)| {
        let (prefix, name) = name.split_at_checked(PREFIX.len())?;
        is(prefix, PREFIX).then_some((name, &**value))
    })
}

fn content_type(headers: &[(Box<str>, Box<str>)]) -> Result<Option<&str>, EventFault> {
    let mut given = headers
        .iter()
        .filter(|(name, _)| is(name, "content-type"))
        .map(|(_, value)| &**value);
    match (given.next(), given.next()) {
        (Some(_), Some(_)) => Err(EventFault::Repeated {
            name: "content-type".into(),
        }),
        (one, _) => Ok(one),
    }
}

fn is(name: &str, wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","type":"t","id":"1","source":"/s"}"#;

    fn decode(headers: &[(&str, &str)], payload: &str) -> Result<String, DecodeError> {
        let headers: Vec<(Box<str>, Box<str>)> = headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        let event = decode_nats(&headers, Bytes::copy_from_slice(payload.as_bytes()))?;
        Ok(String::from_utf8(event.json().to_vec()).unwrap())
    }

    #[test]
    fn structured_events_keep_their_bytes() {
        for headers in [
            &[][..],
            &[("Content-Type", "application/cloudevents+json")],
            &[("content-type", "application/cloudevents")],
            &[("content-type", "application/json")],
            &[
                ("content-type", "application/cloudevents"),
                ("ce-specversion", "0.1"),
            ],
            &[("Nats-Msg-Id", "x")],
        ] {
            assert_eq!(decode(headers, EVENT).unwrap(), EVENT, "{headers:?}");
        }
    }

    #[test]
    fn binary_events_become_structured_json() {
        let required = [
            ("ce-specversion", "1.0"),
            ("CE-Type", "t"),
            ("ce-id", "1"),
            ("Ce-Source", "/s"),
        ];
        for (more, payload, rest) in [
            (&[][..], "", "}"),
            (
                &[("content-type", "application/json")],
                r#"{"a":1}"#,
                r#","datacontenttype":"application/json","data":{"a":1}}"#,
            ),
            (
                &[("ce-datacontenttype", "text/plain")],
                "1",
                r#","datacontenttype":"text/plain","data":"1"}"#,
            ),
            (
                &[
                    ("content-type", "application/json"),
                    ("ce-datacontenttype", "text/plain"),
                ],
                "1",
                r#","datacontenttype":"text/plain","data":"1"}"#,
            ),
            (
                &[("ce-subject", "%C3%A4%20%22")],
                "",
                r#","subject":"ä \""}"#,
            ),
        ] {
            let json = decode(&[&required, more].concat(), payload).unwrap();
            let expected = format!("{}{rest}", EVENT.trim_end_matches('}'));
            assert_eq!(json, expected, "{more:?}");
        }
    }

    #[test]
    fn what_is_no_single_event_is_refused() {
        let batch = [("content-type", "application/cloudevents-batch+json")];
        assert!(matches!(
            decode(&batch, "[]"),
            Err(DecodeError::UnsupportedFormat { .. })
        ));
        assert!(matches!(decode(&[], ""), Err(DecodeError::NullValue)));
        assert!(matches!(
            decode(&[], "hello"),
            Err(DecodeError::NotJson { .. })
        ));
        for headers in [
            &[("content-type", "text/plain")][..],
            &[
                ("content-type", "application/cloudevents"),
                ("Content-Type", "x"),
            ],
            &[
                ("ce-specversion", "1.0"),
                ("ce-id", "1"),
                ("ce-id", "2"),
                ("ce-type", "t"),
                ("ce-source", "/s"),
            ],
            &[
                ("ce-specversion", "1.0"),
                ("ce-type", "%FF"),
                ("ce-id", "1"),
                ("ce-source", "/s"),
            ],
        ] {
            assert!(
                matches!(
                    decode(headers, EVENT),
                    Err(DecodeError::NotACloudEvent { .. })
                ),
                "{headers:?}"
            );
        }
    }
}
