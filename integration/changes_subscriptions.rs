//! `PUT …/subscriptions`: in force when it is answered, at whatever instance.

use serde_json::json;

use crate::support::gateway::{Gateway, Settings, event};
use crate::support::http;
use crate::support::kafka::Kafka;

pub async fn from_the_answer_on(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut stream = gateway.open(json!([{ "eventType": "old" }])).await;
    let token = stream.subscribed().await;
    for round in 0..20 {
        let wanted = format!("new{round}");
        let answer = gateway
            .change("sse", &token, json!([{ "eventType": wanted }]))
            .await;
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        gateway.publish(&event("old", "unwanted", json!(1))).await;
        gateway
            .publish(&event(&wanted, &round.to_string(), json!(1)))
            .await;
        let set = stream.event().await;
        assert_eq!(set.event.as_deref(), Some("rig.subscriptions_set"));
        assert_eq!(
            set.json()["data"],
            json!([{ "eventType": wanted, "oneOf": [] }])
        );
        assert_eq!(stream.ids(1).await, [round.to_string()]);
    }
    gateway.stop().await;
}

pub async fn at_an_instance_that_does_not_hold_the_connection(kafka: &Kafka) {
    let settings = Settings::new(kafka);
    let holder = Gateway::with(settings.clone()).await;
    let other = Gateway::with(settings).await;
    let mut stream = holder.open(json!([])).await;
    let token = stream.subscribed().await;
    let answer = other
        .change("ws", &token, json!([{ "eventType": "t" }]))
        .await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    other.publish(&event("t", "1", json!(1))).await;
    let set = stream.event().await;
    assert_eq!(set.event.as_deref(), Some("rig.subscriptions_set"));
    assert_eq!(stream.ids(1).await, ["1"]);
    drop(stream);
    crate::support::gateway::eventually("the connection is gone", async || {
        holder.metric("sluicegate_connections", "sse").await < 0.5
    })
    .await;
    other.change("sse", &token, json!([])).await.problem(410);
    holder.change("sse", &token, json!([])).await.problem(410);
    let mut orphan = holder.open(json!([])).await;
    let token = orphan.subscribed().await;
    holder.stop().await;
    other.change("sse", &token, json!([])).await.problem(410);
    other.stop().await;
}

pub async fn bad_requests_change_nothing(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut stream = gateway.open(json!([{ "eventType": "t" }])).await;
    let token = stream.subscribed().await;
    let target = format!("/_rig/v1/connection/sse/{token}/subscriptions");
    let json_type = ("content-type", "application/json");
    let other = if token.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{other}{}", &token[1..]);
    let many = format!(
        "{{\"subscriptions\":[{}]}}",
        ["{\"eventType\":\"a\"}"; 10_000].join(",")
    );
    let deep = format!(
        "{{\"subscriptions\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for (target, headers, body, status) in [
        (target.as_str(), vec![json_type], "nonsense", 400),
        (&target, vec![json_type], "{}", 400),
        (&target, vec![json_type], "{\"subscriptions\":5}", 400),
        (
            &target,
            vec![json_type],
            "{\"subscriptions\":[{\"oneOf\":[]}]}",
            400,
        ),
        (
            &target,
            vec![json_type],
            "{\"subscriptions\":[{\"eventType\":\"t\",\"oneOf\":[{\"x\":1}]}]}",
            400,
        ),
        (&target, vec![json_type], &many, 400),
        (&target, vec![json_type], &deep, 400),
        (
            &target,
            vec![("content-type", "text/plain")],
            "{\"subscriptions\":[]}",
            400,
        ),
        (
            &target,
            vec![json_type, ("accept", "text/html")],
            "{\"subscriptions\":[]}",
            406,
        ),
        (
            &target.replace(&token, &forged),
            vec![json_type],
            "{\"subscriptions\":[]}",
            400,
        ),
        (
            &target.replace(&token, "x"),
            vec![json_type],
            "{\"subscriptions\":[]}",
            400,
        ),
        (
            &target.replace("sse", "carrier-pigeon"),
            vec![json_type],
            "{\"subscriptions\":[]}",
            404,
        ),
    ] {
        let answer =
            http::request(gateway.public(), "PUT", target, &headers, body.as_bytes()).await;
        answer.problem(status);
    }
    gateway.publish(&event("t", "1", json!(1))).await;
    assert_eq!(stream.event().await.event.as_deref(), Some("t"));
    gateway.stop().await;
}
