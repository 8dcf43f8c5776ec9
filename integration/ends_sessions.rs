//! Sessions that end before their clients want it: killed by an operator, or with their tokens.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::support::gateway::{Gateway, Settings, event, eventually, query, within};
use crate::support::http::{self, Answer};
use crate::support::kafka::Kafka;
use crate::support::longpoll::LongPoll;
use crate::support::sse::Sse;
use crate::support::tokens::{token, token_for};
use crate::support::ws::Ws;

/// How soon a session has to be ended everywhere.
const AT_ONCE: Duration = Duration::from_secs(1);

fn with_token(token: &str) -> String {
    format!("{}&jwt={token}", query(&json!([{ "eventType": "t" }])))
}

async fn refuse(gateway: &Gateway, session: &str, seconds: u64) -> Answer {
    let body = json!({ "sessionId": session, "validityInSeconds": seconds }).to_string();
    let headers = [("content-type", "application/json")];
    let target = "/v3/session-blacklist";
    http::request(
        gateway.internal(),
        "POST",
        target,
        &headers,
        body.as_bytes(),
    )
    .await
}

async fn get(gateway: &Gateway, target: &str) -> Answer {
    http::request(gateway.internal(), "GET", target, &[], b"").await
}

async fn sse_status(gateway: &Gateway, token: &str) -> u16 {
    let target = format!("/_rig/v1/connection/sse?{}", with_token(token));
    let opened = http::request(gateway.public(), "HEAD", &target, &[], b"").await;
    opened.status
}

pub async fn of_which_all_instances_close_every_connection(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with_tokens()
        .with("LONGPOLL_TIMEOUT", "20s");
    let one = Gateway::with(settings.clone()).await;
    let other = Gateway::with(settings).await;
    let (alice, bob) = (token("alice", "a1"), token("bob", "b1"));
    let mut sse = Sse::open(other.public(), &with_token(&alice), &[]).await;
    let mut ws = Ws::open(one.public(), &with_token(&alice), None).await;
    let mut spared = Sse::open(one.public(), &with_token(&bob), &[]).await;
    sse.subscribed().await;
    ws.subscribed().await;
    spared.subscribed().await;
    let mut poll = LongPoll::new(with_token(&alice));
    poll.poll(other.public()).await;
    poll.events(other.public()).await;
    let address = other.public();
    let waiting = tokio::spawn(async move {
        let answer = poll.poll(address).await;
        (answer, poll)
    });
    eventually("the poll waits", async || {
        other.metric("sluicegate_connections", "longpolling").await > 0.5
    })
    .await;
    let answer = refuse(&one, "a1", 60).await;
    assert_eq!((answer.status, answer.text()), (201, "{}"));
    assert_eq!(answer.header("location"), Some("/v3/session-blacklist/a1"));
    let closed = async {
        let killed = sse.event().await;
        assert_eq!(killed.event.as_deref(), Some("rig.session_killed"));
        sse.end().await.unwrap();
        assert_eq!(ws.event().await["type"], "rig.session_killed");
        assert_eq!(ws.close_code().await, (4001, "Session killed.".to_owned()));
        let (answer, poll) = waiting.await.unwrap();
        let events = answer.json()["events"].clone();
        assert_eq!(events[0]["type"], "rig.session_killed");
        assert_eq!(poll.cookie("connection_token"), "");
    };
    tokio::time::timeout(AT_ONCE, closed)
        .await
        .expect("within a second");
    for gateway in [&one, &other] {
        within(AT_ONCE, "it is refused", async || {
            sse_status(gateway, &alice).await == 401
        })
        .await;
        assert_eq!(get(gateway, "/v3/session-blacklist/a1").await.status, 200);
        assert_eq!(get(gateway, "/v3/session-blacklist/b1").await.status, 404);
    }
    one.publish(&event("t", "1", json!(1))).await;
    assert_eq!(spared.ids(1).await, ["1"]);
    one.stop().await;
    other.stop().await;
}

pub async fn also_after_a_restart_of_everything_and_until_their_time_is_over(kafka: &Kafka) {
    let settings = Settings::new(kafka).with_tokens();
    let first = Gateway::with(settings.clone()).await;
    assert_eq!(refuse(&first, "short", 1).await.status, 201);
    assert_eq!(refuse(&first, "long/ä", 600).await.status, 201);
    first.stop().await;
    let second = Gateway::with(settings).await;
    assert_eq!(sse_status(&second, &token("alice", "long/ä")).await, 401);
    let listed = get(&second, "/v3/session-blacklist/long%2F%C3%A4").await;
    assert_eq!(listed.json()["sessionId"], "long/ä");
    eventually("the short one is admitted again", async || {
        sse_status(&second, &token("bob", "short")).await == 200
    })
    .await;
    let list = get(&second, "/v2/session-blacklist").await.json();
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "{list}");
    let target = "/v3/session-blacklist/long%2F%C3%A4";
    let removed = http::request(second.internal(), "DELETE", target, &[], b"").await;
    assert_eq!(removed.status, 204);
    assert_eq!(sse_status(&second, &token("alice", "long/ä")).await, 200);
    second.stop().await;
}

