//! Tables of cases.

use super::*;

const EXTRACTORS: &str = r#"{
        "greeting": {"name": {"event": {"json_pointer": "/data/name"}}, "age": {"event": {"json_pointer": "/data/age"}}},
        "orders.created": {"name": {"event": {"json_pointer": "/data/customer"}}}
    }"#;

fn parse(json: &str) -> Result<Subscriptions, SubscriptionError> {
    let extractors = Extractors::parse(EXTRACTORS).unwrap();
    Subscriptions::parse(json.as_bytes(), &extractors, &SubscriptionLimits::default())
}

fn parse_within(
    json: &str,
    limits: &SubscriptionLimits,
) -> Result<Subscriptions, SubscriptionError> {
    Subscriptions::parse(
        json.as_bytes(),
        &Extractors::parse(EXTRACTORS).unwrap(),
        limits,
    )
}

#[test]
fn lists_are_read_and_written_in_the_form_of_rig() {
    for (json, written) in [
        ("[]", "[]"),
        (
            r#"[{"eventType":"x"}]"#,
            r#"[{"eventType":"x","oneOf":[]}]"#,
        ),
        (
            r#"[{"event_type":"greeting","one_of":[{"name":"alice"}]}]"#,
            r#"[{"eventType":"greeting","oneOf":[{"name":"alice"}]}]"#,
        ),
        (
            r#"[{"eventType":"greeting","constraints":[{"age":30.0,"name":"b"},{"age":null}]}]"#,
            r#"[{"eventType":"greeting","oneOf":[{"name":"b","age":30},{"age":null}]}]"#,
        ),
        (
            r#"[{"eventType":"greeting","oneOf":[{"age":true},{}]}]"#,
            r#"[{"eventType":"greeting","oneOf":[]}]"#,
        ),
        (
            r#"[{"eventType":"*"},{"eventType":"orders.*","oneOf":[{"name":"q\"\n"}]}]"#,
            r#"[{"eventType":"*","oneOf":[]},{"eventType":"orders.*","oneOf":[{"name":"q\"\n"}]}]"#,
        ),
        (
            r#"[{"filters":[{"exact":{"type":"x"}}]}]"#,
            r#"[{"eventType":"*","oneOf":[],"filters":[{"exact":{"type":"x"}}]}]"#,
        ),
        (
            r#"[{"eventType":"x"},{"eventType":"x","oneOf":[],"filters":[]}]"#,
            r#"[{"eventType":"x","oneOf":[]}]"#,
        ),
    ] {
        let parsed = parse(json).unwrap();
        assert_eq!(parsed.to_json(), written, "{json}");
        assert_eq!(parse(written).unwrap(), parsed, "{json}");
    }
}

