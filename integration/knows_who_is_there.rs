//! Who comes and goes, as it is written to a topic.

use serde_json::{Value, json};

use crate::support::certificates::Certificate;
use crate::support::gateway::{Gateway, Settings, query, unique};
use crate::support::kafka::Kafka;
use crate::support::longpoll::LongPoll;
use crate::support::sessions::{asking, end};
use crate::support::sse::Sse;
use crate::support::tokens::token;
use crate::support::ways::{Client, Way};

/// Returns settings with a topic for it.
fn settings(kafka: &Kafka) -> Settings {
    Settings::new(kafka)
        .with_tokens()
        .with("PRESENCE_TOPIC", unique("presence"))
        .with("LONGPOLL_TIMEOUT", "1s")
}

/// What was written, in order: who did what, over which transport.
async fn written(kafka: &Kafka, settings: &Settings) -> Vec<Value> {
    let records = kafka.records(settings.get("PRESENCE_TOPIC")).await;
    let read = |(key, value): (Option<String>, Vec<u8>)| {
        let event: Value = serde_json::from_slice(&value).expect("JSON");
        assert_eq!(event["data"]["session"], json!(key), "{event}");
        event
    };
    records.into_iter().map(read).collect()
}

/// Returns each event as `join alice a1 sse`.
async fn told(kafka: &Kafka, settings: &Settings) -> Vec<String> {
    let line = |event: &Value| {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let data = &event["data"];
        let what = text(&event["type"]).replace("rig.presence.", "");
        let (user, session) = (text(&data["user"]), text(&data["session"]));
        format!("{what} {user} {session} {}", text(&data["transport"]))
    };
    let events = written(kafka, settings).await;
    events.iter().map(line).collect()
}

async fn tells(kafka: &Kafka, settings: &Settings, expected: &[&str]) {
    let mut last = Vec::new();
    let deadline = tokio::time::Instant::now() + crate::support::http::PATIENCE;
    while tokio::time::Instant::now() < deadline {
        last = told(kafka, settings).await;
        if last == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(last, expected);
}

pub async fn by_a_join_and_a_leave_of_each_connection(kafka: &Kafka) {
    let certificate = Certificate::new();
    let settings = settings(kafka);
    let gateway = Gateway::with(certificate.on(settings.clone())).await;
    let mut expected: Vec<String> = Vec::new();
    let mut anonymous = Sse::open(gateway.public(), &query(&json!([])), &[]).await;
    anonymous.subscribed().await;
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        for transport in ["sse", "ws"] {
            let name = format!("{way:?}-{transport}");
            let mut tell = async |what: &str| {
                expected.push(format!("{what} alice {name} {transport}"));
                let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
                tells(kafka, &settings, &expected).await;
            };
            let query = asking(&token("alice", &name));
            if transport == "ws" {
                let mut socket = client.ws_asking(&query).await;
                socket.subscribed().await;
                tell("join").await;
            } else {
                let headers = [(
                    "authorization",
                    &*format!("Bearer {}", token("alice", &name)),
                )];
                let mut stream = client.open(&json!([]), &headers).await;
                stream.subscribed().await;
                tell("join").await;
            }
            tell("leave").await;
        }
    }
    let events = written(kafka, &settings).await;
    let ids: std::collections::BTreeSet<&str> =
        events.iter().filter_map(|one| one["id"].as_str()).collect();
    assert_eq!(ids.len(), events.len());
    for event in &events {
        assert_eq!(
            (&event["specversion"], &event["source"]),
            (&json!("1.0"), &json!("rig"))
        );
        assert!(event["time"].is_string() && event["data"]["instance"].is_string());
    }
    gateway.stop().await;
}

/// Somebody who polls joins once at each instance that is asked, and leaves it with the session, ended or
/// renewed.
pub async fn of_those_who_poll_once(kafka: &Kafka) {
    let settings = settings(kafka);
    let one = Gateway::with(settings.clone()).await;
    let mut poll = LongPoll::new(asking(&token("alice", "a1")));
    poll.poll(one.public()).await;
    for _ in 0..3 {
        poll.poll(one.public()).await;
    }
    tells(kafka, &settings, &["join alice a1 longpolling"]).await;
    let two = Gateway::with(settings.clone()).await;
    for gateway in [&two, &one, &two] {
        poll.poll(gateway.public()).await;
    }
    let mut expected = vec!["join alice a1 longpolling"; 2];
    tells(kafka, &settings, &expected).await;
    let events = written(kafka, &settings).await;
    assert_ne!(events[0]["data"]["instance"], events[1]["data"]["instance"]);
    assert_eq!(end(one.internal(), "a1").await, 201);
    expected.extend(["leave alice a1 longpolling"; 2]);
    tells(kafka, &settings, &expected).await;
    one.stop().await;
    two.stop().await;
}

/// A later token may name another session: the connection leaves the one and joins the other.
pub async fn also_when_a_later_token_names_another_session(kafka: &Kafka) {
    let settings = settings(kafka);
    let gateway = Gateway::with(settings.clone()).await;
    let mut stream = Sse::open(gateway.public(), &asking(&token("alice", "a1")), &[]).await;
    let connection = stream.subscribed().await;
    let target = format!("/_rig/v1/connection/sse/{connection}/subscriptions");
    let hand_in = async |session: &str| {
        let bearer = format!("Bearer {}", token("alice", session));
        let headers = [
            ("content-type", "application/json"),
            ("authorization", &*bearer),
        ];
        let body = br#"{"subscriptions":[]}"#;
        let public = gateway.public();
        let answer = crate::support::http::request(public, "PUT", &target, &headers, body).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    };
    hand_in("a1").await;
    hand_in("a2").await;
    drop(stream);
    let expected = [
        "join alice a1 sse",
        "leave alice a1 sse",
        "join alice a2 sse",
        "leave alice a2 sse",
    ];
    tells(kafka, &settings, &expected).await;
    gateway.stop().await;
}

/// An instance that stops writes who left it, those who poll as well.
pub async fn until_the_instance_stops(kafka: &Kafka) {
    let settings = settings(kafka);
    let gateway = Gateway::with(settings.clone()).await;
    let mut poll = LongPoll::new(asking(&token("bob", "b1")));
    for _ in 0..3 {
        poll.poll(gateway.public()).await;
    }
    tells(kafka, &settings, &["join bob b1 longpolling"]).await;
    let mut stream = Sse::open(gateway.public(), &asking(&token("alice", "a1")), &[]).await;
    stream.subscribed().await;
    let joined = ["join bob b1 longpolling", "join alice a1 sse"];
    tells(kafka, &settings, &joined).await;
    gateway.stop().await;
    let left = ["leave alice a1 sse", "leave bob b1 longpolling"];
    assert_eq!(told(kafka, &settings).await, [joined, left].concat());
}
