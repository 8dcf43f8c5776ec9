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
        faults(&with(&json!({ "proxy": {} }))),
        json!({ "api": [
            { "proxy": "must be present" },
            { "target_url": "must be string" },
            { "target_url": "must have a length of at least 1" },
            { "port": "must be integer" },
        ] })
    );
    assert_eq!(
        faults(&with(&json!({ "version_data": {} }))),
        json!({ "api": [
            { "version_data": "must be present" },
            { "version_data": "must have at least one version, e.g. default" },
        ] })
    );
    for endpoints in [json!(null), json!({}), json!("x")] {
        assert_eq!(
            faults(&api(&endpoints)),
            json!({ "api": [{ "endpoints": "must be list" }] })
        );
    }
    assert_eq!(
        faults(&api(&json!([{}]))),
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

/// Asserts what is wrong: in each line stand members of `document`, the field, and the reason.
fn refused(table: &str, place: &str, document: impl Fn(&Value) -> Value) {
    for line in table.lines() {
        let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let &[members, field, reason] = &parts[..] else {
            panic!("{line}");
        };
        let document = document(&serde_json::from_str(members).unwrap());
        let found = faults(&document);
        assert_eq!(found, json!({ place: [{ field: reason }] }), "{line}");
    }
}

#[test]
fn what_an_api_cannot_be_is_told() {
    let table = r#"{"id": ""} | id | must have a length of at least 1
        {"id": "a\nb"} | id | must not have control characters
        {"name": ["a"]} | name | must be string
        {"versioned": "no"} | versioned | must be boolean
        {"versioned": true} | versioned | must be false: the version default is the only one that is served
        {"active": 1} | active | must be boolean
        {"version_data": {"v1": {"endpoints": []}}} | version_data | must have the version default, the only one that is served"#;
    refused(table, "api", with);
    let long = with(&json!({ "id": "x".repeat(257) }));
    let reason = "must not be longer than 256 bytes";
    assert_eq!(faults(&long), json!({ "api": [{ "id": reason }] }));
    let reason = "must be an object";
    assert_eq!(faults(&json!([])), json!({ "api": [{ "api": reason }] }));
    let many: Vec<Value> = (0..1001)
        .map(|id| json!({ "id": id.to_string() }))
        .collect();
    let reason = "must not be more than 1000";
    assert_eq!(
        faults(&api(&json!(many))),
        json!({ "api": [{ "endpoints": reason }] })
    );
}

#[test]
fn what_a_backend_cannot_be_is_told() {
    assert_eq!(
        faults(&with(&json!({ "proxy": "tickets" }))),
        json!({ "api": [{ "proxy": "must be an object" }] })
    );
    let table = r#"{"target_url": "t", "port": "80"} | port | must be integer
        {"target_url": "t", "port": 80.5} | port | must be integer
        {"target_url": "t", "port": 65536} | port | must be from 1 to 65535
        {"target_url": "t", "port": -1} | port | must be from 1 to 65535
        {"target_url": "t:1", "port": 2} | port | must be the port that target_url has
        {"target_url": "t", "port": 1, "use_env": "yes"} | use_env | must be boolean
        {"use_env": true, "target_url": "PATH", "port": 1} | target_url | names an environment variable that is not the address of a host
        {"target_url": "t", "port": 1, "health_path": "health"} | health_path | must be a path that can be read in one way, as in /health
        {"target_urls": []} | target_urls | must be a list of 1 to 100 addresses
        {"target_urls": {}} | target_urls | must be a list of 1 to 100 addresses
        {"target_urls": [1]} | target_urls | must be a list of strings
        {"target_urls": ["http://a?b"]} | target_urls | each must not have a query or a fragment
        {"target_urls": ["a", "https://b"]} | target_urls | must all have the same scheme and the same path
        {"target_urls": ["a/x", "a/y"]} | target_urls | must all have the same scheme and the same path
        {"target_urls": ["a"], "port": 1} | port | must not be there together with target_urls"#;
    refused(table, "api", |proxy| with(&json!({ "proxy": proxy })));
}

#[test]
fn what_asks_for_no_token_or_adds_no_header_is_told() {
    let table = r#"{"auth_type": "basic"} | auth_type | must be one of ["jwt", "none"]
        {"auth_type": 1} | auth_type | must be string
        {"auth_type": "none", "auth": {"use_query": true, "query_name": "t"}} | auth_type | must be one of ["jwt"]
        {"auth_type": "jwt", "auth": []} | auth | must be an object
        {"auth_type": "jwt", "auth": {"use_header": 1}} | use_header | must be boolean
        {"auth_type": "jwt", "auth": {"use_header": true, "header_name": ""}} | header_name | must be present
        {"auth_type": "jwt", "auth": {"use_header": true, "header_name": "a b"}} | header_name | must be the name of a header"#;
    refused(table, "a", with);
    let table = r#"{"a b": "x"} | add_headers | "a b" must be the name of a header
        {"a": 1} | add_headers | "a" must be string
        {"a": "x\r\nb: y"} | add_headers | "a" must be the value of a header
        {"Host": "a b"} | add_headers | "Host" must be a host
        {"Transfer-Encoding": "chunked"} | add_headers | "Transfer-Encoding" must not be added: it belongs to the connection"#;
    refused(table, "api", |headers| {
        let mut document = with(&json!({}));
        document["version_data"]["default"]["transform_request_headers"] =
            json!({ "add_headers": headers });
        document
    });
}

#[test]
fn what_an_endpoint_cannot_be_is_told() {
    let table = r#"{"method": "CONNECT"} | method | must not be CONNECT or TRACE
        {"method": "trace"} | method | must not be CONNECT or TRACE
        {"secured": true} | auth_type | must be one of ["jwt"]
        {"secured": "true"} | secured | must be boolean
        {"path_regex": "(?:.{1000}){1000}"} | path_regex | is too large when it is compiled
        {"path_replacement": 1} | path_replacement | must be string
        {"path_replacement": "/\\3"} | path_replacement | names the group 3, but path_regex has 2
        {"path_replacement": "//evil"} | path_replacement | must be a path that can be read in one way: the path starts with more than one slash"#;
    refused(table, "a/e", with_endpoint);
    let endpoint = json!({ "id": "e", "method": "GET", "path": "/{id}" });
    let old = faults(&api(&json!([endpoint])));
    let hint = json!({ "path": "was replaced by path_regex in RIG 3" });
    assert_eq!(old["a/e"][2], hint);
}

#[test]
fn what_a_target_cannot_be_is_told() {
    let table = r#"{"target": "kinesis"} | target | must be one of ["http", "kafka", "nats"]: kinesis is not supported
        {"target": "ftp"} | target | must be one of ["http", "kafka", "nats"]
        {"target": 5} | target | must be string
        {"target": "kafka"} | topic | must be present
        {"target": "nats"} | topic | must be present
        {"target": "nats", "topic": "a.*"} | topic | must be a subject: names with dots in between, without spaces and wildcards
        {"target": "kafka", "topic": "a b"} | topic | must be 1 to 249 letters, digits, dots, underscores and hyphens
        {"target": "kafka", "topic": "a,b"} | topic | must be 1 to 249 letters, digits, dots, underscores and hyphens
        {"schema": "s"} | target | must be present
        {"schema": "s", "target": "http"} | schema | must not be there but for the target kafka
        {"response_from": "kinesis"} | response_from | must be one of ["http", "kafka", "http_async"]
        {"response_from": "nats"} | response_from | must be one of ["http", "kafka", "http_async"]
        {"target": "kafka", "topic": "t", "response_from": "nats"} | response_from | must be one of ["none", "kafka"]
        {"target": "nats", "topic": "t", "response_from": "kafka"} | response_from | must be one of ["none", "nats"]
        {"key": "session"} | key | must not be there but for the target kafka
        {"target": "kafka", "topic": "t", "key": {"path": 3}} | key | must have the number of a group of path_regex, which has 2"#;
    refused(table, "a/e", with_endpoint);
}
