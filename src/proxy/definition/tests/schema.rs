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

/// Once these were refused by the schema, in files of RIG that worked.
#[test]
fn the_schema_takes_all_spellings_that_the_program_takes() {
    for api in [
        with_endpoint(&json!({ "target": "Kafka", "topic": "t", "response_from": "KAFKA" })),
        with_endpoint(&json!({ "target": "NATS", "topic": "a.b", "response_from": "None" })),
        with_endpoint(&json!({ "target": "", "response_from": "HTTP_async", "schema": "" })),
        with_endpoint(&json!({ "target": null, "topic": null, "schema": null, "key": null })),
        with_endpoint(&json!({ "secured": null, "path_replacement": null, "type": "http" })),
        with_endpoint(&json!({ "path_replacement": "\\g{1}/a b/\\2", "method": "purge" })),
        with_endpoint(&json!({ "path_regex": "/[(?=]\\\\1" })),
        with(&json!({ "auth_type": null, "auth": null, "versioned": null, "active": null })),
        with(&json!({ "auth": { "use_header": null, "header_name": "a b", "query_name": null } })),
        with(&json!({ "ref_number": 3, "timestamp": "x", "node_name": "n", "phx_ref": "r" })),
        with(&json!({ "proxy": { "target_urls": [" HTTP://a ", "b:08/"], "health_path": "" } })),
        with(&json!({ "proxy": { "target_urls": null, "target_url": "H2C://[::1]:5/a/" } })),
        with(&json!({ "proxy": { "target_url": "API_HOST", "use_env": true, "port": 1 } })),
        kafka_with(&json!({ "proxy": null })),
        kafka_with(&json!({ "proxy": {} })),
    ] {
        assert_eq!(judged(&json!([api])), (true, true), "{api}");
    }
}

#[test]
fn the_schema_refuses_what_the_program_refuses() {
    for api in [
        with_endpoint(&json!({ "method": "Trace" })),
        with_endpoint(&json!({ "secured": true })),
        with_endpoint(&json!({ "response_from": "none" })),
        with_endpoint(&json!({ "key": "session" })),
        with_endpoint(&json!({ "schema": "s" })),
        with_endpoint(&json!({ "path_replacement": "a" })),
        with_endpoint(&json!({ "path_replacement": "/a/../b" })),
        with_endpoint(&json!({ "path_regex": "(a)\\1" })),
        with_endpoint(&json!({ "target": "kafka", "topic": "a b" })),
        with_endpoint(&json!({ "target": "kafka", "topic": "t", "response_from": "nats" })),
        with_endpoint(&json!({ "target": "nats", "topic": "a.*" })),
        with(&json!({ "id": "a\nb" })),
        with(&json!({ "auth": { "use_header": true, "header_name": "x-token" } })),
        with(&json!({ "auth_type": "jwt", "auth": { "use_header": true } })),
        with(&json!({ "auth_type": "jwt", "auth": { "use_query": true, "query_name": "" } })),
        with(&json!({ "proxy": null })),
        with(&json!({ "proxy": { "target_url": "a" } })),
        with(&json!({ "proxy": { "target_url": "a:70000" } })),
        with(&json!({ "proxy": { "target_url": "ftp://a", "port": 1 } })),
        with(&json!({ "proxy": { "target_url": "user:secret@a", "port": 1 } })),
        with(&json!({ "proxy": { "target_urls": ["a"], "port": 1 } })),
        with(&json!({ "proxy": { "target_urls": ["http://a", "https://a"] } })),
        with(&json!({ "proxy": { "target_urls": ["a"], "health_path": "/a?b" } })),
        kafka_with(&json!({ "proxy": { "port": 1 } })),
    ] {
        assert_eq!(judged(&json!([api])), (false, false), "{api}");
    }
}

/// The program passes over members that it does not know, but an editor shows them: a misspelt `secured` makes a route
/// public.
#[test]
fn the_schema_refuses_members_that_mean_nothing() {
    for api in [
        with_endpoint(&json!({ "secure": true })),
        with_endpoint(&json!({ "not_secured": false })),
        with_endpoint(&json!({ "responseFrom": "kafka" })),
        with(&json!({ "authType": "jwt" })),
        with(&json!({ "auth": { "useHeader": true } })),
        with(&json!({ "proxy": { "target_urls": ["a"], "healthPath": "/" } })),
    ] {
        assert_eq!(judged(&json!([api])), (false, true), "{api}");
    }
}

/// An API whose only endpoint goes to Kafka, with these members.
fn kafka_with(members: &Value) -> Value {
    let mut api = with_endpoint(&json!({ "target": "kafka", "topic": "t" }));
    add(&mut api, members);
    api
}
