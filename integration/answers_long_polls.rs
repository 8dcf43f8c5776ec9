//! Long polling by RIG's contract, at any instance.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Settings, event, query};
use crate::support::kafka::Kafka;
use crate::support::longpoll::LongPoll;

pub async fn with_the_cookies_and_bodies_of_rig(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut client = LongPoll::new(query(&json!([{ "eventType": "t" }])));
    let first = client.poll(gateway.public()).await;
    assert_eq!((first.status, first.text()), (200, "\"ok\""));
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    assert_eq!(client.cookie("last_event_id"), "\"first_event\"");
    gateway.publish(&event("t", "early", json!(1))).await;
    let second = client.poll(gateway.public()).await;
    assert_eq!(
        second.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let events = second.json()["events"].clone();
    assert_eq!(events[0]["type"], "rig.connection.create");
    assert_eq!(
        events[0]["data"]["connection_token"],
        client.cookie("connection_token")
    );
    assert_eq!(events[1]["type"], "rig.subscriptions_set");
    let last = second.json()["last_event_id"].as_str().unwrap().to_owned();
    assert_eq!(client.cookie("last_event_id"), format!("\"{last}\""));
    let events = client.events(gateway.public()).await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        events[0]["id"], "early",
        "nothing is lost between the first polls"
    );
    gateway.stop().await;
}

pub async fn an_event_that_arrives_during_a_poll_is_returned_at_once(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::new(kafka).with("LONGPOLL_TIMEOUT", "20s")).await;
    let mut client = LongPoll::new(query(&json!([{ "eventType": "t" }])));
    client.poll(gateway.public()).await;
    client.events(gateway.public()).await;
    let began = Instant::now();
    let publish = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        gateway.publish(&event("t", "1", json!(1))).await;
    };
    let (events, ()) = tokio::join!(client.events(gateway.public()), publish);
    assert_eq!(events[0]["id"], "1");
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "not only at the timeout"
    );
    gateway.stop().await;
}

pub async fn with_no_events_after_the_timeout(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::new(kafka).with("LONGPOLL_TIMEOUT", "100ms")).await;
    let mut client = LongPoll::new(query(&json!([{ "eventType": "t" }])));
    client.poll(gateway.public()).await;
    client.events(gateway.public()).await;
    let answer = client.poll(gateway.public()).await;
    assert_eq!(answer.json()["events"], json!([]));
    gateway.stop().await;
}

pub async fn at_any_instance_in_turn(kafka: &Kafka) {
    let settings = Settings::new(kafka);
    let one = Gateway::with(settings.clone()).await;
    let two = Gateway::with(settings).await;
    let mut client = LongPoll::new(query(&json!([{ "eventType": "t" }])));
    client.poll(one.public()).await;
    client.events(two.public()).await;
    let mut got = Vec::new();
    for round in 0..10 {
        let mut published = event("t", &round.to_string(), json!(1));
        published["partitionkey"] = json!("one");
        one.publish(&published).await;
        let address = if round % 2 == 0 {
            two.public()
        } else {
            one.public()
        };
        got.extend(
            client
                .events(address)
                .await
                .iter()
                .map(|event| event["id"].clone()),
        );
    }
    let expected: Vec<Value> = (0..10).map(|id: u32| json!(id.to_string())).collect();
    assert_eq!(got, expected);
    let token = client.cookie("connection_token").to_owned();
    let changed = two
        .change("longpolling", &token, json!([{ "eventType": "u" }]))
        .await;
    assert_eq!(changed.status, 204, "{}", changed.text());
    let events = client.events(one.public()).await;
    assert_eq!(events[0]["type"], "rig.subscriptions_set");
    assert_eq!(
        events[0]["data"],
        json!([{ "eventType": "u", "oneOf": [] }])
    );
    one.publish(&event("t", "not wanted", json!(1))).await;
    one.publish(&event("u", "wanted", json!(1))).await;
    assert_eq!(client.events(two.public()).await[0]["id"], "wanted");
    one.stop().await;
    two.stop().await;
}

pub async fn bad_cookies_are_refused_or_start_anew(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut client = LongPoll::new(query(&json!([])));
    client.cookies = vec![("connection_token".to_owned(), "forged".to_owned())];
    assert_eq!(client.poll(gateway.public()).await.text(), "\"ok\"");
    client.cookies.retain(|(name, _)| name != "last_event_id");
    client
        .cookies
        .push(("last_event_id".to_owned(), "\"junk\"".to_owned()));
    client.poll(gateway.public()).await.problem(400);
    let counted = gateway
        .metric("sluicegate_malformed_cursors_total", "")
        .await;
    assert!((counted - 1.0).abs() < 0.1, "{counted}");
    gateway.stop().await;
}