pub async fn with_their_tokens_on_every_transport(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with_tokens()
        .with("SESSION_EXPIRY_JITTER", "0s")
        .with("SESSION_EXPIRY_NOTICE", "2s");
    let gateway = Gateway::with(settings).await;
    let alice = token_for("alice", "a1", 4);
    let mut sse = Sse::open(gateway.public(), &with_token(&alice), &[]).await;
    let mut ws = Ws::open(gateway.public(), &with_token(&alice), None).await;
    let mut poll = LongPoll::new(with_token(&alice));
    poll.poll(gateway.public()).await;
    sse.subscribed().await;
    ws.subscribed().await;
    let told = sse.event().await;
    assert_eq!(told.event.as_deref(), Some("rig.session_expiring"));
    assert!(
        told.json()["data"]["expires_at"].is_string(),
        "{}",
        told.json()
    );
    assert_eq!(ws.event().await["type"], "rig.session_expiring");
    assert_eq!(
        sse.event().await.event.as_deref(),
        Some("rig.session_expired")
    );
    sse.end().await.unwrap();
    assert_eq!(ws.event().await["type"], "rig.session_expired");
    assert_eq!(ws.close_code().await.0, 4401);
    let mut types: Vec<Value> = Vec::new();
    while !types.contains(&json!("rig.session_expired")) {
        let events = poll.events(gateway.public()).await;
        types.extend(events.iter().map(|event| event["type"].clone()));
    }
    assert_eq!(poll.poll(gateway.public()).await.status, 401);
    assert_eq!(sse_status(&gateway, &alice).await, 401);
    gateway.stop().await;
}

pub async fn unless_a_later_token_is_handed_in(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with_tokens()
        .with("SESSION_EXPIRY_JITTER", "0s")
        .with("SESSION_EXPIRY_NOTICE", "1s");
    let holder = Gateway::with(settings.clone()).await;
    let other = Gateway::with(settings).await;
    let short = token_for("alice", "a1", 3);
    let mut sse = Sse::open(holder.public(), &with_token(&short), &[]).await;
    let mut ws = Ws::open(holder.public(), &with_token(&short), None).await;
    let connection = sse.subscribed().await;
    ws.subscribed().await;
    let later = token("alice", "a2");
    let stranger = token("mallory", "m1");
    let put = async |gateway: &Gateway, token: &str| {
        let target = format!("/_rig/v1/connection/sse/{connection}/subscriptions");
        let bearer = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", &*bearer),
        ];
        let body = json!({ "subscriptions": [{ "eventType": "t" }] }).to_string();
        http::request(gateway.public(), "PUT", &target, &headers, body.as_bytes()).await
    };
    put(&other, &stranger).await.problem(403);
    put(&holder, &stranger).await.problem(403);
    assert_eq!(put(&other, &later).await.status, 204);
    let hand_in = |token: &str| {
        Message::text(json!({ "type": "rig.token", "data": { "token": token } }).to_string())
    };
    ws.send(hand_in(&stranger)).await;
    let refused = ws.event().await;
    assert_eq!(
        (&refused["type"], &refused["data"]["status"]),
        (&json!("rig.token_refused"), &json!(403))
    );
    ws.send(hand_in(&later)).await;
    assert_eq!(ws.event().await["type"], "rig.session_renewed");
    assert_eq!(
        sse.event().await.event.as_deref(),
        Some("rig.session_renewed")
    );
    assert_eq!(
        sse.event().await.event.as_deref(),
        Some("rig.subscriptions_set")
    );
    // Long after the first token has expired both go on, and end with the later one's session.
    tokio::time::sleep(Duration::from_secs(4)).await;
    other.publish(&event("t", "1", json!(1))).await;
    assert_eq!(sse.ids(1).await, ["1"]);
    assert_eq!(ws.event().await["id"], "1");
    assert_eq!(refuse(&other, "a2", 60).await.status, 201);
    assert_eq!(
        sse.event().await.event.as_deref(),
        Some("rig.session_killed")
    );
    assert_eq!(ws.event().await["type"], "rig.session_killed");
    holder.stop().await;
    other.stop().await;
}

