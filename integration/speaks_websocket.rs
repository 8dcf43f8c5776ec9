//! The same events over WebSocket, and changes of subscriptions on the socket itself.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::support::gateway::{Gateway, Settings, event, eventually, query};
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::ws::Ws;

pub async fn events_are_text_frames_and_the_offered_protocol_is_taken(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let query = query(&json!([{ "eventType": "t" }]));
    let mut plain = Ws::open(gateway.public(), &query, None).await;
    assert_eq!(plain.protocol, None);
    let mut socket = Ws::open(gateway.public(), &query, Some("x, cloudevents.json")).await;
    assert_eq!(socket.protocol.as_deref(), Some("cloudevents.json"));
    let with_cursors = format!("{query}&cursors=true");
    let mut cursors = Ws::open(gateway.public(), &with_cursors, None).await;
    for socket in [&mut plain, &mut socket, &mut cursors] {
        socket.subscribed().await;
    }
    let published = event("t", "1", json!({ "a": 1 }));
    gateway.publish(&published).await;
    assert_eq!(plain.event().await, published);
    assert_eq!(socket.event().await, published);
    let event = cursors.event().await;
    assert!(
        event["rigcursor"]
            .as_str()
            .is_some_and(|cursor| !cursor.is_empty()),
        "{event}"
    );
    assert_eq!(event["data"], published["data"]);
    gateway.stop().await;
}

pub async fn a_client_changes_its_subscriptions_on_the_socket(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let mut socket = Ws::open(gateway.public(), "", None).await;
    socket.subscribed().await;
    let change = json!({ "type": "rig.subscriptions_set", "data": [{ "eventType": "t" }] });
    socket.send(Message::text(change.to_string())).await;
    let set = socket.event().await;
    assert_eq!(set["type"], "rig.subscriptions_set");
    assert_eq!(set["data"], json!([{ "eventType": "t", "oneOf": [] }]));
    gateway.publish(&event("t", "1", json!(null))).await;
    assert_eq!(socket.event().await["id"], "1");
    for (text, expected) in [
        ("nonsense", "expected"),
        ("{\"type\":\"hello\"}", "expected"),
        (
            "{\"type\":\"rig.subscriptions_set\",\"data\":[{}]}",
            "event",
        ),
    ] {
        socket.send(Message::text(text)).await;
        let refused = socket.event().await;
        assert_eq!(refused["type"], "rig.subscriptions_refused", "{text}");
        let detail = refused["data"]["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{detail}");
    }
    gateway.publish(&event("t", "2", json!(null))).await;
    assert_eq!(
        socket.event().await["id"],
        "2",
        "a refused change changes nothing"
    );
    gateway.stop().await;
}

pub async fn bad_frames_get_the_right_close_code(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    for (message, code) in [
        (Message::binary(vec![1, 2, 3]), 1003),
        (Message::text("x".repeat(300_000)), 1009),
    ] {
        let mut socket = Ws::open(gateway.public(), "", None).await;
        socket.subscribed().await;
        socket.send(message).await;
        assert_eq!(socket.close_code().await.0, code);
    }
    for (frame, code) in [
        (&[0x81_u8, 0x01, b'a'][..], 1002_u16),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff][..], 1007),
        (&[0xc1, 0x81, 0, 0, 0, 0, b'a'][..], 1002),
        (&[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8][..], 1000),
    ] {
        assert_eq!(raw_close_code(&gateway, frame).await, code);
    }
    gateway.stop().await;
}

/// Sends a frame as it is, and returns the code of the close frame that answers it.
async fn raw_close_code(gateway: &Gateway, frame: &[u8]) -> u16 {
    let mut socket = TcpStream::connect(gateway.public()).await.unwrap();
    let handshake = "GET /_rig/v1/connection/ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\
        connection: keep-alive, Upgrade\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // The frame comes with the handshake: what was read with the head is not lost.
    let bytes = [handshake.as_bytes(), frame].concat();
    socket.write_all(&bytes).await.unwrap();
    // Nor is the answer to a client that sends no more.
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(http::PATIENCE, socket.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let (head, frames) = http::split_head(&answer).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(
        head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "{head}"
    );
    let mut rest = frames;
    loop {
        let length = usize::from(rest[1] & 0x7f);
        let (header, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            short => (2, short),
        };
        if rest[0] == 0x88 {
            return u16::from_be_bytes([rest[2], rest[3]]);
        }
        rest = &rest[header + length..];
    }
}

pub async fn pings_go_both_ways_and_a_dead_peer_is_found(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("HEARTBEAT_INTERVAL", "300ms");
    let gateway = Gateway::with(settings).await;
    let mut socket = Ws::open(gateway.public(), "", None).await;
    socket.subscribed().await;
    socket.send(Message::Ping(b"hello".to_vec().into())).await;
    let mut saw = (false, false);
    while saw != (true, true) {
        match socket.message().await {
            Message::Pong(payload) => {
                assert_eq!(&payload[..], b"hello");
                saw.0 = true;
            }
            // The client library answers by itself when it is polled again.
            Message::Ping(_) => saw.1 = true,
            other => panic!("{other:?}"),
        }
    }
    // From here on nobody polls the socket, so nobody answers.
    eventually("the dead peer is forgotten", async || {
        gateway
            .metric("sluicegate_connections_closed_total", "unresponsive")
            .await
            > 0.5
    })
    .await;
    gateway.stop().await;
}

pub async fn a_request_without_a_handshake_is_told_to_upgrade(kafka: &Kafka) {
    let gateway = Gateway::start(kafka).await;
    let path = "/_rig/v1/connection/ws";
    let answer = http::request(gateway.public(), "GET", path, &[], b"").await;
    answer.problem(426);
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    let bad = format!("{path}?subscriptions=nonsense");
    let headers = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    // `request` adds its own connection header; both count as one list.
    http::request(gateway.public(), "GET", &bad, &headers, b"")
        .await
        .problem(400);
    gateway.stop().await;
}
