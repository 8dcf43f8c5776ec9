//! The schema that editors use, against what is read here. It knows just the keywords that the schema has.

use super::*;

const SCHEMA: &str = include_str!("../../../../schemas/access-rules.json");
const DOCS: &str = include_str!("../../../../docs/access.md");

/// Returns whether `value` is as `schema` says.
fn is_valid(value: &Value, schema: &Value, root: &Value) -> bool {
    let rules = schema.as_object().unwrap();
    rules.iter().all(|(keyword, wants)| match keyword.as_str() {
        "$schema" | "$defs" | "title" | "description" => true,
        "$ref" => {
            let pointer = wants.as_str().unwrap().trim_start_matches('#');
            is_valid(value, root.pointer(pointer).unwrap(), root)
        }
        "type" => match wants {
            Value::Array(types) => types.iter().any(|one| is_of_type(value, one)),
            one => is_of_type(value, one),
        },
        "required" => texts(wants).iter().all(|name| value.get(name).is_some()),
        "properties" => wants.as_object().unwrap().iter().all(|(name, schema)| {
            value
                .get(name)
                .is_none_or(|value| is_valid(value, schema, root))
        }),
        "additionalProperties" => members(value)
            .filter(|(name, _)| schema["properties"].get(name).is_none())
            .all(|(_, value)| match wants {
                Value::Bool(is_allowed) => *is_allowed,
                schema => is_valid(value, schema, root),
            }),
        "propertyNames" => members(value).all(|(name, _)| is_valid(&json!(name), wants, root)),
        "items" => elements(value).all(|element| is_valid(element, wants, root)),
        "minItems" => elements(value).count() >= usize::try_from(wants.as_u64().unwrap()).unwrap(),
        "maxLength" => {
            let longest = usize::try_from(wants.as_u64().unwrap()).unwrap();
            value
                .as_str()
                .is_none_or(|text| text.chars().count() <= longest)
        }
        "pattern" => value
            .as_str()
            .is_none_or(|text| is_match(text, wants.as_str().unwrap())),
        other => panic!("the test does not know {other}"),
    })
}

fn texts(list: &Value) -> Vec<&str> {
    elements(list).filter_map(Value::as_str).collect()
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn is_of_type(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the test does not know {other}"),
    }
}

/// The three patterns of the schema, by hand.
fn is_match(text: &str, pattern: &str) -> bool {
    let is_plain = |text: &str| !text.is_empty() && !text.contains('*');
    match pattern {
        r"^([^*]+(\.\*)?|\*)$" => {
            text == "*" || is_plain(text) || text.strip_suffix(".*").is_some_and(is_plain)
        }
        r"^([^*]+\*?|\*)$" => text == "*" || is_plain(text.strip_suffix('*').unwrap_or(text)),
        r"^(/([^~/]|~[01])*)+$" => {
            let escaped = text.replace("~0", "").replace("~1", "");
            text.starts_with('/') && !escaped.contains('~')
        }
        other => panic!("the test does not know {other}"),
    }
}

/// Returns whether the schema, and whether the program takes `table`.
fn judged(table: &Value) -> (bool, bool) {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let is_good = Rules::parse(&table.to_string()).is_ok();
    (is_valid(table, &schema, &schema), is_good)
}

#[test]
fn the_examples_of_the_documentation_are_good() {
    let examples: Vec<&str> = DOCS
        .split("```json\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .filter(|example| example.contains("\"subscribe\""))
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        let table: Value = serde_json::from_str(example).unwrap();
        assert_eq!(judged(&table), (true, true), "{example}");
    }
}

#[test]
fn schema_and_program_agree() {
    let rule = |rule: Value| json!({"subscribe": [rule]});
    for (table, is_good) in [
        (json!({}), true),
        (json!([]), false),
        (json!({"subscribe": [], "submit": []}), true),
        (json!({"publish": []}), false),
        (json!({"submit": {}}), false),
        (json!({"submit": [1]}), false),
        (rule(json!({})), false),
        (rule(json!({"types": []})), false),
        (rule(json!({"types": [1]})), false),
        (rule(json!({"types": ["*", "a", "a.*", "a.b.*"]})), true),
        (rule(json!({"types": [""]})), false),
        (rule(json!({"types": ["a*"]})), false),
        (rule(json!({"types": ["*.a"]})), false),
        (rule(json!({"types": [".*"]})), false),
        (rule(json!({"types": ["a.*.*"]})), false),
        (rule(json!({"types": ["x".repeat(512)]})), true),
        (rule(json!({"types": ["x".repeat(513)]})), false),
        (rule(json!({"types": ["a"], "type": "b"})), false),
        (rule(json!({"types": ["a"], "sources": []})), false),
        (
            rule(json!({"types": ["a"], "sources": ["/a", "/a*", "*"]})),
            true,
        ),
        (rule(json!({"types": ["a"], "sources": ["**"]})), false),
        (rule(json!({"types": ["a"], "sources": [""]})), false),
        (rule(json!({"types": ["a"], "claims": {}})), true),
        (rule(json!({"types": ["a"], "claims": []})), false),
        (
            rule(json!({"types": ["a"], "claims": {"/": ["a", 1, true]}})),
            true,
        ),
        (
            rule(json!({"types": ["a"], "claims": {"/a~1b/~0": ["a"]}})),
            true,
        ),
        (
            rule(json!({"types": ["a"], "claims": {"/a~2": ["a"]}})),
            false,
        ),
        (rule(json!({"types": ["a"], "claims": {"a": ["a"]}})), false),
        (rule(json!({"types": ["a"], "claims": {"": ["a"]}})), false),
        (rule(json!({"types": ["a"], "claims": {"/a": []}})), false),
        (rule(json!({"types": ["a"], "claims": {"/a": "a"}})), false),
        (
            rule(json!({"types": ["a"], "claims": {"/a": [null]}})),
            false,
        ),
        (
            rule(json!({"types": ["a"], "claims": {"/a": [["b"]]}})),
            false,
        ),
    ] {
        assert_eq!(judged(&table), (is_good, is_good), "{table}");
    }
}
