//! What is read from a request, and what its event says of it.

use std::sync::Arc;

use http::{HeaderValue, Method};

use super::super::call::Caller;
use super::super::route::{AnswerFrom, KafkaTarget, Target, TokenPlaces};
use super::*;
use crate::http::Request;
use crate::telemetry::TraceContext;

const CONFIG: CommandConfig = CommandConfig {
    proxy_max_command_bytes: 1000,
    proxy_command_credentials: false,
};
const EVENT: &str = r#"{"specversion": "1.0","type":"t","id":"1","source":"/s","rig":{"target_partition":"p","correlation":"forged"},"traceparent":"old","tracestate":"old=1"}"#;

fn call(headers: &[(&str, &str)], body: &'static str) -> Call {
    let mut request = http::Request::builder()
        .method(Method::POST)
        .uri("/as/it/came?token=secret");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let route = Route {
        api: "an api".into(),
        endpoint: "order".into(),
        method: Method::POST,
        path_regex: "/orders/(.*)".into(),
        // It is open to all, and the frontends of its API send their tokens all the same.
        is_secured: false,
        tokens: Some(TokenPlaces {
            header: Some(HeaderName::from_static("x-token")),
            query: Some("token".into()),
        }),
        add_headers: [(
            HeaderName::from_static("x-added"),
            HeaderValue::from_static("ours"),
        )]
        .into(),
        target: Target::Kafka(KafkaTarget {
            topic: "orders".into(),
            schema: None,
            key: KeyRule::TargetPartition,
        }),
        answer_from: AnswerFrom::Target,
    };
    let request = request.body(Bytes::from(body)).unwrap();
    Call {
        route: Arc::new(route),
        request: Request::new(request, ([203, 0, 113, 7], 1).into()),
        target: "/orders/7?a=1&a=2".to_owned(),
        groups: ["7".into(), "".into()].into(),
        caller: Caller::default(),
        trace: TraceContext::child_of(&HeaderMap::new()),
    }
}

async fn read(headers: &[(&str, &str)], body: &'static str) -> (Call, CommandEvent) {
    let mut call = call(headers, body);
    let event = CommandEvent::read(&mut call, &CONFIG).await.unwrap();
    (call, event)
}

async fn refused(headers: &[(&str, &str)], body: &'static str) -> (u16, &'static str) {
    let read = CommandEvent::read(&mut call(headers, body), &CONFIG).await;
    let error = read.unwrap_err();
    (error.status().as_u16(), error.code())
}

fn json(event: &CommandEvent, correlation: Option<&str>) -> Value {
    serde_json::from_slice(&event.to_json(correlation, "e-1")).unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn an_event_is_kept_and_told_of_its_request() {
    let headers = [
        JSON,
        ("host", "api.example:8443"),
        ("x-twice", "1"),
        ("x-twice", "2"),
        ("x-added", "the client's"),
    ];
    let (call, event) = read(&headers, EVENT).await;
    let text = String::from_utf8(event.to_json(Some("c-1"), "e-1").to_vec()).unwrap();
    let kept = r#"{"specversion": "1.0","type":"t","id":"1","source":"/s","rig":"#;
    assert!(text.starts_with(kept), "{text}");
    assert_eq!(
        json(&event, Some("c-1")),
        json!({
            "specversion": "1.0", "type": "t", "id": "1", "source": "/s",
            "traceparent": call.trace.to_string(),
            "rig": {
                "correlation": "c-1", "remoteip": "203.0.113.7", "host": "api.example",
                "port": 8443, "scheme": "http", "method": "POST", "path": "/orders/7",
                "query": "a=1&a=2",
                "headers": [
                    ["content-type", "application/json"], ["host", "api.example:8443"],
                    ["x-twice", "1"], ["x-twice", "2"], ["x-added", "ours"],
                ],
            },
        })
    );
    assert_eq!(json(&event, None)["rig"].get("correlation"), None);
}

#[tokio::test]
async fn any_other_body_is_wrapped() {
    let (_, event) = read(&[("content-type", "text/plain")], "hello").await;
    let wrapped = json(&event, None);
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", "e-1"),
        ("type", "order"),
        ("source", "/sluicegate/an%20api/order"),
        ("subject", "/orders/7"),
        ("datacontenttype", "text/plain"),
        ("data", "hello"),
    ] {
        assert_eq!(wrapped[name], value, "{name}");
    }
    assert!(wrapped["time"].is_string());
    assert_eq!(wrapped["rig"]["port"], 80);
    assert_eq!(wrapped["rig"]["host"], "");
}

