//! Decodes Kafka records: structured and binary mode of the Kafka protocol binding.

use bytes::Bytes;

use super::binary::BinaryEvent;
use super::cloud_event::CloudEvent;
use super::decode_error::{DecodeError, EventFault};
use super::json::shorten;
use super::media_type::{self, Mode};

/// What the headers of a record say about it.
struct RecordHeaders<'a> {
    content_type: Option<&'a str>,
    /// Whether a header gives the version of the specification, without which nothing is in binary mode.
    has_version: bool,
}

/// Decodes one record; the value is copied exactly once, into the event.
///
/// `content-type` decides as the Kafka binding says. A record with neither that header, or with `application/json`, nor a
/// `ce_specversion` header is taken as structured, as in RIG. A null value with `ce_` headers is an event without data.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_kafka(
    headers: &[(&str, Option<&[u8]>)],
    value: Option<&[u8]>,
) -> Result<CloudEvent, DecodeError> {
    let RecordHeaders {
        content_type,
        has_version,
    } = RecordHeaders::read(headers)?;
    let structured = || {
        let value = value.ok_or(DecodeError::NullValue)?;
        CloudEvent::from_structured(Bytes::copy_from_slice(value))
    };
    match content_type.map_or(Mode::Binary, media_type::mode) {
        Mode::Structured => structured(),
        Mode::Batch | Mode::Unsupported => Err(DecodeError::UnsupportedFormat {
            content_type: shorten(content_type.unwrap_or_default()),
        }),
        Mode::Binary if has_version => binary(headers, content_type, value.unwrap_or_default()),
        Mode::Binary if value.is_none() => Err(DecodeError::NullValue),
        Mode::Binary if content_type.is_none_or(media_type::is_plain_json) => structured(),
        Mode::Binary => Err(EventFault::Missing {
            attribute: "specversion",
        }
        .into()),
    }
}

fn binary(
    headers: &[(&str, Option<&[u8]>)],
    content_type: Option<&str>,
    data: &[u8],
) -> Result<CloudEvent, DecodeError> {
    let mut event = BinaryEvent::new(content_type, data);
    for (header, value) in headers {
        if let (Some(name), Some(value)) = (attribute_name(header), value) {
            let value = std::str::from_utf8(value).map_err(|_| EventFault::NotUtf8 {
                attribute: shorten(name),
            })?;
            event.add(name, value.into())?;
        }
    }
    event.into_event()
}

