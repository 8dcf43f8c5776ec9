//! Tables of cases.

use bytes::Bytes;

use super::*;
use crate::event::Scalar;

const GREETING: &str = r#"{
        "greeting": {
            "name": {"stable_field_index": 1, "event": {"json_pointer": "/data/name"}, "jwt": {"json_pointer": "/username"}},
            "age": {"stable_field_index": 2, "event": {"json_pointer": "/data/age"}}
        },
        "farewell.v1": {"name": {"event": {"json_pointer": "/subject"}}}
    }"#;

fn event(event_type: &str, rest: &str) -> CloudEvent {
    let json =
        format!(r#"{{"specversion":"1.0","type":"{event_type}","id":"1","source":"/s"{rest}}}"#);
    CloudEvent::from_structured(Bytes::from(json)).unwrap()
}

fn pattern(text: &str) -> TypePattern {
    TypePattern::parse(text).unwrap()
}

#[test]
fn patterns_that_can_be_constrained_share_their_memory() {
    let extractors =
        Extractors::parse(r#"{"a.b.c":{"name":{"event":{"json_pointer":"/x"}}}}"#).unwrap();
    for (text, is_shared) in [
        ("a.b.c", true),
        ("a.b.*", true),
        ("a.*", true),
        ("a.b", false),
        ("a.b.c.*", false),
        ("b.*", false),
    ] {
        let share = || match extractors.share(pattern(text)) {
            TypePattern::Exact(text) | TypePattern::Prefix(text) => text,
            TypePattern::All => panic!(),
        };
        assert_eq!(Arc::ptr_eq(&share(), &share()), is_shared, "{text}");
        assert_eq!(extractors.share(pattern(text)), pattern(text));
    }
    assert_eq!(extractors.share(pattern("*")), TypePattern::All);
    assert_eq!(Extractors::none().share(pattern("a")), pattern("a"));
}

#[test]
fn a_name_is_one_field_over_all_types() {
    let extractors = Extractors::parse(GREETING).unwrap();
    let name = extractors.field("name", &pattern("greeting")).unwrap();
    let age = extractors.field("age", &pattern("greeting")).unwrap();
    assert_eq!(
        extractors.field("name", &pattern("farewell.v1")),
        Some(name)
    );
    assert_eq!(
        (extractors.name(name), extractors.name(age)),
        ("name", "age")
    );

    let fields = extractors.extract(&event("greeting", r#","data":{"name":"alice","age":30.0}"#));
    assert_eq!(fields.get(name), Some(&Scalar::from("alice")));
    assert_eq!(fields.get(age), Some(&Scalar::from(30)));
    let fields = extractors.extract(&event("farewell.v1", r#","subject":"bob""#));
    assert_eq!(
        fields.iter().collect::<Vec<_>>(),
        [(name, &Scalar::from("bob"))]
    );
}

#[test]
fn missing_and_null_and_containers_give_no_value() {
    let extractors = Extractors::parse(GREETING).unwrap();
    for rest in [
        "",
        r#","data":"text""#,
        r#","data":{"name":null,"age":[1]}"#,
        r#","data":[{"name":"x"}]"#,
    ] {
        assert!(
            extractors.extract(&event("greeting", rest)).is_empty(),
            "{rest}"
        );
    }
    assert!(
        extractors
            .extract(&event("other", r#","data":{"name":"x"}"#))
            .is_empty()
    );
    assert!(
        Extractors::none()
            .extract(&event("greeting", ""))
            .is_empty()
    );
}

#[test]
fn fields_are_known_where_a_type_that_is_covered_declares_them() {
    let extractors = Extractors::parse(GREETING).unwrap();
    for (field, types, is_known) in [
        ("name", "greeting", true),
        ("name", "*", true),
        ("name", "farewell.*", true),
        ("age", "farewell.*", false),
        ("age", "farewell.v1", false),
        ("age", "*", true),
        ("age", "other", false),
        ("other", "*", false),
        ("name", "other.*", false),
    ] {
        assert_eq!(
            extractors.field(field, &pattern(types)).is_some(),
            is_known,
            "{field} {types}"
        );
    }
    assert_eq!(Extractors::none().field("name", &pattern("*")), None);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faults_are_named_with_their_place() {
    for (json, message) in [
        (
            "",
            "extractors: not JSON: EOF while parsing a value at line 1 column 0",
        ),
        ("[]", "extractors: not an object"),
        (r#"{"a":1}"#, "extractors/a: not an object"),
        (r#"{"a":{"f":[]}}"#, "extractors/a/f: not an object"),
        (
            r#"{"a":{},"a":{}}"#,
            "extractors: \"a\" is given more than once",
        ),
        (
            r#"{"a.*":{}}"#,
            "extractors/a.*: fields are declared for an exact event type, without \"*\" and control characters",
        ),
        (
            r#"{"a":{"":{}}}"#,
            "extractors/a/: the name of a field is empty",
        ),
        (r#"{"a":{"f":{}}}"#, "extractors/a/f: \"event\" is missing"),
        (
            r#"{"a":{"f":{"event":{}}}}"#,
            "extractors/a/f/event: \"json_pointer\" is missing",
        ),
        (
            r#"{"a":{"f":{"event":{"json_pointer":5}}}}"#,
            "extractors/a/f/event/json_pointer: not a string",
        ),
        (
            r#"{"a":{"f":{"event":{"json_pointer":""}}}}"#,
            "extractors/a/f/event/json_pointer: not a JSON pointer: the pointer is empty, which means the whole event",
        ),
        (
            r##"{"a":{"f":{"event":{"json_pointer":"#/x"}}}}"##,
            "extractors/a/f/event/json_pointer: not a JSON pointer: a pointer starts with \"/\"",
        ),
        (
            r#"{"a":{"f":{"event":{"json_pointer":"/x"},"jwt":{"json_pointer":"x"}}}}"#,
            "extractors/a/f/jwt/json_pointer: not a JSON pointer: a pointer starts with \"/\"",
        ),
        (
            r#"{"a":{"f":{"event":{"pointer":"/x"}}}}"#,
            "extractors/a/f/event/pointer: unknown member, expected \"json_pointer\"",
        ),
        (
            r#"{"a":{"f":{"evnt":{}}}}"#,
            "extractors/a/f/evnt: unknown member, expected \"event\", \"jwt\" or \"stable_field_index\"",
        ),
        (
            r#"{"a":{"f":{"stable_field_index":-1}}}"#,
            "extractors/a/f/stable_field_index: not a whole number from 0",
        ),
        (
            r#"{"a":{"f":{"stable_field_index":1,"event":{"json_pointer":"/x"}},"g":{"stable_field_index":1}}}"#,
            "extractors/a/g/stable_field_index: index 1 belongs to another field of this type already",
        ),
    ] {
        assert_eq!(
            Extractors::parse(json).unwrap_err().to_string(),
            message,
            "{json}"
        );
    }
    assert!(Extractors::parse(&"[".repeat(100_000)).is_err());
}
