//! Commands as messages on a WebSocket, answered there with the ids that their senders gave them.

pub mod with_patience;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::support::certificates::Certificate;
use crate::support::commands::{Backend, Seen, Worker, api, said};
use crate::support::gateway::{Gateway, Settings, event, eventually, query, unique};
use crate::support::kafka::Kafka;
use crate::support::sessions::end;
use crate::support::tokens::token;
use crate::support::ways::{Client, Way};
use crate::support::ws::Ws;

/// An instance with a route for everything, and who carries out its commands.
struct Setup {
    gateway: Gateway,
    backend: Backend,
    worker: Worker,
    certificate: Certificate,
}

impl Setup {
    async fn start(kafka: &'static Kafka) -> Self {
        Self::with(kafka, |settings| settings).await
    }

    async fn with(kafka: &'static Kafka, set: impl FnOnce(Settings) -> Settings) -> Self {
        let backend = Backend::start(answer).await;
        let topic = unique("commands");
        let kafka_waits = json!({ "id": "order", "method": "POST", "path_regex": "/orders", "target": "kafka",
            "topic": topic, "response_from": "kafka" });
        let endpoints = json!([
            kafka_waits,
            { "id": "own", "method": "POST", "path_regex": "/own", "target": "kafka", "topic": topic,
                "key": "session", "secured": true },
            { "id": "note", "method": "POST", "path_regex": "/notes", "target": "kafka", "topic": topic },
            { "id": "get", "method": "GET", "path_regex": "/.*" },
            { "id": "put", "method": "PUT", "path_regex": "/things/.*" },
        ]);
        let certificate = Certificate::new();
        let settings = certificate
            .on(Settings::new(kafka))
            .with_tokens()
            .with_apis(&[api("test", backend.address, endpoints)])
            .with("PROXY_KAFKA_RESPONSE_TIMEOUT", "30s");
        let settings = set(settings);
        let worker = Worker::start(kafka, &topic, &settings).await;
        Self {
            gateway: Gateway::with(settings).await,
            backend,
            worker,
            certificate,
        }
    }

    async fn open(&self, query: &str) -> Ws {
        let mut socket = Ws::open(self.gateway.public(), query, None).await;
        socket.subscribed().await;
        socket
    }
}

/// The largest body of an answer that fits into a message.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Answers with as many bytes as the path asks for, else with the body of the request.
fn answer(seen: &Seen) -> ::http::Response<Full<bytes::Bytes>> {
    let size = seen.target.strip_prefix("/size/");
    let size = size.and_then(|size| size.parse().ok());
    let body = size.map_or_else(|| seen.body.clone(), |size| vec![b'x'; size].into());
    let mut response = said(203, "");
    *response.body_mut() = Full::new(body);
    let kind = seen.header("content-type").unwrap_or("text/plain");
    let headers = response.headers_mut();
    headers.insert("content-type", kind.parse().unwrap());
    headers.append("x-two", "1".parse().unwrap());
    headers.append("x-two", "2".parse().unwrap());
    headers.insert("set-cookie", "a=b".parse().unwrap());
    response
}

async fn send(socket: &mut Ws, id: &str, data: Value) {
    let message = json!({ "type": "rig.request", "id": id, "data": data });
    socket.send(Message::text(message.to_string())).await;
}

/// Returns the data of the next message, which is an answer.
async fn answered(socket: &mut Ws) -> Value {
    let event = socket.event().await;
    assert_eq!(event["type"], "rig.response", "{event}");
    assert_eq!(event["specversion"], "1.0");
    event["data"].clone()
}

/// Sends a request and returns its answer.
async fn ask(socket: &mut Ws, id: &str, data: Value) -> Value {
    send(socket, id, data).await;
    let answer = answered(socket).await;
    assert_eq!(answer["id"], id);
    answer
}

fn get(path: &str) -> Value {
    json!({ "method": "GET", "path": path })
}

fn order(body: Value) -> Value {
    json!({ "method": "POST", "path": "/orders", "body": body })
}

