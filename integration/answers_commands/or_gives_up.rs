//! Commands that get no answer any more: those who wait are told, and nothing is left behind.

use std::collections::HashMap;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{Pair, assert_says, get, post};
use crate::support::commands::{NOBODY, api, post_answer};
use crate::support::gateway::{Gateway, Settings, eventually};
use crate::support::h2::{Http2, request};
use crate::support::http;
use crate::support::kafka::Kafka;

pub async fn at_the_deadline(kafka: &'static Kafka) {
    let short = |settings: Settings| {
        settings
            .with("PROXY_KAFKA_RESPONSE_TIMEOUT", "300")
            .with("PROXY_HTTP_ASYNC_RESPONSE_TIMEOUT", "200ms")
    };
    let mut pair = Pair::with(kafka, short).await;
    for path in ["/orders", "/jobs", "/tickets"] {
        let answer = post(&pair.one, path, &[], "{}").await;
        answer.problem(504);
        assert_eq!(answer.json()["code"], "answer_timeout", "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    let id = pair.worker.next().await.correlation().to_owned();
    for poster in pair.both() {
        let headers = [("rig-correlation", &*id), ("rig-response-code", "200")];
        let late = post_answer(poster.internal(), &headers, b"late").await;
        late.problem(410);
        assert_eq!(late.json()["code"], "late_answer");
    }
    for _ in 0..2 {
        let id = pair.backend.next().await.correlation();
        pair.worker.answer(&id, "200", "late").await;
    }
    eventually("all four are counted as late", async || {
        pair.answers("late").await == 4.0
    })
    .await;
    assert_eq!(pair.answers("delivered").await, 0.0);
    let timed_out = "status=\"response_timeout\"";
    let counted = pair.one.metric("rig_proxy_requests_total", timed_out).await;
    assert_eq!(counted, 3.0);
    pair.stop().await;
}

/// What waits at an instance ends with it; what comes for it afterwards reaches nobody else.
pub async fn those_of_an_earlier_life(kafka: &'static Kafka) {
    let named = |settings: Settings| settings.with("PROXY_ANSWER_TTL", "10m");
    let Pair {
        one,
        other,
        mut worker,
        backend,
    } = Pair::with(kafka, named).await;
    let address = one.public();
    let mut waiting = TcpStream::connect(address).await.unwrap();
    let request = http::written("POST", "/orders", &[], b"{}");
    waiting.write_all(&request).await.unwrap();
    let waited_for = worker.next().await.correlation().to_owned();
    let key = [("idempotency-key", "0123456789abcdef")];
    let later = [key[0], ("prefer", "respond-async")];
    let told = post(&one, "/orders", &later, "{}").await;
    let place = told.header("location").unwrap().to_owned();
    let kept = worker.next().await.correlation().to_owned();
    let settings = one.settings.clone();
    one.stop().await;
    let one = Gateway::with(settings).await;
    // That an instance is gone is known for certain a while after it was heard last.
    for poster in [&one, &other] {
        eventually("it is known that the instance is gone", async || {
            let headers = [("rig-correlation", &*kept), ("rig-response-code", "200")];
            let answer = post_answer(poster.internal(), &headers, b"late").await;
            assert!([410, 503].contains(&answer.status), "{}", answer.text());
            answer.status == 410
        })
        .await;
        let headers = [
            ("rig-correlation", &*waited_for),
            ("rig-response-code", "200"),
        ];
        let late = post_answer(poster.internal(), &headers, b"late").await;
        late.problem(410);
        get(poster, &place, &[]).await.problem(410);
        let again = post(poster, "/orders", &key, "{}").await;
        again.problem(410);
        assert_eq!(again.json()["code"], "answer_gone");
    }
    worker.answer(&kept, "200", "late").await;
    // The new life has the same name, and its own commands.
    let work = async {
        let id = worker.next().await.correlation().to_owned();
        worker.answer(&waited_for, "200", "late").await;
        worker.answer(&id, "200", "new").await;
    };
    let (answer, ()) = tokio::join!(post(&one, "/orders", &[], "{}"), work);
    assert_says(&answer, 200, "new");
    worker.got_no_more();
    drop(backend);
    one.stop().await;
    other.stop().await;
}

/// What is answered within the grace period is; the others are told, and do not see a connection that breaks.
pub async fn those_of_an_instance_that_ends(kafka: &'static Kafka) {
    let short = |settings: Settings| settings.with("SHUTDOWN_GRACE", "1s");
    let Pair {
        one,
        other,
        mut worker,
        backend,
    } = Pair::with(kafka, short).await;
    let address = one.public();
    let json = [("content-type", "application/json")];
    let http2 = Http2::over(TcpStream::connect(address).await.unwrap()).await;
    let mut waiting = Box::pin(async {
        tokio::join!(
            http::request(address, "POST", "/orders", &json, b"1"),
            http::request(address, "POST", "/orders", &json, b"2"),
            http2.request("POST", "/orders", &json, b"3"),
        )
    });
    let sent = async {
        let mut ids = HashMap::new();
        for _ in 0..3 {
            let command = worker.next().await;
            let data = command.event["data"].to_string();
            ids.insert(data, command.correlation().to_owned());
        }
        ids
    };
    let ids = tokio::select! {
        answers = &mut waiting => panic!("answered before: {answers:?}"),
        ids = sent => ids,
    };
    let ending = async { tokio::join!(one.stop(), worker.answer(&ids["1"], "200", "in time")) };
    let ((answered, refused, over_http2), _) = tokio::join!(waiting, ending);
    assert_says(&answered, 200, "in time");
    for answer in [refused, over_http2] {
        answer.problem(503);
        assert_eq!(answer.json()["code"], "shutting_down");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    drop(backend);
    other.stop().await;
}

pub async fn those_whose_clients_leave(kafka: &'static Kafka) {
    let mut pair = Pair::start(kafka).await;
    let Pair { one, worker, .. } = &mut pair;
    let mut socket = TcpStream::connect(one.public()).await.unwrap();
    let bytes = b"POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    socket.write_all(bytes).await.unwrap();
    let mut ids = vec![worker.next().await.correlation().to_owned()];
    let http2 = Http2::over(TcpStream::connect(one.public()).await.unwrap()).await;
    let headers = [("content-type", "application/json")];
    let (response, mut sender) = http2
        .send(request("POST", "/orders", &headers), false)
        .await
        .unwrap();
    sender.send_data("{}".into(), true).unwrap();
    ids.push(worker.next().await.correlation().to_owned());
    let in_flight = async || one.metric("sluicegate_proxy_requests_in_flight", "").await;
    assert_eq!(in_flight().await, 2.0);
    drop(socket);
    sender.send_reset(h2::Reason::CANCEL);
    drop(response);
    eventually("nothing waits any more", async || in_flight().await == 0.0).await;
    for id in &ids {
        worker.answer(id, "200", "late").await;
    }
    eventually("both answers are late", async || {
        pair.answers("late").await == 2.0
    })
    .await;
    let cancelled = "status=\"cancelled\"";
    let counted = pair.one.metric("rig_proxy_requests_total", cancelled).await;
    assert_eq!(counted, 2.0);
    assert_eq!(pair.answers("delivered").await, 0.0);
    pair.stop().await;
}

/// A command that reaches no backend waits for nothing.
pub async fn without_a_backend(kafka: &'static Kafka) {
    let endpoint = json!([{ "id": "job", "method": "POST", "path_regex": "/jobs", "response_from": "http_async" }]);
    let settings = Settings::new(kafka).with_apis(&[api("test", NOBODY, endpoint)]);
    let gateway = Gateway::with(settings).await;
    post(&gateway, "/jobs", &[], "{}").await.problem(502);
    let later = post(&gateway, "/jobs", &[("prefer", "respond-async")], "{}").await;
    later.problem(502);
    assert_eq!(later.header("location"), None);
    gateway.stop().await;
}