#[test]
fn equal_subscriptions_are_equal_in_any_order() {
    let one =
        parse(r#"[{"eventType":"greeting","oneOf":[{"name":"a","age":1},{"age":2}]}]"#).unwrap();
    let two = parse(
        r#"[{"oneOf":[{"age":2.0},{"age":1e0,"name":"\u0061"},{"age":2}],"eventType":"greeting"}]"#,
    )
    .unwrap();
    assert_eq!(one, two);
    assert_ne!(
        one,
        parse(r#"[{"eventType":"greeting","oneOf":[{"name":"a","age":1}]}]"#).unwrap()
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faults_are_named_with_their_place() {
    for (json, message) in [
        (
            "",
            "the subscriptions are not JSON: EOF while parsing a value at line 1 column 0",
        ),
        ("{}", "the subscriptions are not a list"),
        ("null", "the subscriptions are not a list"),
        ("[1]", "subscription 0: not an object"),
        (r#"[{"eventType":"a"},[]]"#, "subscription 1: not an object"),
        (
            "[{}]",
            "subscription 0: \"eventType\" is missing, which is allowed with \"filters\" only",
        ),
        (
            r#"[{"oneOf":[]}]"#,
            "subscription 0: \"eventType\" is missing, which is allowed with \"filters\" only",
        ),
        (
            r#"[{"eventType":5}]"#,
            "subscription 0: \"eventType\" is not a string",
        ),
        (
            r#"[{"eventType":""}]"#,
            "subscription 0: eventType \"\": the event type is empty",
        ),
        (
            r#"[{"eventType":"a*"}]"#,
            "subscription 0: eventType \"a*\": \"*\" may only stand alone or at the end after a dot, as in \"orders.*\"",
        ),
        (
            r#"[{"eventType":"a","eventType":"b"}]"#,
            "subscription 0: \"eventType\" is given more than once",
        ),
        (
            r#"[{"eventType":"a","event_type":"b"}]"#,
            "subscription 0: \"eventType\" is given under two names",
        ),
        (
            r#"[{"eventType":"a","oneof":[]}]"#,
            "subscription 0: unknown member \"oneof\", expected \"eventType\", \"oneOf\" or \"filters\"",
        ),
        (
            r#"[{"eventType":"a","oneOf":{}}]"#,
            "subscription 0: \"oneOf\" is not a list of objects",
        ),
        (
            r#"[{"eventType":"a","oneOf":[{},"x"]}]"#,
            "subscription 0: oneOf 1: not an object",
        ),
        (
            r#"[{"eventType":"greeting","oneOf":[{"name":1,"name":2}]}]"#,
            "subscription 0: oneOf 0: \"name\" is given more than once",
        ),
        (
            r#"[{"eventType":"greeting","oneOf":[{"":1}]}]"#,
            "subscription 0: oneOf 0: the name of a field is empty",
        ),
        (
            r#"[{"eventType":"greeting","oneOf":[{"x":1}]}]"#,
            "subscription 0: field \"x\" is not declared by an extractor for event type \"greeting\"",
        ),
        (
            r#"[{"eventType":"x"},{"eventType":"orders.*","oneOf":[{"age":1}]}]"#,
            "subscription 1: field \"age\" is not declared by an extractor for event type \"orders.*\"",
        ),
        (
            r#"[{"eventType":"x","oneOf":[{"name":1}]}]"#,
            "subscription 0: field \"name\" is not declared by an extractor for event type \"x\"",
        ),
        (
            r#"[{"eventType":"greeting","oneOf":[{"name":["a"]}]}]"#,
            "subscription 0: field \"name\" of event type \"greeting\": the value is not a string, number, boolean or null",
        ),
        (
            r#"[{"eventType":"a","filters":{}}]"#,
            "subscription 0: filters: not a list",
        ),
    ] {
        assert_eq!(parse(json).unwrap_err().to_string(), message, "{json}");
    }
}

#[test]
fn requests_carry_their_list_in_a_member() {
    let extractors = Extractors::none();
    let parse = |json: &str| {
        Subscriptions::parse_request(json.as_bytes(), &extractors, &SubscriptionLimits::default())
    };
    let list =
        parse(r#"{"type":"rig.subscriptions_set","subscriptions":[{"eventType":"x"}]}"#).unwrap();
    assert_eq!(list.len(), 1);
    assert!(matches!(
        parse("{}"),
        Err(SubscriptionError::NoSubscriptions)
    ));
    assert!(matches!(
        parse("[]"),
        Err(SubscriptionError::BadRequest(MembersFault::NotAnObject))
    ));
    assert!(matches!(
        parse(r#"{"subscriptions":{}}"#),
        Err(SubscriptionError::NotAList)
    ));
    assert!(matches!(parse("{"), Err(SubscriptionError::NotJson(_))));
    assert!(matches!(
        parse(r#"{"subscriptions":[],"subscriptions":[]}"#),
        Err(SubscriptionError::BadRequest(_))
    ));
}

#[test]
fn limits_refuse_the_whole_list() {
    let limits = SubscriptionLimits {
        max_subscriptions: 2,
        max_bytes: 300,
        max_constraints: 3,
        max_filters: 2,
        max_filter_depth: 2,
    };
    for (json, message) in [
        (
            format!("[{}]", [r#"{"eventType":"x"}"#; 3].join(",")),
            "3 subscriptions are more than the 2 allowed",
        ),
        (
            format!("[{}]", " ".repeat(300)),
            "the subscriptions have 302 bytes, more than the 300 allowed",
        ),
        (
            r#"[{"eventType":"greeting","oneOf":[{"name":1},{"name":2},{"name":3,"age":4}]}]"#
                .to_owned(),
            "the subscriptions have more than the 3 constraints allowed",
        ),
        (
            r#"[{"filters":[{"exact":{"a":"1","b":"2","c":"3"}}]}]"#.to_owned(),
            "the subscriptions have more than the 2 filters allowed",
        ),
    ] {
        let error = parse_within(&json, &limits).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    assert!(
        parse_within(
            r#"[{"eventType":"greeting","oneOf":[{"name":1},{"name":3,"age":4}]}]"#,
            &limits
        )
        .is_ok()
    );
}

#[test]
fn hostile_texts_end_in_an_error() {
    let deep_filter = format!("[{{\"filters\":[{}", "{\"not\":".repeat(30_000));
    for json in ["[".repeat(100_000), "{\"a\":".repeat(40_000), deep_filter] {
        assert!(matches!(
            parse(&json),
            Err(SubscriptionError::NotJson(JsonFault::TooDeep { .. }))
        ));
    }
    assert!(matches!(
        Subscriptions::parse(
            b"[\"\xff\"]",
            &Extractors::none(),
            &SubscriptionLimits::default()
        ),
        Err(SubscriptionError::NotJson(JsonFault::NotUtf8 { .. }))
    ));
    let many = format!("[{}]", vec![r#"{"eventType":"x"}"#; 10_000].join(","));
    assert!(matches!(
        parse(&many),
        Err(SubscriptionError::TooMany { .. })
    ));
}