pub async fn as_over_http(kafka: &'static Kafka) {
    let mut setup = Setup::start(kafka).await;
    let mut socket = setup.open("").await;
    let put = json!({ "method": "PUT", "path": "/things/%61?a=1&a=%20", "headers": { "x-mine": "1" }, "body": { "n": 1.5 } });
    let answer = ask(&mut socket, "7", put).await;
    assert_eq!(answer["status"], 203);
    assert_eq!(answer["body"], json!({ "n": 1.5 }));
    assert_eq!(answer["headers"]["x-two"], json!(["1", "2"]));
    assert_eq!(answer["headers"].get("set-cookie"), None);
    let seen = setup.backend.next().await;
    assert_eq!(
        (&*seen.method, &*seen.target),
        ("PUT", "/things/%61?a=1&a=%20")
    );
    assert_eq!(seen.body, r#"{"n":1.5}"#);
    for (name, value) in [
        ("content-type", Some("application/json")),
        ("x-mine", Some("1")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("content-length", Some("9")),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    let bytes = json!({ "method": "PUT", "path": "/things/1", "headers": { "content-type": "image/png" },
        "body_base64": STANDARD.encode(b"\0\xff") });
    let answer = ask(&mut socket, "8", bytes).await;
    assert_eq!(answer["body_base64"], STANDARD.encode(b"\0\xff"));
    assert_eq!(setup.backend.next().await.body, &b"\0\xff"[..]);
    let note = json!({ "method": "POST", "path": "/notes", "body": [1] });
    let answer = ask(&mut socket, "ä/\"9", note).await;
    assert_eq!(
        (&answer["status"], &answer["body"]),
        (&json!(202), &json!("Accepted."))
    );
    assert_eq!(setup.worker.next().await.event["data"], json!([1]));
    let numbered = json!({ "type": "rig.request", "id": 10, "data": order(json!("x")) });
    socket.send(Message::text(numbered.to_string())).await;
    let command = setup.worker.next().await;
    assert_eq!(command.event["rig"]["remoteip"], "127.0.0.1");
    setup
        .worker
        .answer(command.correlation(), "418", "tea")
        .await;
    let answer = answered(&mut socket).await;
    assert_eq!(
        (&answer["id"], &answer["status"], &answer["body"]),
        (&json!(10), &json!(418), &json!("tea"))
    );
    setup.gateway.stop().await;
}

/// Paths of our own are none of the routes': over HTTP no route can have them.
pub async fn but_not_what_no_route_is_for(kafka: &'static Kafka) {
    let mut setup = Setup::start(kafka).await;
    let mut socket = setup.open("").await;
    for (data, status, code) in [
        (
            json!({ "method": "DELETE", "path": "/nowhere" }),
            405,
            "method_not_allowed",
        ),
        (get("/_rig/health"), 404, "not_found"),
        (get("/_rig/v1/connection/sse"), 404, "not_found"),
        (
            json!({ "method": "POST", "path": "/_rig/v1/events", "body": {} }),
            404,
            "not_found",
        ),
        (get("//evil.example/x"), 400, "ambiguous_path"),
        (get("/a/../_rig/health"), 400, "ambiguous_path"),
        (get("http://evil.example/"), 400, "invalid_request_message"),
        (get("/a\r\nx: y"), 400, "invalid_request_message"),
        (
            json!({ "method": "GE T", "path": "/" }),
            400,
            "invalid_request_message",
        ),
        (
            json!({ "method": "CONNECT", "path": "/" }),
            501,
            "not_implemented",
        ),
        (json!({ "method": "GET" }), 400, "invalid_request_message"),
        (json!("GET /"), 400, "invalid_request_message"),
        (Value::Null, 400, "invalid_request_message"),
        (
            json!({ "method": "GET", "path": "/", "headers": { "host": "evil.example" } }),
            400,
            "invalid_request_message",
        ),
        (
            json!({ "method": "GET", "path": "/", "headers": { "transfer-encoding": "chunked" } }),
            400,
            "invalid_request_message",
        ),
    ] {
        let what = data.to_string();
        let answer = ask(&mut socket, "the id", data).await;
        assert_eq!(answer["status"], status, "{what}: {answer}");
        assert_eq!(answer["body"]["code"], code, "{what}: {answer}");
        assert_eq!(
            answer["headers"]["content-type"],
            "application/problem+json"
        );
    }
    for id in ["", &"x".repeat(300)] {
        send(&mut socket, id, get("/")).await;
        let answer = answered(&mut socket).await;
        assert_eq!(answer["status"], 400, "{answer}");
        assert!(id.starts_with(answer["id"].as_str().unwrap()), "{answer}");
    }
    setup.backend.got_no_more();
    // What belongs to a connection of HTTP/1.1 means nothing here.
    let mut upgrade = get("/sockets");
    upgrade["headers"] = json!({ "connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" });
    assert_eq!(ask(&mut socket, "upgrade", upgrade).await["status"], 203);
    let mut stream = get("/stream");
    stream["headers"] = json!({ "content-type": "text/event-stream" });
    let answer = ask(&mut socket, "stream", stream).await;
    assert_eq!(answer["body"]["code"], "not_for_a_message");
    assert_eq!(ask(&mut socket, "last", get("/")).await["status"], 203);
    setup.gateway.stop().await;
}

pub async fn as_they_finish_and_no_more_than_eight_at_once(kafka: &'static Kafka) {
    let mut setup = Setup::start(kafka).await;
    let mut socket = setup.open("").await;
    for id in 0..10 {
        send(&mut socket, &id.to_string(), order(json!(id))).await;
    }
    let mut commands = Vec::new();
    for _ in 0..8 {
        commands.push(setup.worker.next().await);
    }
    // Somebody else is served meanwhile; what is read after that is behind the tenth, if that was sent.
    let mut other = setup.open("").await;
    let note = json!({ "method": "POST", "path": "/notes", "body": "between" });
    assert_eq!(ask(&mut other, "0", note).await["status"], 202);
    assert_eq!(setup.worker.next().await.event["data"], "between");
    setup.worker.got_no_more();
    let of = |id: u64, commands: &[crate::support::commands::Command]| {
        let found = commands.iter().find(|command| command.event["data"] == id);
        found.expect("it was sent").correlation().to_owned()
    };
    setup.worker.answer(&of(5, &commands), "200", "5").await;
    let first = answered(&mut socket).await;
    assert_eq!((&first["id"], &first["body"]), (&json!("5"), &json!("5")));
    commands.push(setup.worker.next().await);
    setup.worker.got_no_more();
    let mut unanswered: BTreeSet<u64> = (0..9).filter(|id| *id != 5).collect();
    for id in unanswered.iter().rev() {
        setup
            .worker
            .answer(&of(*id, &commands), "200", &id.to_string())
            .await;
    }
    commands.push(setup.worker.next().await);
    setup.worker.answer(&of(9, &commands), "200", "9").await;
    unanswered.insert(9);
    while !unanswered.is_empty() {
        let answer = answered(&mut socket).await;
        assert_eq!(answer["id"], answer["body"], "{answer}");
        let id = answer["id"].as_str().unwrap().parse().unwrap();
        assert!(unanswered.remove(&id), "{answer}");
    }
    setup.gateway.stop().await;
}

pub async fn while_events_and_changes_go_on(kafka: &'static Kafka) {
    let mut setup = Setup::start(kafka).await;
    let mut socket = setup.open(&query(&json!([{ "eventType": "a" }]))).await;
    send(&mut socket, "1", order(json!(1))).await;
    let command = setup.worker.next().await;
    setup.gateway.publish(&event("a", "1", json!(1))).await;
    assert_eq!(socket.event().await["id"], "1");
    let change = json!({ "type": "rig.subscriptions_set", "data": [{ "eventType": "b" }] });
    socket.send(Message::text(change.to_string())).await;
    assert_eq!(socket.event().await["type"], "rig.subscriptions_set");
    setup.gateway.publish(&event("a", "2", json!(2))).await;
    setup.gateway.publish(&event("b", "3", json!(3))).await;
    assert_eq!(socket.event().await["id"], "3");
    setup
        .worker
        .answer(command.correlation(), "200", "done")
        .await;
    assert_eq!(answered(&mut socket).await["id"], "1");
    // A message of another kind that makes no sense is told apart.
    socket
        .send(Message::text("{\"type\":\"rig.requests\"}"))
        .await;
    assert_eq!(socket.event().await["type"], "rig.subscriptions_refused");
    setup.gateway.stop().await;
}

pub async fn to_whoever_the_connection_belongs(kafka: &'static Kafka) {
    let mut setup = Setup::start(kafka).await;
    let own = json!({ "method": "POST", "path": "/own", "body": 1 });
    let with = |bearer: &str| {
        let mut own = own.clone();
        own["headers"] = json!({ "authorization": format!("Bearer {bearer}") });
        own
    };
    let (alice, bob) = (token("alice", "a1"), token("bob", "b1"));
    let mut nobody = setup.open("").await;
    let mut somebody = setup.open(&format!("jwt={alice}")).await;
    let refused = ask(&mut nobody, "1", own.clone()).await;
    assert_eq!(refused["status"], 401);
    assert_eq!(refused["headers"]["www-authenticate"], "Bearer");
    for bearer in ["nonsense", &format!("{}x", &alice[..alice.len() - 1])] {
        for socket in [&mut nobody, &mut somebody] {
            let refused = ask(socket, "2", with(bearer)).await;
            assert_eq!(
                refused["status"], 401,
                "a bad token is not made good by the connection"
            );
        }
    }
    assert_eq!(ask(&mut somebody, "3", own.clone()).await["status"], 202);
    assert_eq!(ask(&mut nobody, "4", with(&bob)).await["status"], 202);
    assert_eq!(ask(&mut somebody, "5", with(&bob)).await["status"], 202);
    for key in ["a1", "b1", "b1"] {
        let command = setup.worker.next().await;
        assert_eq!(command.record.key.as_deref(), Some(key));
        assert!(
            !command.event.to_string().contains(&bob),
            "{}",
            command.event
        );
    }
    // A token in a message counts no longer than elsewhere.
    assert_eq!(end(setup.gateway.internal(), "b1").await, 201);
    eventually("the session is ended", async || {
        let refused = ask(&mut nobody, "6", with(&bob)).await;
        refused["status"] == 401
    })
    .await;
    assert_eq!(end(setup.gateway.internal(), "a1").await, 201);
    somebody.is_killed().await;
    setup.gateway.stop().await;
}

pub async fn that_fit_into_a_message(kafka: &'static Kafka) {
    let setup = Setup::start(kafka).await;
    let mut socket = setup.open("").await;
    let fits = ask(&mut socket, "1", get(&format!("/size/{MAX_BODY_BYTES}"))).await;
    assert_eq!(fits["status"], 203);
    assert_eq!(fits["body"].as_str().unwrap().len(), MAX_BODY_BYTES);
    let over = ask(
        &mut socket,
        "2",
        get(&format!("/size/{}", MAX_BODY_BYTES + 1)),
    )
    .await;
    assert_eq!(over["status"], 502);
    assert_eq!(over["body"]["code"], "answer_too_large");
    assert_eq!(ask(&mut socket, "3", get("/size/1")).await["body"], "x");
    setup.gateway.stop().await;
}

pub async fn whatever_they_go_over(kafka: &'static Kafka) {
    let mut setup = Setup::start(kafka).await;
    for way in Way::ALL {
        let client = Client::new(way, &setup.certificate, &setup.gateway);
        let mut socket = client.ws(&json!([])).await;
        socket.subscribed().await;
        let body = "y".repeat(20_000);
        send(&mut socket, "1", order(json!(body))).await;
        let large = format!("/size/{MAX_BODY_BYTES}");
        let answer = ask(&mut socket, "2", get(&large)).await;
        assert_eq!(answer["body"].as_str().unwrap().len(), MAX_BODY_BYTES);
        let seen = setup.backend.next().await;
        let proto = if way.has_tls() { "https" } else { "http" };
        assert_eq!(seen.header("x-forwarded-proto"), Some(proto), "{way:?}");
        let command = setup.worker.next().await;
        assert_eq!(command.event["data"], json!(body));
        assert_eq!(command.event["rig"]["scheme"], proto);
        setup
            .worker
            .answer(command.correlation(), "200", "done")
            .await;
        assert_eq!(answered(&mut socket).await["body"], "done", "{way:?}");
    }
    setup.gateway.stop().await;
}
