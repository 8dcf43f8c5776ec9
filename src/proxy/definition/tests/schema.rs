//! The schema that editors use, against what is read here.

use super::*;
use crate::event::is_valid;

const SCHEMA: &str = include_str!("../../../../schemas/api-definitions.json");
const DOCS: &str = include_str!("../../../../docs/api-definitions.md");

/// Returns whether the schema, and whether the program takes a list of APIs.
fn judged(list: &Value) -> (bool, bool) {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut apis = list.as_array().unwrap().iter();
    let is_good = apis.all(|api| Definition::read(api, &hosts()).is_ok());
    (is_valid(list, &schema), is_good)
}

/// RIG's examples, one of each kind but Kinesis.
fn examples() -> Value {
    json!([
        {
            "id": "sync", "name": "sync", "auth_type": "jwt",
            "auth": { "use_header": true, "header_name": "Authorization", "use_query": false, "query_name": "" },
            "versioned": false,
            "version_data": { "default": {
                "transform_request_headers": {
                    "add_headers": { "host": "my-different-host.com", "custom-header": "custom-value" }
                },
                "endpoints": [
                    {
                        "id": "get-book", "method": "GET", "path_regex": "/books/([^/]+)/pages/([^/]+)",
                        "path_replacement": "/pages/\\2/books/\\1", "secured": true
                    },
                    { "id": "transformed", "method": "POST", "path_regex": "/transformed", "transform_request_headers": true },
                    { "id": "preflight", "method": "OPTIONS", "path_regex": "/books/.*" }
                ]
            } },
            "proxy": { "use_env": true, "target_url": "API_HOST", "port": 3000 }
        },
        with_one("http-kafka", &json!({ "target": "http", "response_from": "kafka" })),
        with_one("http-async", &json!({ "response_from": "http_async" })),
        with_one("kafka-ff", &json!({ "target": "kafka", "topic": "my-topic", "schema": "my-topic-value" })),
        with_one("kafka-sync", &json!({ "target": "kafka", "topic": "requests", "response_from": "kafka" })),
        with_one("nats-sync", &json!({ "target": "nats", "topic": "requests", "response_from": "nats" })),
    ])
}

fn with_one(id: &str, members: &Value) -> Value {
    let mut api = with_endpoint(members);
    add(
        &mut api,
        &json!({ "id": id, "proxy": { "target_url": "unused", "port": 1 } }),
    );
    api
}

#[test]
fn the_examples_of_rig_and_of_the_documentation_are_good() {
    assert_eq!(judged(&examples()), (true, true));
    let examples = DOCS.split("```json\n").skip(1);
    let examples: Vec<&str> = examples
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        let list: Value = serde_json::from_str(example).unwrap();
        assert_eq!(judged(&list), (true, true), "{example}");
    }
    let body = DOCS
        .split(" -d '")
        .nth(1)
        .unwrap()
        .split("'\n")
        .next()
        .unwrap();
    let api: Value = serde_json::from_str(body).unwrap();
    assert_eq!(judged(&json!([api])), (true, true), "{body}");
}

#[test]
fn schema_and_program_agree() {
    for (api, is_good) in [
        (with(&json!({})), true),
        (with(&json!({ "other": { "members": 1 } })), true),
        (json!("x"), false),
        (with(&json!({ "id": "" })), false),
        (with(&json!({ "name": 1 })), false),
        (with(&json!({ "versioned": true })), false),
        (with(&json!({ "auth_type": "basic" })), false),
        (with(&json!({ "auth": [] })), false),
        (with(&json!({ "version_data": {} })), false),
        (api(&json!({})), false),
        (with(&json!({ "proxy": {} })), false),
        (
            with(&json!({ "proxy": { "target_url": "t", "port": 0 } })),
            false,
        ),
        (
            with(&json!({ "proxy": { "target_url": "t", "port": "1" } })),
            false,
        ),
        (
            with(&json!({ "proxy": { "target_urls": ["h2c://a:1/x", "h2c://[::1]/x"] } })),
            true,
        ),
        (with(&json!({ "proxy": { "target_urls": [] } })), false),
        (
            with(&json!({ "proxy": { "target_urls": ["ftp://a"] } })),
            false,
        ),
        (
            with(&json!({ "proxy": { "target_urls": ["a"], "health_path": "/x" } })),
            true,
        ),
        (
            with(&json!({ "proxy": { "target_urls": ["a"], "health_path": "x" } })),
            false,
        ),
        (with_endpoint(&json!({ "method": "a b" })), false),
        (with_endpoint(&json!({ "path_regex": null })), false),
        (with_endpoint(&json!({ "secured": "yes" })), false),
        (
            with_endpoint(&json!({ "target": "kinesis", "topic": "t" })),
            false,
        ),
        (with_endpoint(&json!({ "target": "kafka" })), false),
        (with_endpoint(&json!({ "target": "nats" })), false),
        (with_endpoint(&json!({ "response_from": "kinesis" })), false),
        (with_key(&json!("session")), true),
        (with_key(&json!("partition")), false),
        (with_key(&json!({ "header": "X-Key" })), true),
        (with_key(&json!({ "header": "a b" })), false),
        (with_key(&json!({ "body": "/a~1b" })), true),
        (with_key(&json!({ "body": "a" })), false),
        (with_key(&json!({ "path": 1 })), true),
        (with_key(&json!({ "path": 0 })), false),
        (with_key(&json!({ "path": 1, "body": "/a" })), false),
    ] {
        assert_eq!(judged(&json!([api])), (is_good, is_good), "{api}");
    }
}

fn with_key(key: &Value) -> Value {
    with_endpoint(&json!({ "target": "kafka", "topic": "t", "key": key }))
}
