//! Records of what is forced: read back equal, or refused.

use serde_json::json;

use super::*;

#[test]
fn records_are_read_back_equal() {
    for claims in [
        vec![],
        vec![json!({"username": "a\"\n"})],
        vec![
            json!({"username": 1.5, "sub": "a", "org": {"id": false}}),
            json!({"sub": "b"}),
        ],
    ] {
        let forced = forced(&claims);
        let json = forced.to_json(&extractors());
        assert_eq!(Forced::parse(&json, &extractors()).unwrap(), forced);
        assert!(!forced.is_open());
        let debug = format!("{forced:?}");
        assert!(debug.starts_with("Forced(") && debug.len() < 20, "{debug}");
    }
    let open = Forced::open().to_json(&extractors());
    assert!(Forced::parse(&open, &extractors()).unwrap().is_open());
    assert_ne!(Forced::open(), forced(&[]));
}

#[test]
fn records_that_no_token_gives_are_refused() {
    let declared = extractors().fingerprint();
    let of = |types: &str| format!(r#"{{"declared":"{declared}","types":{types}}}"#);
    let good = of(r#"[{"eventType":"greeting","oneOf":[{"name":"alice"}]}]"#);
    assert!(Forced::parse(&good, &extractors()).is_ok());
    for json in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "open".to_owned(),
        "\"Open\"".to_owned(),
        r#"{"types":[]}"#.to_owned(),
        good.replace(&declared, "0000000000000000"),
        good.replace("}]}]}", "}]}],\"more\":1}"),
        good.replace("types", "type"),
        of("null"),
        of("{}"),
        of(r#"[{"eventType":"greeting"}]"#),
        of(r#"[{"eventType":"greeting","oneOf":[]}]"#),
        of(r#"[{"eventType":"greeting","oneOf":[{}]}]"#),
        of(r#"[{"eventType":"greeting","oneOf":[{"name":null}]}]"#),
        of(r#"[{"eventType":"greeting","oneOf":[{"age":1}]}]"#),
        of(r#"[{"eventType":"greeting","oneOf":[{"other":1}]}]"#),
        of(r#"[{"eventType":"greeting","oneOf":[{"name":"a"}],"filters":[{"exact":{"id":"1"}}]}]"#),
        of(r#"[{"eventType":"*","oneOf":[{"name":"a"}]}]"#),
        of(r#"[{"eventType":"order.open","oneOf":[{"city":"a"}]}]"#),
        of(
            r#"[{"eventType":"greeting","oneOf":[{"name":"a"}]},{"eventType":"greeting","oneOf":[{"name":"b"}]}]"#,
        ),
        of(
            r#"[{"eventType":"order.paid","oneOf":[{"tenant":"a"}]},{"eventType":"greeting","oneOf":[{"name":"b"}]}]"#,
        ),
    ] {
        assert!(Forced::parse(&json, &extractors()).is_err(), "{json}");
    }
}

#[test]
fn records_do_not_outlive_the_declaration_of_who_is_whose() {
    let forced = forced(&[json!({"username": "alice"})]);
    let json = forced.to_json(&extractors());
    for (from, to, is_good) in [
        ("/username", "/sub", false),
        ("\"name\"", "\"user\"", false),
        ("greeting", "greetings", false),
        (
            r#""/data/city"}"#,
            r#""/data/city"},"jwt":{"json_pointer":"/city"}"#,
            false,
        ),
        ("order.open", "order.closed", true),
        ("/data/age", "/data/years", true),
        ("\"age\"", "\"years\"", true),
    ] {
        let changed = EXTRACTORS.replace(from, to);
        assert_ne!(changed, EXTRACTORS);
        let changed = Extractors::parse(&changed).unwrap();
        assert_eq!(Forced::parse(&json, &changed).is_ok(), is_good, "{to}");
    }
    let mut types: serde_json::Map<String, Value> = serde_json::from_str(EXTRACTORS).unwrap();
    let greeting = types.remove("greeting").unwrap().to_string();
    let others = Value::Object(types).to_string();
    let moved = format!(
        r#"{},"greeting":{greeting}}}"#,
        others.trim_end_matches('}').to_owned() + "}}}"
    );
    let moved = Extractors::parse(&moved).unwrap_or_else(|error| panic!("{error}: {moved}"));
    assert!(
        Forced::parse(&json, &moved).is_ok(),
        "the order means nothing"
    );
}
