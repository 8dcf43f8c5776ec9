//! The schema that editors use, against what is read here.

use super::*;
use crate::event::is_valid;

const SCHEMA: &str = include_str!("../../../../schemas/access-rules.json");
const DOCS: &str = include_str!("../../../../docs/access.md");

/// Returns whether the schema, and whether the program takes `table`.
fn judged(table: &Value) -> (bool, bool) {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let is_good = Rules::parse(&table.to_string()).is_ok();
    (is_valid(table, &schema), is_good)
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
