//! Tables of cases.

use super::*;

fn decode(json: &str) -> Result<CloudEvent, DecodeError> {
    CloudEvent::from_structured(Bytes::copy_from_slice(json.as_bytes()))
}

fn fault(json: &str) -> EventFault {
    match decode(json) {
        Err(DecodeError::NotACloudEvent { fault }) => fault,
        other => panic!("{json}: {other:?}"),
    }
}

#[test]
fn all_versions_are_understood() {
    for (json, event_type, id, source) in [
        (
            r#"{"specversion":"1.0","type":"t","id":"1","source":"/s"}"#,
            "t",
            "1",
            "/s",
        ),
        (
            r#"{"specversion":"0.3","type":"t","id":"1","source":"/s"}"#,
            "t",
            "1",
            "/s",
        ),
        (r#"{"specversion":"0.2","type":"t","id":"1"}"#, "t", "1", ""),
        (
            r#"{"cloudEventsVersion":"0.1","eventType":"t","eventID":"1"}"#,
            "t",
            "1",
            "",
        ),
        (
            r#"{"specversion":"0.2","type":"t","id":12.50}"#,
            "t",
            "12.50",
            "",
        ),
        (
            r#"{"specversion":"0.2","type":"t","id":"1","source":null}"#,
            "t",
            "1",
            "",
        ),
        (
            r#"{"specversion":"1.0","cloudEventsVersion":"0.1","type":"t","id":"1","source":"s"}"#,
            "t",
            "1",
            "s",
        ),
    ] {
        let event = decode(json).unwrap();
        assert_eq!(
            (event.event_type(), event.id(), event.source()),
            (event_type, id, source),
            "{json}"
        );
        assert_eq!(event.json(), json.as_bytes());
    }
}

#[test]
fn escapes_and_foreign_letters_are_read_but_the_bytes_stay() {
    let json = " {\n\"specversion\":\"1.0\",\"type\":\"a\\u002fb\",\"\\u0069d\":\"\u{e4}\u{1F600}\",\"source\":\"\\\"q\\\"\",\"x\":{\"n\":1.0}}\r\n";
    let event = decode(json).unwrap();
    assert_eq!(
        (event.event_type(), event.id(), event.source()),
        ("a/b", "\u{e4}\u{1F600}", "\"q\"")
    );
    assert_eq!(event.json(), json.as_bytes());
    assert_eq!(event.clone().id(), event.id());
}

#[test]
fn required_attributes_have_to_be_there() {
    for (json, attribute) in [
        ("{}", "specversion"),
        (
            r#"{"specversion":null,"type":"t","id":"1","source":"/s"}"#,
            "specversion",
        ),
        (r#"{"specversion":"1.0","id":"1","source":"/s"}"#, "type"),
        (r#"{"specversion":"1.0","type":"t","source":"/s"}"#, "id"),
        (
            r#"{"specversion":"1.0","type":"t","id":null,"source":"/s"}"#,
            "id",
        ),
        (r#"{"specversion":"1.0","type":"t","id":"1"}"#, "source"),
        (r#"{"specversion":"0.3","type":"t"}"#, "id"),
        (
            r#"{"cloudEventsVersion":"0.1","eventType":"t","id":"1"}"#,
            "eventID",
        ),
    ] {
        assert_eq!(fault(json), EventFault::Missing { attribute }, "{json}");
    }
    for (json, attribute) in [
        (
            r#"{"specversion":"1.0","type":"","id":"1","source":"/s"}"#,
            "type",
        ),
        (
            r#"{"specversion":"1.0","type":"t","id":"","source":"/s"}"#,
            "id",
        ),
        (
            r#"{"specversion":"1.0","type":"t","id":"1","source":""}"#,
            "source",
        ),
        (r#"{"specversion":"0.2","type":"t","id":""}"#, "id"),
    ] {
        assert_eq!(fault(json), EventFault::Empty { attribute }, "{json}");
    }
}

#[test]
fn required_attributes_have_to_be_strings() {
    for (json, name) in [
        (
            r#"{"specversion":1.0,"type":"t","id":"1","source":"/s"}"#,
            "specversion",
        ),
        (
            r#"{"specversion":"1.0","type":["t"],"id":"1","source":"/s"}"#,
            "type",
        ),
        (
            r#"{"specversion":"1.0","type":"t","id":1,"source":"/s"}"#,
            "id",
        ),
        (
            r#"{"specversion":"1.0","type":"t","id":"1","source":{}}"#,
            "source",
        ),
        (r#"{"specversion":"0.2","type":1,"id":"1"}"#, "type"),
        (
            r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","data_base64":1}"#,
            "data_base64",
        ),
    ] {
        assert_eq!(fault(json), EventFault::NotAString { name }, "{json}");
    }
}

#[test]
fn unknown_versions_are_named() {
    for (json, expected) in [
        (
            r#"{"specversion":"2.0","type":"t","id":"1","source":"/s"}"#,
            "2.0",
        ),
        (
            r#"{"specversion":"","type":"t","id":"1","source":"/s"}"#,
            "",
        ),
        (
            r#"{"specversion":"0.1","eventType":"t","eventID":"1"}"#,
            "0.1",
        ),
        (
            r#"{"cloudEventsVersion":"1.0","type":"t","id":"1","source":"/s"}"#,
            "1.0",
        ),
    ] {
        match decode(json) {
            Err(DecodeError::UnknownVersion { version }) => assert_eq!(&*version, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn control_characters_are_refused_in_attributes_but_not_in_data() {
    let event = |members: &str| {
        format!(r#"{{"specversion":"1.0","type":"t","id":"1","source":"/s",{members}}}"#)
    };
    for (members, attribute) in [
        (r#""subject":"a\nb""#, "subject"),
        (r#""subject":"a\u0000b""#, "subject"),
        (r#""x":"\r""#, "x"),
        ("\"x\":\"\u{7f}\"", "x"),
        ("\"x\":\"\u{85}\"", "x"),
        (r#""x":"\u009f""#, "x"),
        (r#""x\n":1"#, "x\n"),
    ] {
        let expected = EventFault::ControlCharacter {
            attribute: attribute.into(),
        };
        assert_eq!(fault(&event(members)), expected, "{members}");
    }
    assert!(decode(&event(r#""data":"a\nb\u0000","x":"\u2028\u00a0""#)).is_ok());
    for name in ["type", "id", "source"] {
        let json = event(r#""data":0"#)
            .replace(&format!(r#""{name}":""#), &format!(r#""{name}":"\u000a"#));
        assert_eq!(
            fault(&json),
            EventFault::ControlCharacter {
                attribute: name.into()
            }
        );
    }
}

#[test]
fn repeated_members_and_two_kinds_of_data_are_refused() {
    let twice = r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","type":"u"}"#;
    assert_eq!(
        fault(twice),
        EventFault::Repeated {
            name: "type".into()
        }
    );
    let both =
        r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","data":1,"data_base64":"AQ=="}"#;
    assert_eq!(fault(both), EventFault::TwoKindsOfData);
    assert!(
        decode(r#"{"specversion":"0.3","type":"t","id":"1","data":1,"data_base64":"AQ=="}"#)
            .is_ok()
    );
}

#[test]
fn what_is_not_an_event_is_told_apart() {
    for json in ["[]", "1", "null", "\"x\"", "true"] {
        assert_eq!(fault(json), EventFault::NotAnObject, "{json}");
    }
    for json in [
        "",
        " ",
        "{",
        "{\"a\":01}",
        "\u{feff}{}",
        "{} {}",
        "{\"data\":NaN}",
        "{\"data\":\"\\ud800\"}",
        "\0\0\0\0\x01",
    ] {
        assert!(
            matches!(decode(json), Err(DecodeError::NotJson { .. })),
            "{json}"
        );
    }
    let not_utf8 = CloudEvent::from_structured(Bytes::from_static(b"{\"x\":\"\xC0\xA0\"}"));
    assert!(matches!(
        not_utf8,
        Err(DecodeError::NotJson {
            fault: crate::event::JsonFault::NotUtf8 { offset: 6 }
        })
    ));
}

#[test]
fn nesting_is_limited_also_where_nothing_is_read() {
    let event = |depth: usize| {
        format!(
            r#"{{"specversion":"1.0","type":"t","id":"1","source":"/s","data":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert!(decode(&event(63)).is_ok());
    assert!(matches!(
        decode(&event(64)),
        Err(DecodeError::TooDeep { limit: 64 })
    ));
    assert!(matches!(
        decode(&event(100_000)),
        Err(DecodeError::TooDeep { limit: 64 })
    ));
    assert!(matches!(
        decode(&"[".repeat(100_000)),
        Err(DecodeError::TooDeep { limit: 64 })
    ));
}

#[test]
fn attributes_are_given_in_their_string_form() {
    let event = decode(
            r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","subject":"a\/b","n":5,"f":1.50,"b":true,"z":null,"o":{},"l":[],"data":"d"}"#,
        )
        .unwrap();
    for (name, value) in [
        ("specversion", Some("1.0")),
        ("type", Some("t")),
        ("id", Some("1")),
        ("source", Some("/s")),
        ("subject", Some("a/b")),
        ("n", Some("5")),
        ("f", Some("1.50")),
        ("b", Some("true")),
        ("z", None),
        ("o", None),
        ("l", None),
        ("data", None),
        ("none", None),
    ] {
        assert_eq!(event.attribute(name).as_deref(), value, "{name}");
        assert_eq!(event.attributes().get(name), value, "{name}");
    }
}

#[test]
fn version_0_1_answers_to_the_names_of_today() {
    let event = decode(
        r#"{"cloudEventsVersion":"0.1","eventType":"t","eventID":"1","contentType":"text/plain"}"#,
    )
    .unwrap();
    for (name, value) in [
        ("type", Some("t")),
        ("id", Some("1")),
        ("source", None),
        ("contentType", Some("text/plain")),
    ] {
        assert_eq!(event.attribute(name).as_deref(), value, "{name}");
        assert_eq!(event.attributes().get(name), value, "{name}");
    }
}