pub async fn which_operators_can_list_and_end(kafka: &Kafka) {
    let settings = Settings::new(kafka).with_tokens();
    let one = Gateway::with(settings.clone()).await;
    let other = Gateway::with(settings).await;
    let mut sse = Sse::open(one.public(), &with_token(&token("alice", "a1")), &[]).await;
    let mut ws = Ws::open(other.public(), &with_token(&token("alice", "a2")), None).await;
    let mut bobs = Sse::open(other.public(), &with_token(&token("bob", "b1")), &[]).await;
    let mut poll = LongPoll::new(with_token(&token("carol", "c1")));
    poll.poll(one.public()).await;
    poll.events(one.public()).await;
    poll.poll(one.public()).await;
    poll.poll(other.public()).await;
    sse.subscribed().await;
    ws.subscribed().await;
    bobs.subscribed().await;
    eventually("both instances know each other", async || {
        get(&one, "/v3/sessions").await.json()["instances"] == 2
    })
    .await;
    let list = get(&one, "/v3/sessions").await.json();
    let names: Vec<&str> = list["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["sessionId"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a1", "a2", "b1", "c1"], "{list}");
    assert_eq!(
        list["connections"],
        json!({ "sse": 2, "ws": 1, "longpolling": 1 }),
        "{list}"
    );
    assert_eq!(list["openConnections"]["sse"], 2, "{list}");
    assert_eq!(list["silentInstances"], json!([]));
    let first = get(&other, "/v3/sessions?limit=2").await.json();
    assert_eq!(
        (first["sessions"].as_array().unwrap().len(), &first["next"]),
        (2, &json!("a2"))
    );
    let rest = get(&other, "/v3/sessions?limit=2&after=a2").await.json();
    assert_eq!(
        (&rest["sessions"][0]["sessionId"], &rest["next"]),
        (&json!("b1"), &Value::Null)
    );
    let alices = get(&other, "/v3/users/alice/sessions").await.json();
    assert_eq!(alices["sessions"].as_array().unwrap().len(), 2, "{alices}");
    assert_eq!(alices["sessions"][1]["connections"][0]["transport"], "ws");
    get(&one, "/v3/sessions?limit=0").await.problem(400);
    let ended = http::request(one.internal(), "DELETE", "/v3/sessions/a2", &[], b"").await;
    assert_eq!(ended.status, 204);
    assert_eq!(ws.event().await["type"], "rig.session_killed");
    assert_eq!(ws.close_code().await.0, 4001);
    eventually("the session is gone", async || {
        get(&one, "/v3/users/alice/sessions").await.json()["sessions"]
            .as_array()
            .unwrap()
            .len()
            == 1
    })
    .await;
    drop(sse);
    eventually("alice is gone", async || {
        get(&other, "/v3/users/alice/sessions").await.json()["sessions"] == json!([])
    })
    .await;
    one.stop().await;
    other.stop().await;
}

pub async fn but_not_for_what_is_no_session(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::new(kafka).with_tokens()).await;
    let headers = [("content-type", "application/json")];
    for (body, what) in [
        ("{}", "Missing value for \"sessionId\""),
        (
            r#"{"sessionId":"","validityInSeconds":1}"#,
            "Expected non-empty string, got \"\"",
        ),
        (
            r#"{"sessionId":7,"validityInSeconds":1}"#,
            "Expected non-empty string, got 7",
        ),
        (
            r#"{"sessionId":"x"}"#,
            "Missing value for \"validityInSeconds\"",
        ),
        (
            r#"{"sessionId":"x","validityInSeconds":"a"}"#,
            "Expected a number, got \"a\"",
        ),
        (
            r#"{"sessionId":"x","validityInSeconds":0}"#,
            "Expected a positive number, got 0",
        ),
        (
            r#"{"sessionId":"x","validityInSeconds":-1}"#,
            "Expected a positive number, got -1",
        ),
        ("[", "Expected a JSON object"),
    ] {
        let target = "/v3/session-blacklist";
        let answer = http::request(
            gateway.internal(),
            "POST",
            target,
            &headers,
            body.as_bytes(),
        )
        .await;
        let detail = answer.problem(400);
        assert!(detail.contains(what), "{body}: {detail}");
    }
    let body = r#"{"sessionId":"x","validityInSeconds":"60"}"#;
    let answer = http::request(
        gateway.internal(),
        "POST",
        "/v2/session-blacklist",
        &headers,
        body.as_bytes(),
    )
    .await;
    assert_eq!(answer.status, 201);
    get(&gateway, "/v3/session-blacklist/y").await.problem(404);
    gateway.stop().await;
}
