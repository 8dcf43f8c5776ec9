//! What is wrong with a definition, in RIG's words where RIG had some.

use super::*;

fn faults(document: &Value) -> Value {
    match Definition::read(document, &hosts()) {
        Ok(_) => panic!("{document} is good"),
        Err(faults) => faults.to_json(),
    }
}

#[test]
fn what_is_missing_is_told_as_in_rig() {
    assert_eq!(
        faults(&json!({})),
        json!({ "api": [
            { "id": "must be string" },
            { "id": "must have a length of at least 1" },
            { "name": "must be string" },
            { "name": "must have a length of at least 1" },
            { "proxy": "must be present" },
            { "version_data": "must be present" },
        ] })
    );
    assert_eq!(
        faults(&with(json!({ "proxy": {} }))),
        json!({ "api": [
            { "proxy": "must be present" },
            { "target_url": "must be string" },
            { "target_url": "must have a length of at least 1" },
            { "port": "must be integer" },
        ] })
    );
    assert_eq!(
        faults(&with(json!({ "version_data": {} }))),
        json!({ "api": [
            { "version_data": "must be present" },
            { "version_data": "must have at least one version, e.g. default" },
        ] })
    );
    for endpoints in [json!(null), json!({}), json!("x")] {
        assert_eq!(
            faults(&api(endpoints)),
            json!({ "api": [{ "endpoints": "must be list" }] })
        );
    }
    assert_eq!(
        faults(&api(json!([{}]))),
        json!({ "a/": [
            { "id": "must be string" },
            { "id": "must have a length of at least 1" },
            { "path_regex": "must be string" },
            { "path_regex": "must have a length of at least 1" },
            { "method": "must be string" },
            { "method": "must have a length of at least 1" },
        ] })
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let document = json!({
        "id": "a", "name": 5, "versioned": true,
        "auth": { "use_header": true, "use_query": true },
        "proxy": { "target_url": "ftp://x", "port": 0 },
        "version_data": { "default": { "endpoints": [
            { "id": "1", "method": "GET", "path_regex": "(", "secured": true },
            { "id": "1", "method": "a b", "path_regex": "/", "target": "kafka" },
        ] } },
    });
    let found = faults(&document);
    assert_eq!(
        found,
        json!({
            "a": [
                { "header_name": "must be present" },
                { "query_name": "must be present" },
                { "auth_type": "must be one of [\"jwt\"]" },
            ],
            "a/1": [
                { "auth_type": "must be one of [\"jwt\"]" },
                { "path_regex": "is not a regular expression that is supported: unclosed group" },
                { "method": "must be the name of a method, as in GET" },
                { "topic": "must be present" },
                { "id": "must not be that of another endpoint" },
            ],
            "api": [
                { "name": "must be string" },
                { "target_url": "must start with http://, https:// or h2c://, or with a host" },
                { "port": "must be from 1 to 65535" },
                { "versioned": "must be false: the version default is the only one that is served" },
            ],
        })
    );
}

/// Asserts what is wrong with one member of an API.
fn refused(document: &Value, place: &str, field: &str, reason: &str) {
    let found = faults(document);
    assert_eq!(found, json!({ place: [{ field: reason }] }), "{document}");
}

#[test]
fn what_an_api_cannot_be_is_told() {
    refused(&json!([]), "api", "api", "must be an object");
    for (members, field, reason) in [
        (json!({"id": ""}), "id", "must have a length of at least 1"),
        (
            json!({"id": "x".repeat(257)}),
            "id",
            "must not be longer than 256 bytes",
        ),
        (
            json!({"id": "a\nb"}),
            "id",
            "must not have control characters",
        ),
        (json!({"name": ["a"]}), "name", "must be string"),
        (json!({"versioned": "no"}), "versioned", "must be boolean"),
        (json!({"active": 1}), "active", "must be boolean"),
        (json!({"proxy": "tickets"}), "proxy", "must be an object"),
        (
            json!({"proxy": {"target_url": "t", "port": "80"}}),
            "port",
            "must be integer",
        ),
        (
            json!({"proxy": {"target_url": "t", "port": 80.5}}),
            "port",
            "must be integer",
        ),
        (
            json!({"proxy": {"target_url": "t", "port": 65536}}),
            "port",
            "must be from 1 to 65535",
        ),
        (
            json!({"proxy": {"target_url": "t:1", "port": 2}}),
            "port",
            "must be the port that target_url has",
        ),
        (
            json!({"proxy": {"target_url": "t", "port": 1, "use_env": "yes"}}),
            "use_env",
            "must be boolean",
        ),
        (
            json!({"proxy": {"target_urls": []}}),
            "target_urls",
            "must be a list of 1 to 100 addresses",
        ),
        (
            json!({"proxy": {"target_urls": [1]}}),
            "target_urls",
            "must be a list of strings",
        ),
        (
            json!({"proxy": {"target_urls": ["a", "https://b"]}}),
            "target_urls",
            "must all have the same scheme and the same path",
        ),
        (
            json!({"proxy": {"target_urls": ["a/x", "a/y"]}}),
            "target_urls",
            "must all have the same scheme and the same path",
        ),
        (
            json!({"proxy": {"target_urls": ["a"], "port": 1}}),
            "port",
            "must not be there together with target_urls",
        ),
        (
            json!({"proxy": {"target_url": "t", "port": 1, "health_path": "health"}}),
            "health_path",
            "must be a path that can be read in one way, as in /health",
        ),
        (
            json!({"proxy": {"use_env": true, "target_url": "PATH", "port": 1}}),
            "target_url",
            "names an environment variable that is not the address of a host",
        ),
        (
            json!({"version_data": {"v1": {"endpoints": []}}}),
            "version_data",
            "must have the version default, the only one that is served",
        ),
    ] {
        refused(&with(members), "api", field, reason);
    }
    for (auth_type, auth, field, reason) in [
        (
            json!("basic"),
            json!({}),
            "auth_type",
            "must be one of [\"jwt\", \"none\"]",
        ),
        (
            json!("none"),
            json!({"use_query": true, "query_name": "t"}),
            "auth_type",
            "must be one of [\"jwt\"]",
        ),
        (json!("jwt"), json!([]), "auth", "must be an object"),
        (
            json!("jwt"),
            json!({"use_header": 1}),
            "use_header",
            "must be boolean",
        ),
        (
            json!("jwt"),
            json!({"use_header": true, "header_name": ""}),
            "header_name",
            "must be present",
        ),
        (
            json!("jwt"),
            json!({"use_header": true, "header_name": "a b"}),
            "header_name",
            "must be the name of a header",
        ),
    ] {
        refused(
            &with(json!({ "auth_type": auth_type, "auth": auth })),
            "a",
            field,
            reason,
        );
    }
    for (headers, reason) in [
        (json!({"a b": "x"}), "\"a b\" must be the name of a header"),
        (json!({"a": 1}), "\"a\" must be string"),
        (
            json!({"a": "x\r\nb: y"}),
            "\"a\" must be the value of a header",
        ),
        (
            json!({"Transfer-Encoding": "chunked"}),
            "\"Transfer-Encoding\" must not be added: it belongs to the connection",
        ),
    ] {
        let mut document = with(json!({}));
        document["version_data"]["default"]["transform_request_headers"] =
            json!({ "add_headers": headers });
        refused(&document, "api", "add_headers", reason);
    }
}

#[test]
fn what_an_endpoint_cannot_be_is_told() {
    let kinesis = "must be one of [\"http\", \"kafka\", \"nats\"]: kinesis is not supported";
    for (members, field, reason) in [
        (
            json!({"method": "CONNECT"}),
            "method",
            "must not be CONNECT or TRACE",
        ),
        (
            json!({"method": "trace"}),
            "method",
            "must not be CONNECT or TRACE",
        ),
        (
            json!({"secured": true}),
            "auth_type",
            "must be one of [\"jwt\"]",
        ),
        (json!({"secured": "true"}), "secured", "must be boolean"),
        (json!({"target": "kinesis"}), "target", kinesis),
        (
            json!({"target": "ftp"}),
            "target",
            "must be one of [\"http\", \"kafka\", \"nats\"]",
        ),
        (json!({"target": 5}), "target", "must be string"),
        (json!({"target": "nats"}), "topic", "must be present"),
        (
            json!({"target": "nats", "topic": "a.*"}),
            "topic",
            "must be a subject: names with dots in between, without spaces and wildcards",
        ),
        (
            json!({"target": "kafka", "topic": "a b"}),
            "topic",
            "must be 1 to 249 letters, digits, dots, underscores and hyphens",
        ),
        (
            json!({"target": "kafka", "topic": "a,b"}),
            "topic",
            "must be 1 to 249 letters, digits, dots, underscores and hyphens",
        ),
        (json!({"schema": "s"}), "target", "must be present"),
        (
            json!({"schema": "s", "target": "http"}),
            "schema",
            "must not be there but for the target kafka",
        ),
        (
            json!({"response_from": "kinesis"}),
            "response_from",
            "must be one of [\"http\", \"kafka\", \"http_async\"]",
        ),
        (
            json!({"response_from": "nats"}),
            "response_from",
            "must be one of [\"http\", \"kafka\", \"http_async\"]",
        ),
        (
            json!({"target": "kafka", "topic": "t", "response_from": "nats"}),
            "response_from",
            "must be one of [\"none\", \"kafka\"]",
        ),
        (
            json!({"target": "nats", "topic": "t", "response_from": "kafka"}),
            "response_from",
            "must be one of [\"none\", \"nats\"]",
        ),
        (
            json!({"key": "session"}),
            "key",
            "must not be there but for the target kafka",
        ),
        (
            json!({"target": "kafka", "topic": "t", "key": {"path": 3}}),
            "key",
            "must have the number of a group of path_regex, which has 2",
        ),
        (
            json!({"path_replacement": r"/\3"}),
            "path_replacement",
            "names the group 3, but path_regex has 2",
        ),
        (
            json!({"path_replacement": "//evil"}),
            "path_replacement",
            "must be a path that can be read in one way: the path starts with more than one slash",
        ),
        (
            json!({"path_replacement": 1}),
            "path_replacement",
            "must be string",
        ),
        (
            json!({"path_regex": "(?:.{1000}){1000}"}),
            "path_regex",
            "is too large when it is compiled",
        ),
    ] {
        refused(&with_endpoint(members), "a/e", field, reason);
    }
    let old = faults(&api(
        json!([{ "id": "e", "method": "GET", "path": "/{id}" }]),
    ));
    assert_eq!(
        old["a/e"][2],
        json!({ "path": "was replaced by path_regex in RIG 3" })
    );
    let many: Vec<Value> = (0..1001)
        .map(|id| json!({ "id": id.to_string() }))
        .collect();
    refused(
        &api(json!(many)),
        "api",
        "endpoints",
        "must not be more than 1000",
    );
}
