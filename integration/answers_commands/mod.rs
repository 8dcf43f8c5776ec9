//! Commands whose answers come later, from wherever they come: each client gets its own, and nobody another one.

pub mod asked_for_later;
pub mod once_for_each_key;
pub mod or_gives_up;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::commands::{Backend, Headers, Worker, api, post_answer, said};
use crate::support::gateway::{Gateway, Settings, unique};
use crate::support::h2::Http2;
use crate::support::http::{self, Answer};
use crate::support::kafka::{self, Kafka};

const ANSWERS: &str = "sluicegate_proxy_answers_total";

/// Two instances, and who carries out their commands.
struct Pair {
    one: Gateway,
    other: Gateway,
    worker: Worker,
    backend: Backend,
}

impl Pair {
    async fn start(kafka: &'static Kafka) -> Self {
        Self::with(kafka, |settings| settings).await
    }

    async fn with(kafka: &'static Kafka, set: impl FnOnce(Settings) -> Settings) -> Self {
        // What is asked for in a path is the status.
        let backend = Backend::start(|seen| {
            let path = seen.target.split('?').next().unwrap_or_default();
            let status = path.rsplit('/').next().and_then(|text| text.parse().ok());
            let mut response = said(status.unwrap_or(202), "of the backend");
            let headers = response.headers_mut();
            headers.insert("x-backend", "yes".parse().unwrap());
            response
        })
        .await;
        let topic = unique("commands");
        let settings = set(settings(kafka, &topic, &backend));
        let worker = Worker::start(kafka, &topic, &settings).await;
        Self {
            one: Gateway::with(settings.clone()).await,
            other: Gateway::with(settings).await,
            worker,
            backend,
        }
    }

    fn both(&self) -> [&Gateway; 2] {
        [&self.one, &self.other]
    }

    /// Returns the sum of a counter of answers at both.
    async fn answers(&self, result: &str) -> f64 {
        let label = format!("result=\"{result}\"");
        let [one, other] = self.both();
        one.metric(ANSWERS, &label).await + other.metric(ANSWERS, &label).await
    }

    async fn stop(self) {
        self.one.stop().await;
        self.other.stop().await;
    }
}

fn settings(kafka: &Kafka, topic: &str, backend: &Backend) -> Settings {
    let waits = |id: &str, path: &str, more: Value| {
        let mut endpoint = json!({ "id": id, "method": "POST", "path_regex": path });
        for (name, value) in more.as_object().unwrap() {
            endpoint[name] = value.clone();
        }
        endpoint
    };
    let kafka_waits = json!({ "target": "kafka", "topic": topic, "response_from": "kafka" });
    let mut secured = kafka_waits.clone();
    secured["secured"] = json!(true);
    let endpoints = json!([
        waits("order", "/orders", kafka_waits),
        waits("own", "/own", secured),
        waits(
            "note",
            "/notes",
            json!({ "target": "kafka", "topic": topic })
        ),
        waits(
            "job",
            "/jobs(/.*)?",
            json!({ "response_from": "http_async" })
        ),
        waits(
            "ticket",
            "/tickets(/.*)?",
            json!({ "response_from": "kafka" })
        ),
    ]);
    Settings::new(kafka)
        .with_tokens()
        .with_apis(&[api("test", backend.address, endpoints)])
        .with("PROXY_KAFKA_RESPONSE_TIMEOUT", "30s")
        .with("PROXY_HTTP_ASYNC_RESPONSE_TIMEOUT", "30s")
}

async fn post(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let json = [("content-type", "application/json")];
    let headers = [&json[..], headers].concat();
    http::request(gateway.public(), "POST", path, &headers, body.as_bytes()).await
}

async fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    http::request(gateway.public(), "GET", path, headers, b"").await
}

fn assert_says(answer: &Answer, status: u16, body: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!((answer.status, &*text), (status, body), "{answer:?}");
}

/// Changes one letter of a text.
fn altered(text: &str) -> String {
    let (start, end) = text.split_at(text.len() / 2);
    let other = if end.starts_with('A') { 'B' } else { 'A' };
    format!("{start}{other}{}", &end[1..])
}

