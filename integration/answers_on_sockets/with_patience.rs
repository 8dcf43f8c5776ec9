//! Answers that take their time, and clients that do not take theirs.

use futures_util::SinkExt as _;
use serde_json::json;
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::{MAX_BODY_BYTES, Setup, answered, ask, get, order, send};
use crate::support::gateway::{Settings, eventually};
use crate::support::http::{self, PATIENCE};
use crate::support::kafka::Kafka;
use crate::support::ws::Ws;

/// What was told to a client was queued without a bound.
pub async fn but_not_for_a_client_that_reads_none(kafka: &'static Kafka) {
    let setup = Setup::start(kafka).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    let link = socket.connect(setup.gateway.public()).await.unwrap();
    let mut unread = Ws::over(link, "", None).await;
    unread.subscribed().await;
    let large = get(&format!("/size/{MAX_BODY_BYTES}"));
    let message = json!({ "type": "rig.request", "id": "1", "data": large }).to_string();
    let sending = async {
        // Some megabytes are in the sockets before anything waits.
        for _ in 0..1_000 {
            if unread
                .socket
                .send(Message::text(message.clone()))
                .await
                .is_err()
            {
                break;
            }
        }
    };
    let sent = tokio::time::timeout(PATIENCE, sending).await;
    assert!(sent.is_ok(), "it is neither read nor closed");
    eventually("the connection is closed", async || {
        let name = "sluicegate_connections_closed_total";
        setup.gateway.metric(name, "reason=\"flooding\"").await == 1.0
    })
    .await;
    let mut other = setup.open("").await;
    assert_eq!(ask(&mut other, "1", get("/size/1")).await["status"], 203);
    let health = http::request(setup.gateway.public(), "GET", "/_rig/health", &[], b"").await;
    assert_eq!(health.status, 200);
    setup.gateway.stop().await;
}

/// A client that is not read since its commands wait was taken for dead, as its pongs were not read either.
pub async fn also_longer_than_a_heartbeat(kafka: &'static Kafka) {
    let often = |settings: Settings| settings.with("HEARTBEAT_INTERVAL", "1s");
    let mut setup = Setup::with(kafka, often).await;
    let mut socket = setup.open("").await;
    for id in 0..8 {
        send(&mut socket, &id.to_string(), order(json!(id))).await;
    }
    let mut pings = 0;
    while pings < 4 {
        match socket.message().await {
            Message::Ping(_) => pings += 1,
            other => panic!("{other:?}"),
        }
    }
    for _ in 0..8 {
        let command = setup.worker.next().await;
        let id = command.event["data"].to_string();
        setup.worker.answer(command.correlation(), "200", &id).await;
        let answer = answered(&mut socket).await;
        assert_eq!(answer["id"], answer["body"]);
    }
    assert_eq!(ask(&mut socket, "last", get("/")).await["status"], 203);
    setup.gateway.stop().await;
}

/// Nobody takes the answers any more.
pub async fn but_not_once_the_connection_has_ended(kafka: &'static Kafka) {
    // The one that is not read, since eight wait, is found out when it is written to.
    let often = |settings: Settings| settings.with("HEARTBEAT_INTERVAL", "3s");
    let mut setup = Setup::with(kafka, often).await;
    let mut ids = Vec::new();
    for count in [8, 1] {
        let mut socket = setup.open("").await;
        for id in 0..count {
            send(&mut socket, &id.to_string(), order(json!(id))).await;
        }
        for _ in 0..count {
            ids.push(setup.worker.next().await.correlation().to_owned());
        }
        drop(socket);
    }
    let cancelled = "status=\"cancelled\"";
    eventually("all are given up", async || {
        setup
            .gateway
            .metric("rig_proxy_requests_total", cancelled)
            .await
            == 9.0
    })
    .await;
    for id in &ids {
        setup.worker.answer(id, "200", "late").await;
    }
    eventually("all are late", async || {
        setup
            .gateway
            .metric("sluicegate_proxy_answers_total", "result=\"late\"")
            .await
            == 9.0
    })
    .await;
    setup.gateway.stop().await;
}