impl<'a> RecordHeaders<'a> {
    fn read(headers: &[(&str, Option<&'a [u8]>)]) -> Result<Self, EventFault> {
        let mut read = Self {
            content_type: None,
            has_version: false,
        };
        for (header, value) in headers {
            if header.eq_ignore_ascii_case("content-type") {
                if read.content_type.is_some() {
                    return Err(EventFault::Repeated {
                        name: "content-type".into(),
                    });
                }
                let text = value.map(std::str::from_utf8).transpose();
                read.content_type = text.map_err(|_| EventFault::NotUtf8 {
                    attribute: "content-type".into(),
                })?;
            }
            read.has_version |= value.is_some()
                && matches!(
                    attribute_name(header),
                    Some("specversion" | "cloudEventsVersion")
                );
        }
        Ok(read)
    }
}

/// Returns the name of the attribute that a header carries.
fn attribute_name(header: &str) -> Option<&str> {
    header.strip_prefix("ce_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","type":"t","id":"1","source":"/s"}"#;

    fn decode(headers: &[(&str, &str)], value: Option<&str>) -> Result<CloudEvent, DecodeError> {
        let headers: Vec<(&str, Option<&[u8]>)> = headers
            .iter()
            .map(|(name, value)| (*name, Some(value.as_bytes())))
            .collect();
        decode_kafka(&headers, value.map(str::as_bytes))
    }

    fn binary_json(headers: &[(&str, &str)], value: Option<&str>) -> String {
        let mut all = vec![
            ("ce_specversion", "1.0"),
            ("ce_type", "t"),
            ("ce_id", "1"),
            ("ce_source", "/s"),
        ];
        all.extend(headers);
        let event = decode(&all, value).unwrap();
        let json = std::str::from_utf8(event.json()).unwrap();
        let rest = json.strip_prefix(EVENT.trim_end_matches('}'));
        rest.unwrap_or_else(|| panic!("{json}")).to_owned()
    }

    #[test]
    fn structured_events_keep_their_bytes() {
        for headers in [
            &[("content-type", "application/cloudevents+json")][..],
            &[
                ("Content-Type", "Application/CloudEvents; charset=utf-8"),
                ("ce_type", "ignored"),
            ],
            &[],
            &[("content-type", "application/json")],
            &[("ce_contenttype", "application/json")],
            &[("x", "y")],
        ] {
            let event = decode(headers, Some(EVENT)).unwrap();
            assert_eq!(event.json(), EVENT.as_bytes(), "{headers:?}");
        }
    }

    #[test]
    fn binary_events_become_structured_json() {
        for (headers, value, rest) in [
            (
                &[("content-type", "application/json")][..],
                Some(r#" {"a": 1.0} "#),
                r#","datacontenttype":"application/json","data":{"a": 1.0}}"#,
            ),
            (
                &[("content-type", "application/x+json")],
                Some("\"x\""),
                r#","datacontenttype":"application/x+json","data":"x"}"#,
            ),
            (
                &[("content-type", "text/plain")],
                Some("a\"\n"),
                r#","datacontenttype":"text/plain","data":"a\"\n"}"#,
            ),
            (
                &[("content-type", "application/octet-stream")],
                Some("{}"),
                r#","datacontenttype":"application/octet-stream","data_base64":"e30="}"#,
            ),
            (
                &[("content-type", "text/plain; charset=utf-16")],
                Some("a"),
                r#","datacontenttype":"text/plain; charset=utf-16","data_base64":"YQ=="}"#,
            ),
            (&[], Some("[1E400]"), r#","data":[1E400]}"#),
            (&[], Some("no json"), r#","data_base64":"bm8ganNvbg=="}"#),
            (&[], None, "}"),
            (&[], Some(""), "}"),
            (
                &[("ce_subject", "\u{e4}\"\\"), ("ce_partitionkey", "k")],
                None,
                r#","subject":"ä\"\\","partitionkey":"k"}"#,
            ),
            (
                &[("ce_datacontenttype", "text/plain")],
                Some("1"),
                r#","datacontenttype":"text/plain","data":"1"}"#,
            ),
            (
                &[
                    ("ce_datacontenttype", "x/y"),
                    ("content-type", "text/plain"),
                ],
                Some("1"),
                r#","datacontenttype":"text/plain","data":"1"}"#,
            ),
        ] {
            assert_eq!(binary_json(headers, value), rest, "{headers:?} {value:?}");
        }
    }

    #[test]
    fn old_versions_in_binary_mode_keep_their_names() {
        for (version, headers, json) in [
            (
                "0.3",
                &[
                    ("ce_specversion", "0.3"),
                    ("ce_type", "t"),
                    ("ce_id", "1"),
                    ("content-type", "x/y"),
                ][..],
                r#"{"specversion":"0.3","type":"t","id":"1","datacontenttype":"x/y","datacontentencoding":"base64","data":"AQ=="}"#,
            ),
            (
                "0.2",
                &[
                    ("ce_specversion", "0.2"),
                    ("ce_type", "t"),
                    ("ce_id", "1"),
                    ("content-type", "text/plain"),
                ],
                r#"{"specversion":"0.2","type":"t","id":"1","contenttype":"text/plain","data":"\u0001"}"#,
            ),
            (
                "0.1",
                &[
                    ("ce_cloudEventsVersion", "0.1"),
                    ("ce_eventType", "t"),
                    ("ce_eventID", "1"),
                    ("content-type", "x/y"),
                ],
                r#"{"cloudEventsVersion":"0.1","eventType":"t","eventID":"1","contentType":"x/y","data":"AQ=="}"#,
            ),
        ] {
            let event = decode(headers, Some("\u{1}")).unwrap();
            assert_eq!(
                std::str::from_utf8(event.json()).unwrap(),
                json,
                "{version}"
            );
            assert_eq!((event.event_type(), event.id()), ("t", "1"));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_carried_as_base64() {
        let headers: Vec<(&str, Option<&[u8]>)> = vec![
            ("ce_specversion", Some(b"1.0")),
            ("ce_type", Some(b"t")),
            ("ce_id", Some(b"1")),
            ("ce_source", Some(b"/s")),
            ("ce_subject", None),
            ("content-type", Some(b"text/plain")),
        ];
        let event = decode_kafka(&headers, Some(b"\xff")).unwrap();
        assert_eq!(event.attribute("subject"), None);
        assert!(event.json().ends_with(br#""data_base64":"/w=="}"#));
    }

    #[test]
    fn headers_cannot_forge_members() {
        let injected = r#"","type":"admin","x":""#;
        let rest = binary_json(&[("ce_x", injected)], None);
        assert_eq!(
            rest,
            format!(",\"x\":{}}}", serde_json::to_string(injected).unwrap())
        );
        for bad_data in [r#"1,"type":"admin""#, "1 2", "{", ""] {
            let all = [
                ("ce_specversion", "1.0"),
                ("ce_type", "t"),
                ("ce_id", "1"),
                ("ce_source", "/s"),
                ("content-type", "application/json"),
            ];
            let decoded = decode(&all, Some(bad_data));
            assert!(
                bad_data.is_empty() || matches!(decoded, Err(DecodeError::NotJson { .. })),
                "{bad_data}"
            );
        }
    }

    #[test]
    fn bad_headers_are_named() {
        let base = [
            ("ce_specversion", "1.0"),
            ("ce_type", "t"),
            ("ce_id", "1"),
            ("ce_source", "/s"),
        ];
        for (header, expected) in [
            (
                ("ce_type", "u"),
                EventFault::Repeated {
                    name: "type".into(),
                },
            ),
            (
                ("ce_data", "1"),
                EventFault::BadName {
                    name: "data".into(),
                },
            ),
            (
                ("ce_data_base64", "1"),
                EventFault::BadName {
                    name: "data_base64".into(),
                },
            ),
            (("ce_", "1"), EventFault::BadName { name: "".into() }),
            (("ce_a-b", "1"), EventFault::BadName { name: "a-b".into() }),
            (
                ("ce_x", "a\nb"),
                EventFault::ControlCharacter {
                    attribute: "x".into(),
                },
            ),
        ] {
            let all: Vec<_> = base.into_iter().chain([header]).collect();
            match decode(&all, None) {
                Err(DecodeError::NotACloudEvent { fault }) => assert_eq!(fault, expected),
                other => panic!("{header:?}: {other:?}"),
            }
        }
        let not_utf8: [(&str, Option<&[u8]>); 2] =
            [("ce_specversion", Some(b"1.0")), ("ce_x", Some(b"\xff"))];
        assert!(matches!(
            decode_kafka(&not_utf8, None),
            Err(DecodeError::NotACloudEvent {
                fault: EventFault::NotUtf8 { .. }
            })
        ));
    }

    #[test]
    fn records_that_are_no_events_have_their_reason() {
        let structured = [("content-type", "application/cloudevents+json")];
        assert!(matches!(decode(&[], None), Err(DecodeError::NullValue)));
        assert!(matches!(
            decode(&structured, None),
            Err(DecodeError::NullValue)
        ));
        assert!(matches!(
            decode(&[("content-type", "text/plain")], None),
            Err(DecodeError::NullValue)
        ));
        assert!(matches!(
            decode(&structured, Some("x")),
            Err(DecodeError::NotJson { .. })
        ));
        assert!(matches!(
            decode(&[], Some("\0\0\0\0\x01xyz")),
            Err(DecodeError::NotJson { .. })
        ));
        assert!(matches!(
            decode(&[], Some("{}")),
            Err(DecodeError::NotACloudEvent { .. })
        ));
        assert!(matches!(
            decode(&[("content-type", "text/plain")], Some(EVENT)),
            Err(DecodeError::NotACloudEvent {
                fault: EventFault::Missing {
                    attribute: "specversion"
                }
            })
        ));
        for content_type in [
            "application/cloudevents+avro",
            "application/cloudevents-batch+json",
            "application/cloudevents+json; charset=latin1",
        ] {
            assert!(matches!(
                decode(&[("content-type", content_type)], Some(EVENT)),
                Err(DecodeError::UnsupportedFormat { .. })
            ));
        }
        assert!(matches!(
            decode(&[("ce_specversion", "3.0")], None),
            Err(DecodeError::UnknownVersion { .. })
        ));
        assert!(matches!(
            decode(
                &[
                    ("ce_specversion", "1.0"),
                    ("content-type", "application/json")
                ],
                Some(&"[".repeat(100_000))
            ),
            Err(DecodeError::TooDeep { .. })
        ));
    }
}
