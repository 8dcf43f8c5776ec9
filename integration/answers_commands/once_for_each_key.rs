//! Commands that come again with their `Idempotency-Key`.

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{Pair, assert_says, post, settings};
use crate::support::commands::{Backend, said};
use crate::support::gateway::{Gateway, eventually, unique};
use crate::support::kafka::Kafka;
use crate::support::tokens::token;

pub async fn at_whichever_instance(kafka: &'static Kafka) {
    let mut pair = Pair::start(kafka).await;
    let Pair {
        one, other, worker, ..
    } = &mut pair;
    let key = [(
        "idempotency-key",
        "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
    )];
    let all = [&*one, &*other, &*other, &*one, &*other, &*one];
    let asked = join_all(all.map(|gateway| post(gateway, "/orders", &key, "{\"n\":1}")));
    let work = async {
        let command = worker.next().await;
        worker.answer(command.correlation(), "201", "made").await;
        command.event["id"].clone()
    };
    let (answers, _event_id) = tokio::join!(asked, work);
    for answer in answers {
        assert_says(&answer, 201, "made");
    }
    for gateway in [&*one, &*other] {
        let again = post(gateway, "/orders", &key, "{\"n\":1}").await;
        assert_says(&again, 201, "made");
        let another = post(gateway, "/orders", &key, "{\"n\":2}").await;
        another.problem(422);
        let short = [("idempotency-key", "short")];
        post(gateway, "/orders", &short, "{}").await.problem(400);
    }
    worker.got_no_more();
    // Whose key it is counts, as far as that is known.
    let users = ["alice", "bob"].map(|user| format!("Bearer {}", token(user, user)));
    for bearer in &users {
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
        for gateway in [&*one, &*other] {
            let later = [headers[0], headers[1], ("prefer", "respond-async")];
            assert_says(&post(gateway, "/own", &later, "{}").await, 202, "");
        }
        worker.next().await;
    }
    worker.got_no_more();
    pair.stop().await;
}

pub async fn also_after_a_restart(kafka: &'static Kafka) {
    let Pair {
        one,
        other,
        mut worker,
        ..
    } = Pair::start(kafka).await;
    let key = [("idempotency-key", "0123456789abcdef")];
    let asked = join_all([&one, &other, &one].map(|gateway| post(gateway, "/notes", &key, "[1]")));
    for answer in asked.await {
        assert_says(&answer, 202, "Accepted.");
    }
    worker.next().await;
    let settings = one.settings.clone();
    one.stop().await;
    other.stop().await;
    let one = Gateway::with(settings).await;
    assert_says(&post(&one, "/notes", &key, "[1]").await, 202, "Accepted.");
    post(&one, "/notes", &key, "[2]").await.problem(422);
    let other_key = [("idempotency-key", "fedcba9876543210")];
    assert_says(
        &post(&one, "/notes", &other_key, "[3]").await,
        202,
        "Accepted.",
    );
    assert_eq!(worker.next().await.event["data"], json!([3]));
    worker.got_no_more();
    one.stop().await;
}

/// A client that left has its command sent nevertheless; so its body counts until that is done, or given up.
pub async fn and_counts_the_bodies_of_clients_that_left(kafka: &Kafka) {
    let own = kafka.own_stopped().await;
    own.start().await;
    let backend = Backend::start(|_| said(200, "")).await;
    let settings = settings(kafka, &unique("commands"), &backend)
        .with("KAFKA_BROKERS", own.brokers())
        .with("PRODUCE_TIMEOUT", "3s");
    let gateway = Gateway::with(settings).await;
    let warm = [("idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9325")];
    assert_eq!(post(&gateway, "/notes", &warm, "{}").await.status, 202);
    own.kill().await;
    let mut socket = TcpStream::connect(gateway.public()).await.unwrap();
    let head = "POST /notes HTTP/1.1\r\nhost: x\r\nidempotency-key: 8e03978e-40d5-43dd-bc93-6894a57f9326\r\ncontent-length: 100000\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&[b'x'; 100_000]).await.unwrap();
    let in_flight = async || {
        gateway
            .metric("sluicegate_proxy_requests_in_flight", "")
            .await
    };
    let label = "listener=\"public\"";
    let held = async || gateway.metric("sluicegate_http_body_bytes", label).await;
    eventually("it is there", async || held().await == 100_000.0).await;
    drop(socket);
    eventually("its client has left", async || in_flight().await == 0.0).await;
    assert_eq!(held().await, 100_000.0);
    eventually("it is given up", async || held().await == 0.0).await;
    gateway.stop().await;
}
