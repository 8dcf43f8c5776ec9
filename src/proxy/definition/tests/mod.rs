mod doubts;
mod refusals;
mod schema;

use http::{HeaderName, header};
use serde_json::{Value, json};

use super::*;
use crate::event::JsonPointer;
use crate::proxy::route::{AnswerFrom, KeyRule, Protocol, Route, Target, TokenPlaces};

/// An API that is good, with these endpoints.
fn api(endpoints: &Value) -> Value {
    json!({
        "id": "a",
        "name": "a",
        "version_data": { "default": { "endpoints": endpoints } },
        "proxy": { "target_url": "http://tickets", "port": 8080 },
    })
}

/// An API that is good, with one endpoint that has these members beside those that are needed.
fn with_endpoint(members: &Value) -> Value {
    let mut endpoint = json!({ "id": "e", "method": "GET", "path_regex": "/(a)/(b)" });
    add(&mut endpoint, members);
    api(&json!([endpoint]))
}

/// An API that is good, with these members.
fn with(members: &Value) -> Value {
    let mut api = with_endpoint(&json!({}));
    add(&mut api, members);
    api
}

fn add(object: &mut Value, members: &Value) {
    for (name, member) in members.as_object().unwrap() {
        object[name] = member.clone();
    }
}

fn hosts() -> Hosts {
    let variables = [("API_HOST", "books.internal"), ("PATH", "/bin:/usr/bin")];
    Hosts::of(variables, |_| false)
}

fn read(document: &Value) -> Definition {
    Definition::read(document, &hosts()).unwrap_or_else(|faults| panic!("{document}: {faults}"))
}

fn route(document: &Value) -> Arc<Route> {
    Arc::clone(&read(document).routes[0].route)
}

#[test]
fn an_api_has_the_defaults_of_rig() {
    let definition = read(&with(&json!({ "note": "kept", "auth_type": null })));
    assert_eq!((&*definition.id, definition.is_active), ("a", true));
    let document = Value::Object(definition.document);
    for (member, value) in [
        ("auth_type", json!("none")),
        ("versioned", json!(false)),
        ("active", json!(true)),
        ("ref_number", json!(0)),
        ("note", json!("kept")),
    ] {
        assert_eq!(document[member], value, "{member}");
    }
    let route = route(&with(&json!({})));
    assert_eq!((&*route.api, &*route.endpoint), ("a", "e"));
    assert_eq!(
        (route.method.as_str(), &*route.path_regex),
        ("GET", "/(a)/(b)")
    );
    assert!(!route.is_secured);
    assert_eq!(route.tokens, None);
    assert!(route.add_headers.is_empty());
    let Target::Http(upstream) = &route.target else {
        panic!("{route:?}");
    };
    assert_eq!(route.answer_from, AnswerFrom::Target);
    assert_eq!(upstream.protocol, Protocol::Http);
    assert_eq!(*upstream.addresses, ["tickets:8080"]);
    assert_eq!((&*upstream.base_path, &upstream.health_path), ("", &None));
    assert!(!read(&with(&json!({ "active": false }))).is_active);
}

#[test]
fn backends_are_named_in_several_ways() {
    for (proxy, protocol, addresses, base_path) in [
        (
            json!({"target_url": "tickets", "port": 1}),
            Protocol::Http,
            &["tickets:1"][..],
            "",
        ),
        (
            json!({"target_url": "https://t:1"}),
            Protocol::Https,
            &["t:1"],
            "",
        ),
        (
            json!({"target_url": "h2c://t/a/", "port": 1}),
            Protocol::H2c,
            &["t:1"],
            "/a",
        ),
        (
            json!({"use_env": true, "target_url": "API_HOST", "port": 3000}),
            Protocol::Http,
            &["books.internal:3000"],
            "",
        ),
        (
            json!({"use_env": true, "target_url": "NOT_SET", "port": 3000}),
            Protocol::Http,
            &["localhost:3000"],
            "",
        ),
        (
            json!({"target_urls": ["https://a/x", "https://b:1/x/"], "health_path": "/health"}),
            Protocol::Https,
            &["a:443", "b:1"],
            "/x",
        ),
    ] {
        let route = route(&with(&json!({ "proxy": proxy })));
        let Target::Http(upstream) = &route.target else {
            panic!("{route:?}");
        };
        assert_eq!(upstream.protocol, protocol, "{proxy}");
        assert_eq!(*upstream.addresses, *addresses, "{proxy}");
        assert_eq!(&*upstream.base_path, base_path, "{proxy}");
        assert_eq!(
            upstream.health_path.as_deref(),
            proxy["health_path"].as_str()
        );
    }
}

