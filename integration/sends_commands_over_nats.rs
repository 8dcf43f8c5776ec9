//! Commands on their way to NATS subjects, and the replies back.

use async_nats::{Client, HeaderMap, Message};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Settings, eventually};
use crate::support::http::{self, Answer};
use crate::support::kafka::Kafka;
use crate::support::nats::{NatsServer, next, subscribe};

/// How many commands are sent at once.
const AT_ONCE: usize = 300;

/// Starts an instance with routes to these subjects, under paths of the same names: for those that end with a question
/// mark, the reply is waited for.
async fn with_routes(settings: Settings, subjects: &[&str]) -> Gateway {
    let endpoints: Vec<Value> = subjects
        .iter()
        .map(|subject| {
            let name = subject.trim_end_matches('?');
            let mut endpoint = json!({
                "id": name,
                "method": "POST",
                "path_regex": format!("/{name}"),
                "target": "nats",
                "topic": name,
            });
            if subject.ends_with('?') {
                endpoint["response_from"] = json!("nats");
            }
            endpoint
        })
        .collect();
    let apis = json!([{
        "id": "commands",
        "name": "commands",
        "version_data": { "default": { "endpoints": endpoints } },
    }]);
    Gateway::with(settings.with("PROXY_CONFIG_FILE", apis.to_string())).await
}

async fn connected(server: &NatsServer, kafka: &Kafka, subjects: &[&str]) -> Gateway {
    let settings = server
        .on(Settings::new(kafka))
        .with("PROXY_NATS_RESPONSE_TIMEOUT", "5s");
    let gateway = with_routes(settings, subjects).await;
    eventually("nats is there", async || {
        gateway.metric("sluicegate_nats_up", "").await == 1.0
    })
    .await;
    gateway
}

async fn post(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let json = ("content-type", "application/json");
    let headers = [&[json], headers].concat();
    http::request(gateway.public(), "POST", path, &headers, body.as_bytes()).await
}

fn header<'a>(message: &'a Message, name: &str) -> &'a str {
    let headers = message.headers.as_ref().expect("headers");
    headers.get(name).expect(name).as_str()
}

/// Serves a subject: replies to each message with what `reply` makes of the data of its event.
async fn serve(
    client: &Client,
    subject: &str,
    reply: impl Fn(&Value) -> (HeaderMap, String) + Send + 'static,
) {
    let mut requests = subscribe(client, subject).await;
    let client = client.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let event: Value = serde_json::from_slice(&request.payload).unwrap();
            let (headers, body) = reply(&event["data"]);
            let to = request.reply.expect("a reply subject");
            client
                .publish_with_headers(to, headers, body.into())
                .await
                .unwrap();
        }
    });
}