pub async fn with_what_a_worker_writes(kafka: &'static Kafka) {
    let mut pair = Pair::start(kafka).await;
    let structured = r#"{"specversion":"1.0","type":"t","source":"/w","id":"1","rig":{"correlation":"ID","response_code":409},"datacontenttype":"application/json","data":{"why": 1.0}}"#;
    let cases: [(Headers<'_>, &str, u16, &str, &str); 3] = [
        (
            &[
                ("rig-correlation", "ID"),
                ("rig-response-code", "201"),
                ("content-type", "text/csv"),
                ("x-order", "7"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("content-length", "1"),
                ("transfer-encoding", "chunked"),
                ("connection", "close, x-order"),
                ("access-control-allow-origin", "https://evil.example"),
                ("x-bad", "a\r\nx-forged: b"),
            ],
            "a,b\n",
            201,
            "text/csv",
            "a,b\n",
        ),
        (&[], structured, 409, "application/json", r#"{"why": 1.0}"#),
        (
            &[("rig-correlation", "ID"), ("rig-response-code", "204")],
            "",
            204,
            "",
            "",
        ),
    ];
    let Pair {
        one, other, worker, ..
    } = &mut pair;
    for gateway in [&*one, &*other] {
        for (headers, value, status, content_type, body) in cases {
            let work = async {
                let command = worker.next().await;
                assert_eq!(command.event["data"], json!({ "n": 1 }));
                let id = command.correlation();
                let headers: Vec<_> = headers
                    .iter()
                    .map(|(name, value)| (*name, if *value == "ID" { id } else { value }))
                    .collect();
                let value = value.replace("ID", id);
                worker.write(&headers, value.as_bytes()).await;
            };
            let asked = post(gateway, "/orders", &[], r#"{"n":1}"#);
            let (answer, ()) = tokio::join!(asked, work);
            assert_says(&answer, status, body);
            assert_eq!(
                answer.header("content-type").unwrap_or_default(),
                content_type
            );
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            let is_first = content_type == "text/csv";
            assert_eq!(answer.header("x-order"), is_first.then_some("7"));
            let cookies: Vec<_> = answer.all("set-cookie").collect();
            assert_eq!(cookies.len(), if is_first { 2 } else { 0 }, "{cookies:?}");
            for name in ["rig-correlation", "rig-response-code", "x-bad", "x-forged"] {
                assert_eq!(answer.header(name), None, "{name}");
            }
        }
    }
    pair.worker.got_no_more();
    pair.stop().await;
}

pub async fn with_what_is_posted_to_any_instance(kafka: &'static Kafka) {
    let mut pair = Pair::start(kafka).await;
    let Pair {
        one,
        other,
        backend,
        ..
    } = &mut pair;
    for poster in [&*other, &*one] {
        let work = async {
            let seen = backend.next().await;
            let id = seen.correlation();
            assert_eq!(seen.header("rig-correlation"), Some(&*id));
            assert!(
                seen.target.starts_with("/jobs?a=%20&a=2&correlation="),
                "{}",
                seen.target
            );
            let code = ("rig-response-code", "203");
            let forged = altered(&id);
            for (id, told) in [(forged.as_str(), 400), ("", 400), ("x", 400)] {
                let headers = [("rig-correlation", id), code];
                post_answer(poster.internal(), &headers, b"forged")
                    .await
                    .problem(told);
            }
            let wrong = [("rig-correlation", &*id), ("rig-response-code", "abc201")];
            post_answer(poster.internal(), &wrong, b"wrong")
                .await
                .problem(400);
            let headers = [
                ("rig-correlation", &*id),
                code,
                ("content-type", "text/plain"),
                ("x-own", "1"),
                ("user-agent", "leak"),
                ("authorization", "Bearer leak"),
                ("cookie", "leak=1"),
                ("accept", "leak/*"),
                ("x-forwarded-for", "10.9.8.7"),
                ("x-request-id", "leak"),
                (
                    "traceparent",
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                ),
            ];
            let taken = post_answer(poster.internal(), &headers, b"done").await;
            assert_says(
                &taken,
                202,
                "message sent to correlated reverse proxy request",
            );
            id
        };
        let mine = [("rig-correlation", "mine"), ("x-mine", "1")];
        let asked = post(one, "/jobs?a=%20&correlation=mine&a=2", &mine, "{}");
        let (answer, id) = tokio::join!(asked, work);
        assert_says(&answer, 203, "done");
        let own = [
            "content-type",
            "x-own",
            "content-length",
            "date",
            "access-control-allow-origin",
        ];
        for (name, value) in &answer.headers {
            let is_own = own.contains(&name.as_str()) || name == "connection";
            assert!(is_own && !value.contains("leak"), "{name}: {value}");
        }
        for poster in [&*other, &*one] {
            let headers = [("rig-correlation", &*id), ("rig-response-code", "200")];
            let again = post_answer(poster.internal(), &headers, b"again").await;
            again.problem(410);
            assert_eq!(again.json()["code"], "second_answer");
        }
    }
    assert_eq!(pair.answers("forged").await, 6.0);
    assert_eq!(pair.answers("invalid").await, 2.0);
    assert_eq!(pair.answers("delivered").await, 2.0);
    assert_eq!(pair.answers("second").await, 4.0);
    pair.backend.got_no_more();
    pair.stop().await;
}

pub async fn of_backends_at_once_unless_they_accept(kafka: &'static Kafka) {
    let mut pair = Pair::start(kafka).await;
    let Pair {
        one,
        other,
        worker,
        backend,
    } = &mut pair;
    for path in ["/jobs", "/tickets"] {
        for status in [200, 201, 303, 404, 503] {
            let answer = post(one, &format!("{path}/{status}"), &[], "{}").await;
            assert_says(&answer, status, "of the backend");
            assert_eq!(answer.header("x-backend"), Some("yes"));
            backend.next().await;
        }
        let work = async {
            let id = backend.next().await.correlation();
            if path == "/tickets" {
                worker.answer(&id, "200", "of the worker").await;
            } else {
                let headers = [("rig-correlation", &*id), ("rig-response-code", "200")];
                post_answer(other.internal(), &headers, b"of the worker").await;
            }
        };
        let accepting = format!("{path}/202");
        let (answer, ()) = tokio::join!(post(one, &accepting, &[], "{}"), work);
        assert_says(&answer, 200, "of the worker");
        assert_eq!(answer.header("x-backend"), None);
    }
    assert_eq!(pair.answers("delivered").await, 2.0);
    pair.stop().await;
}

/// How many wait at once on a connection of HTTP/2.
const ON_ONE_CONNECTION: usize = 100;

pub async fn of_many_at_once(kafka: &'static Kafka) {
    // The embedded broker writes each of them to its disk.
    let crowd = match kafka.backend() {
        kafka::Backend::Apache => 10_000,
        kafka::Backend::Embedded => 1_000,
    };
    let mut pair = Pair::start(kafka).await;
    let connections = crowd / ON_ONE_CONNECTION;
    let mut clients = Vec::new();
    for number in 0..connections {
        let gateway = pair.both()[number % 2];
        let socket = TcpStream::connect(gateway.public()).await.unwrap();
        clients.push(Http2::over(socket).await);
    }
    let asked = join_all((0..crowd).map(|number| {
        let client = &clients[number % connections];
        async move {
            let headers = [("content-type", "application/json")];
            let body = number.to_string();
            let answer = client.request("POST", "/orders", &headers, body.as_bytes());
            assert_says(&answer.await, 200, &body);
        }
    }));
    let worker = &mut pair.worker;
    let work = async {
        let mut commands = Vec::new();
        for _ in 0..crowd {
            commands.push(worker.next().await);
        }
        // In an order that has nothing to do with theirs: a number that has no divisor with theirs in common.
        let shuffled = (0..crowd).map(|step| &commands[step * 1_237 % crowd]);
        let answers = shuffled.map(async |command| {
            let body = command.event["data"].to_string();
            worker.answer(command.correlation(), "200", &body).await;
        });
        join_all(answers).await;
    };
    tokio::join!(asked, work);
    assert_eq!(pair.answers("delivered").await, crowd as f64);
    for gateway in pair.both() {
        let waiting = gateway
            .metric("sluicegate_proxy_requests_in_flight", "")
            .await;
        assert_eq!(waiting, 0.0);
    }
    pair.stop().await;
}