#[tokio::test]
async fn credentials_stay_here_and_what_they_say_goes_on() {
    let headers = [
        ("authorization", "Bearer s1"),
        ("cookie", "s2"),
        ("x-token", "s3"),
        ("proxy-authorization", "s4"),
        ("accept", "*/*"),
    ];
    let mut config = CONFIG;
    for (is_passed, count) in [(false, 2), (true, 6)] {
        config.proxy_command_credentials = is_passed;
        let mut call = call(&headers, "");
        call.caller = Caller {
            sessions: ["the session".into(), "another".into()].into(),
            user: Some("alice".into()),
        };
        let event = CommandEvent::read(&mut call, &config).await.unwrap();
        let rig = &json(&event, None)["rig"];
        assert_eq!(
            (&rig["session"], &rig["user"]),
            (&json!("the session"), &json!("alice"))
        );
        assert_eq!(rig["headers"].as_array().map(Vec::len), Some(count));
        let is_there = rig["headers"].to_string().contains("s3");
        assert_eq!(is_there, is_passed);
    }
}

#[tokio::test]
async fn what_cannot_be_an_event_is_refused() {
    let event = ("content-type", "application/cloudevents+json");
    let avro = ("content-type", "application/cloudevents+avro");
    let batch = ("content-type", "application/cloudevents-batch+json");
    let reserved = r#"{"specversion":"1.0","type":"rig.x","id":"1","source":"/s"}"#;
    let not_an_event = (400, "not_a_cloudevent");
    assert_eq!(refused(&[event], "{}").await, not_an_event);
    assert_eq!(
        refused(&[JSON], "{\"specversion\":\"1.0\"}").await,
        not_an_event
    );
    assert_eq!(refused(&[JSON], "{").await, not_an_event);
    assert_eq!(refused(&[avro], "x").await.0, 415);
    assert_eq!(refused(&[batch], "[]").await.0, 415);
    assert_eq!(
        refused(&[JSON, ("content-encoding", "gzip")], "x").await.0,
        415
    );
    assert_eq!(refused(&[event], reserved).await, (400, "reserved_type"));
    let large: &str = Box::leak("x".repeat(1001).into_boxed_str());
    assert_eq!(refused(&[], large).await.0, 413);
}

#[tokio::test]
async fn the_key_comes_from_where_the_rule_says() {
    let body = r#"{"specversion":"1.0","type":"t","id":"1","source":"/s","data":{"n":1.50,"s":"\u00e4","b":true,"o":{},"z":null},"rig":{"target_partition":""}}"#;
    let pointer = |text| KeyRule::Body(JsonPointer::parse(text).unwrap());
    let header = |name| KeyRule::Header(HeaderName::from_static(name));
    let (mut call, event) = read(&[JSON, ("x-key", "k")], body).await;
    for (rule, key) in [
        (KeyRule::TargetPartition, None),
        (header("x-key"), Some("k")),
        (header("x-none"), None),
        (pointer("/data/n"), Some("1.50")),
        (pointer("/data/s"), Some("ä")),
        (pointer("/data/b"), Some("true")),
        (pointer("/data/o"), None),
        (pointer("/data/z"), None),
        (pointer("/data/s/x"), None),
        (pointer("/id"), Some("1")),
        (KeyRule::Path(1), Some("7")),
        (KeyRule::Path(2), None),
        (KeyRule::Path(0), None),
        (KeyRule::Path(3), None),
        (KeyRule::Session, Some("203.0.113.7")),
    ] {
        let expected = key.map(|key| key.as_bytes().to_vec());
        assert_eq!(event.key(&call, &rule), expected, "{rule:?}");
    }
    call.caller.sessions = ["s".into()].into();
    assert_eq!(event.key(&call, &KeyRule::Session), Some(b"s".to_vec()));
    let (call, event) = read(&[JSON], EVENT).await;
    assert_eq!(
        event.key(&call, &KeyRule::TargetPartition),
        Some(b"p".to_vec())
    );
    let (call, event) = read(&[], "no json").await;
    assert_eq!(event.key(&call, &pointer("/a")), None);
    assert_eq!(event.key(&call, &KeyRule::TargetPartition), None);
}
