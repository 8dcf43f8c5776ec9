//! WebSocket clients that acknowledge what they got: the rest is sent again.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::support::gateway::{Gateway, Settings, eventually, keyed, query};
use crate::support::http::{encode, request};
use crate::support::kafka::Kafka;
use crate::support::ws::Ws;

fn wanted() -> String {
    query(&json!([{ "eventType": "t" }]))
}

/// Opens a WebSocket, of a session if there is one; returns it with the token of its session.
async fn open(address: SocketAddr, session: Option<&str>) -> (Ws, String) {
    let mut query = format!("{}&acks=true", wanted());
    if let Some(session) = session {
        query.push_str(&format!("&session={}", encode(session)));
    }
    let mut ws = Ws::open(address, &query, None).await;
    ws.subscribed().await;
    let event = ws.event().await;
    assert_eq!(event["type"], "rig.session_set", "first comes the session");
    let session = event["data"]["session"].as_str().unwrap().to_owned();
    (ws, session)
}

async fn publish(gateway: &Gateway, ids: std::ops::Range<u32>) {
    for id in ids {
        gateway
            .publish(&keyed("one", &id.to_string(), json!(1)))
            .await;
    }
}

/// Reads events; returns their ids and the cursor of the last one.
async fn read(ws: &mut Ws, count: usize) -> (Vec<String>, String) {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    while ids.len() < count {
        let event = ws.event().await;
        if event["type"] != "rig.session_set" {
            ids.push(event["id"].as_str().unwrap().to_owned());
            cursor = event["rigcursor"].as_str().expect("a cursor").to_owned();
        }
    }
    (ids, cursor)
}

async fn acknowledge(ws: &mut Ws, session: &str, cursor: &str) {
    let message = json!({ "type": "rig.ack", "data": { "session": session, "cursor": cursor } });
    ws.send(Message::text(message.to_string())).await;
}

/// Opens the session until it begins with the event `id`: acknowledgements are written once a second.
async fn begins_with(address: SocketAddr, session: &str, id: &str) -> Ws {
    for _ in 0..100 {
        let query = format!("{}&session={}", wanted(), encode(session));
        let mut ws = Ws::open(address, &query, None).await;
        ws.subscribed().await;
        let (ids, _) = read(&mut ws, 1).await;
        if ids == [id] {
            return ws;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("what was acknowledged is sent again and again");
}

pub async fn and_gets_the_rest_again_at_any_instance(kafka: &Kafka) {
    let settings = Settings::new(kafka);
    let one = Gateway::with(settings.clone()).await;
    let two = Gateway::with(settings).await;
    let (mut ws, session) = open(one.public(), None).await;
    publish(&one, 0..6).await;
    read(&mut ws, 6).await;
    drop(ws);
    // Nothing was acknowledged: everything comes again, also elsewhere.
    let mut again = begins_with(two.public(), &session, "0").await;
    let (_, cursor) = read(&mut again, 2).await;
    acknowledge(&mut again, &session, &cursor).await;
    drop(again);
    let mut rest = begins_with(one.public(), &session, "3").await;
    assert_eq!(read(&mut rest, 2).await.0, ["4", "5"]);
    publish(&two, 6..8).await;
    let (ids, cursor) = read(&mut rest, 2).await;
    assert_eq!(ids, ["6", "7"]);
    acknowledge(&mut rest, &session, &cursor).await;
    one.stop().await;
    publish(&two, 8..9).await;
    begins_with(two.public(), &session, "8").await;
    two.stop().await;
}

pub async fn but_not_what_is_no_acknowledgement(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let (mut ws, session) = open(gateway.public(), None).await;
    publish(&gateway, 0..1).await;
    let (_, cursor) = read(&mut ws, 1).await;
    for (session, cursor) in [("forged", cursor.as_str()), (session.as_str(), "junk")] {
        acknowledge(&mut ws, session, cursor).await;
        let refused = ws.event().await;
        assert_eq!(refused["type"], "rig.acknowledgement_refused");
        assert_eq!(refused["data"]["status"], 400);
    }
    for data in [json!(null), json!({ "session": session }), json!([1])] {
        let message: Value = json!({ "type": "rig.ack", "data": data });
        ws.send(Message::text(message.to_string())).await;
        assert_eq!(ws.event().await["type"], "rig.acknowledgement_refused");
    }
    let forged = handshake(&gateway, "forged").await;
    assert_eq!(forged, 400);
    begins_with(gateway.public(), &session, "0").await;
    gateway.stop().await;
}

pub async fn until_the_session_has_ended(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("WS_SESSION_TTL", "1s");
    let gateway = Gateway::with(settings).await;
    let (ws, session) = open(gateway.public(), None).await;
    drop(ws);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(handshake(&gateway, &session).await, 410);
    gateway.stop().await;
}

/// Returns the status of the answer to a handshake with a session.
async fn handshake(gateway: &Gateway, session: &str) -> u16 {
    let target = format!("/_rig/v1/connection/ws?session={}", encode(session));
    let headers = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ];
    request(gateway.public(), "GET", &target, &headers, b"")
        .await
        .status
}

/// A refusal that was told before the stream had begun carried a cursor of nowhere, with which a
/// client would have begun with the oldest event.
pub async fn only_once_it_is_known_where_the_topics_stand(kafka: &Kafka) {
    let own = kafka.own_stopped().await;
    let settings = Settings::new(kafka).with("KAFKA_BROKERS", own.brokers());
    let gateway = Gateway::unready(settings).await;
    eventually("the public port opens without kafka", async || {
        let health = request(gateway.internal(), "GET", "/health", &[], b"");
        health.await.status == 200
    })
    .await;
    assert_eq!(handshake(&gateway, "any").await, 503);
    let mut ws = Ws::open(gateway.public(), "cursors=true", None).await;
    ws.send(Message::text("junk")).await;
    own.start().await;
    ws.subscribed().await;
    let refused = ws.event().await;
    assert_eq!(refused["type"], "rig.subscriptions_refused");
    let cursor = refused["rigcursor"].as_str().expect("a cursor");
    let live = gateway.subscribe(json!([])).await;
    assert_eq!(Some(cursor), live.last_event_id.as_deref());
    gateway.stop().await;
}