#[test]
fn routes_of_an_api_share_their_backend() {
    let endpoint = |id: &str| json!({ "id": id, "method": "get", "path_regex": "/" });
    let definition = read(&api(&json!([endpoint("1"), endpoint("2")])));
    let upstream = |number: usize| match &definition.routes[number].route.target {
        Target::Http(upstream) => Arc::clone(upstream),
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&upstream(0), &upstream(1)));
}

#[test]
fn targets_and_answers_are_those_of_rig() {
    for (members, target, from) in [
        (json!({}), "http", "http"),
        (
            json!({"target": "HTTP", "response_from": ""}),
            "http",
            "http",
        ),
        (json!({"response_from": "kafka"}), "http", "kafka"),
        (json!({"response_from": "Http_Async"}), "http", "http_async"),
        (json!({"target": "kafka", "topic": "t"}), "kafka", "none"),
        (
            json!({"target": "Kafka", "topic": "t", "response_from": "http"}),
            "kafka",
            "none",
        ),
        (
            json!({"target": "kafka", "topic": "t", "response_from": "kafka"}),
            "kafka",
            "kafka",
        ),
        (json!({"target": "nats", "topic": "a.b"}), "nats", "none"),
        (
            json!({"target": "nats", "topic": "a", "response_from": "nats"}),
            "nats",
            "nats",
        ),
    ] {
        let route = route(&with_endpoint(&members));
        let found = (route.target.name(), route.response_from());
        assert_eq!(found, (target, from), "{members}");
    }
}

#[test]
fn what_goes_to_kafka_needs_no_backend() {
    let endpoint = json!({
        "id": "e", "method": "POST", "path_regex": "/", "target": "kafka", "topic": "t",
        "schema": "s", "key": {"body": "/a"},
    });
    let mut document = api(&json!([endpoint]));
    document.as_object_mut().unwrap().remove("proxy");
    let route = route(&document);
    let Target::Kafka(target) = &route.target else {
        panic!("{route:?}");
    };
    assert_eq!((&*target.topic, target.schema.as_deref()), ("t", Some("s")));
    assert_eq!(route.answer_from, AnswerFrom::Target);
    assert_eq!(target.key, KeyRule::Body(JsonPointer::parse("/a").unwrap()));
}

#[test]
fn tokens_stand_where_auth_says() {
    let authorization = || Some(header::AUTHORIZATION);
    for (auth, header, query) in [
        (json!(null), authorization(), None),
        (json!({}), authorization(), None),
        (
            json!({"use_header": false, "use_query": false}),
            authorization(),
            None,
        ),
        (
            json!({"use_header": true, "header_name": "X-Token", "use_query": false, "query_name": ""}),
            Some(HeaderName::from_static("x-token")),
            None,
        ),
        (
            json!({"use_query": true, "query_name": "token"}),
            None,
            Some("token"),
        ),
        (
            json!({"use_header": true, "header_name": "Authorization", "use_query": true, "query_name": "t"}),
            authorization(),
            Some("t"),
        ),
    ] {
        let mut document = with_endpoint(&json!({ "secured": true }));
        add(&mut document, &json!({ "auth_type": "jwt", "auth": auth }));
        let places = TokenPlaces {
            header,
            query: query.map(Into::into),
        };
        let secured = route(&document);
        assert_eq!(secured.secured(), Some(&places), "{auth}");
        document["version_data"]["default"]["endpoints"][0]["secured"] = json!(false);
        let open = route(&document);
        assert_eq!(open.secured(), None);
        assert_eq!(open.tokens, Some(places), "{auth}");
    }
}

#[test]
fn headers_are_added_where_an_endpoint_asks_for_it() {
    let mut document = with_endpoint(&json!({ "transform_request_headers": true }));
    document["version_data"]["default"]["transform_request_headers"] =
        json!({ "add_headers": { "Custom": "välue", "host": "other" } });
    let headers: Vec<(String, Vec<u8>)> = route(&document)
        .add_headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    let expected = [("custom", "välue"), ("host", "other")];
    assert_eq!(
        headers,
        expected.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
    );
    document["version_data"]["default"]["endpoints"][0]["transform_request_headers"] = json!(false);
    assert!(route(&document).add_headers.is_empty());
}