pub async fn and_says_when_the_server_has_them(kafka: &Kafka) {
    let mut server = NatsServer::start().await;
    let gateway = connected(&server, kafka, &["place"]).await;
    let client = server.client().await;
    let mut messages = subscribe(&client, "place").await;
    let traced = (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    let answer = post(&gateway, "/place?a=1", &[traced], r#"{"item": 7}"#).await;
    assert_eq!((answer.status, answer.text()), (202, "Accepted."));
    let message = next(&mut messages).await;
    let event: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(
        (&event["data"]["item"], &event["rig"]["query"]),
        (&json!(7), &json!("a=1"))
    );
    assert!(header(&message, "content-type").starts_with("application/cloudevents+json"));
    assert!(header(&message, "traceparent").starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert_eq!(message.reply, None, "nobody waits");
    // In the order in which they were accepted.
    for number in 0..50 {
        let answer = post(&gateway, "/place", &[], &number.to_string()).await;
        assert_eq!(answer.status, 202);
    }
    for number in 0..50 {
        let message = next(&mut messages).await;
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(event["data"], number);
    }
    server.kill();
    eventually("the server is missed", async || {
        let answer = post(&gateway, "/place", &[], "1").await;
        answer.status == 503 && answer.json()["code"] == "nats_unavailable"
    })
    .await;
    server.run().await;
    eventually("the server is there again", async || {
        post(&gateway, "/place", &[], "1").await.status == 202
    })
    .await;
    gateway.stop().await;
}

pub async fn and_waits_for_the_reply(kafka: &Kafka) {
    let server = NatsServer::start().await;
    let gateway = connected(&server, kafka, &["quote?"]).await;
    let client = server.client().await;
    serve(&client, "quote", |data| {
        let mut headers = HeaderMap::new();
        for (name, value) in data["headers"].as_object().into_iter().flatten() {
            headers.insert(name.as_str(), value.as_str().unwrap());
        }
        (headers, data["body"].as_str().unwrap().to_owned())
    })
    .await;
    for (headers, body, status, kind) in [
        (json!({}), "{\"price\":1}", 200, "application/json"),
        (
            json!({ "rig-response-code": "201", "content-type": "text/plain", "x-mine": "y" }),
            "made",
            201,
            "text/plain",
        ),
        (
            json!({ "Nats-Service-Error-Code": "404", "Nats-Service-Error": "no such item" }),
            "{}",
            404,
            "application/json",
        ),
        (
            json!({ "Nats-Service-Error-Code": "409", "Nats-Service-Error": "sold out" }),
            "",
            409,
            "text/plain; charset=utf-8",
        ),
    ] {
        let request = json!({ "headers": headers, "body": body });
        let answer = post(&gateway, "/quote", &[], &request.to_string()).await;
        let text = if status == 409 { "sold out" } else { body };
        assert_eq!((answer.status, answer.text()), (status, text));
        assert_eq!(answer.header("content-type"), Some(kind));
        assert_eq!(answer.header("x-mine").is_some(), status == 201);
        assert_eq!(answer.header("nats-service-error"), None);
        assert_eq!(answer.header("rig-response-code"), None);
    }
    let request = json!({ "headers": { "rig-response-code": "abc" }, "body": "" });
    let answer = post(&gateway, "/quote", &[], &request.to_string()).await;
    answer.problem(502);
    gateway.stop().await;
}

pub async fn each_with_its_own_reply(kafka: &Kafka) {
    let server = NatsServer::start().await;
    let gateway = connected(&server, kafka, &["echo?"]).await;
    let client = server.client().await;
    serve(&client, "echo", |data| (HeaderMap::new(), data.to_string())).await;
    let posts = (0..AT_ONCE).map(|number| {
        let gateway = &gateway;
        async move {
            let body = number.to_string();
            let answer = post(gateway, "/echo", &[], &body).await;
            assert_eq!((answer.status, answer.text()), (200, body.as_str()));
        }
    });
    futures_util::future::join_all(posts).await;
    gateway.stop().await;
}

pub async fn of_which_the_reply_is_asked_for_later(kafka: &Kafka) {
    let server = NatsServer::start().await;
    let gateway = connected(&server, kafka, &["echo?"]).await;
    let client = server.client().await;
    let mut requests = subscribe(&client, "echo").await;
    let prefers = [("prefer", "respond-async")];
    let answer = post(&gateway, "/echo", &prefers, "1").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let place = answer.header("location").expect("a place").to_owned();
    let ask = async || http::request(gateway.public(), "GET", &place, &[], b"").await;
    assert_eq!(ask().await.status, 202);
    let to = next(&mut requests).await.reply.expect("a reply subject");
    client.publish(to, "\"done\"".into()).await.unwrap();
    eventually("the answer is there", async || {
        let answer = ask().await;
        answer.status == 200 && answer.text() == "\"done\""
    })
    .await;
    gateway.stop().await;
}

pub async fn once_for_each_idempotency_key(kafka: &Kafka) {
    let server = NatsServer::start().await;
    let gateway = connected(&server, kafka, &["count?", "place"]).await;
    let client = server.client().await;
    let keyed = [("idempotency-key", "\"0123456789abcdef0123\"")];
    // What nobody took counts as not sent.
    let answer = post(&gateway, "/count", &keyed, "1").await;
    answer.problem(503);
    assert_eq!(answer.json()["code"], "no_responders");
    let count = std::sync::atomic::AtomicU32::new(0);
    serve(&client, "count", move |_| {
        let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (HeaderMap::new(), count.to_string())
    })
    .await;
    for _ in 0..3 {
        let answer = post(&gateway, "/count", &keyed, "1").await;
        assert_eq!((answer.status, answer.text()), (200, "0"));
    }
    let mut messages = subscribe(&client, "place").await;
    let keyed = [("idempotency-key", "\"another-key-of-its-own\"")];
    for body in ["1", "1", "2"] {
        let answer = post(&gateway, "/place", &keyed, body).await;
        let expected = if body == "1" { 202 } else { 422 };
        assert_eq!(answer.status, expected, "{}", answer.text());
    }
    assert_eq!(post(&gateway, "/place", &[], "3").await.status, 202);
    for expected in [1, 3] {
        let message = next(&mut messages).await;
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(event["data"], expected);
    }
    gateway.stop().await;
}

pub async fn and_says_what_is_in_the_way(kafka: &Kafka) {
    let routes = ["place", "quote?", "forbidden", "secret?"];
    let without = with_routes(Settings::new(kafka), &routes).await;
    let answer = post(&without, "/place", &[], "1").await;
    answer.problem(503);
    assert_eq!(answer.json()["code"], "nats_not_configured");
    without.stop().await;
    let mut server = NatsServer::stopped(
        r#"max_payload: 4KB
        authorization { users: [
          { user: gate, password: hush, permissions: { publish: { deny: ["forbidden", "secret"] } } },
          { user: service, password: hush }
        ] }"#,
    );
    server.run().await;
    let settings = server
        .on(Settings::new(kafka))
        .with("NATS_USER", "gate")
        .with("NATS_PASSWORD", "hush")
        .with("PROXY_NATS_RESPONSE_TIMEOUT", "700");
    let gateway = with_routes(settings, &routes).await;
    eventually("nats is there", async || {
        gateway.metric("sluicegate_nats_up", "").await == 1.0
    })
    .await;
    let large = json!("x".repeat(5000)).to_string();
    let no_reply = ("/quote", "1", 504, "answer_timeout");
    for (path, body, status, code) in [
        ("/quote", "1", 503, "no_responders"),
        ("/place", large.as_str(), 413, "event_too_large"),
        ("/forbidden", "1", 502, "nats_refused"),
        ("/secret", "1", 502, "nats_refused"),
    ] {
        let answer = post(&gateway, path, &[], body).await;
        answer.problem(status);
        assert_eq!(answer.json()["code"], code, "{path}");
    }
    let options = async_nats::ConnectOptions::new();
    let options = options.user_and_password("service".to_owned(), "hush".to_owned());
    let service = server.client_with(options).await;
    let _silent = subscribe(&service, "quote").await;
    let (path, body, status, code) = no_reply;
    eventually("somebody listens and says nothing", async || {
        let answer = post(&gateway, path, &[], body).await;
        answer.status == status && answer.json()["code"] == code
    })
    .await;
    gateway.stop().await;
}

pub async fn and_claims_nothing_of_a_server_that_is_frozen(kafka: &Kafka) {
    let server = NatsServer::start().await;
    let gateway = connected(&server, kafka, &["place", "quote?"]).await;
    assert_eq!(post(&gateway, "/place", &[], "1").await.status, 202);
    server.freeze();
    let (place, quote) = tokio::join!(
        post(&gateway, "/place", &[], "2"),
        post(&gateway, "/quote", &[], "2")
    );
    for answer in [place, quote] {
        answer.problem(503);
        assert_eq!(answer.json()["code"], "nats_timeout");
    }
    server.thaw();
    eventually("the server goes on", async || {
        post(&gateway, "/place", &[], "3").await.status == 202
    })
    .await;
    gateway.stop().await;
}
