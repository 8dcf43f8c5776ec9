//! Whatever clients show, whether it is good or not: it stands in no answer, no log, no metric and no record.

use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::support::doors::{Caller, Door, Shown};
use crate::support::gateway::Settings;
use crate::support::http::{self, Answer};
use crate::support::issuer::{Issuer, Mood};
use crate::support::kafka::Kafka;
use crate::support::program::{self, Process};
use crate::support::tokens::{SECRET, token, token_for};
use crate::support::ws::Ws;

const COOKIE_OF_NODES: &str = "fedcba9876543210fedcba9876543210";
const API_TOKEN: &str = "a-token-of-the-operators";

/// What nobody may read, and where somebody could.
#[derive(Default)]
struct Secrets {
    secrets: Vec<String>,
    answers: Vec<String>,
}

impl Secrets {
    /// Takes a token: as a whole, and what it claims and its signature alone.
    fn hide(&mut self, token: &str) {
        let parts = token.split('.').skip(1).filter(|part| part.len() > 20);
        self.secrets.extend(parts.map(str::to_owned));
        self.secrets.push(token.to_owned());
    }

    fn heard(&mut self, answer: &Answer) {
        let body = String::from_utf8_lossy(&answer.body);
        self.answers.push(format!("{:?} {body}", answer.headers));
    }

    fn assert_kept(&self, place: &str, text: &str) {
        for secret in &self.secrets {
            let found = text.find(secret.as_str());
            let context = found.map(|at| {
                let from = text[..at].rfind('\n').map_or(0, |line| line + 1);
                &text[from..(at + secret.len())]
            });
            assert_eq!(context, None, "in {place}");
        }
    }
}

fn shown_everywhere(token: &str) -> Vec<Shown> {
    vec![
        Shown::bearer(token),
        Shown::header("authorization", format!("Bearer {token}, Bearer {token}")),
        Shown::header("authorization", token),
        Shown::query("jwt", token),
        Shown::query("ticket", token),
        Shown::cookie(token),
        Shown::cookie(token).and_header("origin", "https://evil.example"),
        Shown::sub_protocol(token),
        Shown::header("sec-websocket-protocol", format!("bearer.{token}")),
        Shown::bearer(token).and(Shown::query("jwt", token)),
        Shown::query("last_event_id", token),
        Shown::header("last-event-id", token),
        Shown::header("x-forwarded-for", token),
    ]
}

/// Shows tokens where there is no door, and in heads that cannot be read.
async fn knock_at_walls(process: &Process, token: &str, secrets: &mut Secrets) {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    for (address, method, target) in [
        (process.public, "GET", format!("/nowhere?jwt={token}")),
        (process.public, "GET", format!("/{token}")),
        (
            process.public,
            "DELETE",
            format!("/_rig/v1/events?jwt={token}"),
        ),
        (process.public, "TRACE", format!("/?jwt={token}")),
        (
            process.public,
            "PUT",
            format!("/_rig/v1/connection/sse/{token}/subscriptions"),
        ),
        (process.internal, "GET", format!("/v3/sessions?jwt={token}")),
        (process.internal, "GET", "/metrics".to_owned()),
        (
            process.internal,
            "GET",
            format!("/v3/session-blacklist/{token}"),
        ),
    ] {
        let answer = http::request(address, method, &target, &headers, b"").await;
        secrets.heard(&answer);
    }
    for bytes in [
        format!("GET /?jwt={token} HTTP/9.9\r\nhost: test\r\n\r\n"),
        format!("GET /?jwt={token}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nauthorization : Bearer {token}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\0\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nhost: {token}\r\nconnection: close\r\n\r\n"),
    ] {
        secrets.heard(&http::raw(process.public, bytes.as_bytes()).await);
    }
    let (data, bare) = (json!({ "token": token }), json!(token));
    let messages = [
        json!({ "type": "rig.token", "data": data }),
        json!({ "type": "rig.token", "data": bare }),
        json!({ "type": "rig.subscriptions_set", "data": data }),
        json!({ "type": "rig.ack", "data": data }),
        json!({ "type": token, "data": bare }),
    ];
    for message in messages {
        let mut ws = Ws::open(process.public, "", None).await;
        ws.subscribed().await;
        ws.send(Message::text(message.to_string())).await;
        secrets.answers.push(ws.event().await.to_string());
    }
}

/// All that one instance is shown.
async fn show_all(process: &Process, caller: &Caller, tokens: &[String], secrets: &mut Secrets) {
    for token in tokens {
        for door in Door::ALL {
            for shown in shown_everywhere(token) {
                let answer = caller.knock(door, &shown).await;
                assert!(answer.status < 500, "{answer:?}");
                if door == Door::Ticket && answer.status == 201 {
                    let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();
                    secrets.hide(&ticket);
                    let shown = Shown::query("ticket", &ticket);
                    for _ in 0..2 {
                        secrets.heard(&caller.knock(Door::Sse, &shown).await);
                    }
                } else {
                    secrets.heard(&answer);
                }
            }
        }
        knock_at_walls(process, token, secrets).await;
    }
}

pub async fn in_answers_logs_metrics_and_records(kafka: &Kafka) {
    let checks = Issuer::start().await;
    let settings = Settings::guarded(kafka)
        .with("NODE_COOKIE", COOKIE_OF_NODES)
        .with("API_TOKEN", API_TOKEN)
        .with("SUBSCRIPTION_CHECK", format!("{}/check", checks.url()))
        .with("LOG_LEVEL", "trace");
    let on_ports = |format: &str| {
        let own = program::on_free_ports(settings.clone().with("LOG_FMT", format));
        own.with("INSTANCE_ID", format)
    };
    let processes = [
        Process::start_unready(&on_ports("text")),
        Process::start_unready(&on_ports("json")),
    ];
    let mut secrets = Secrets::default();
    for secret in [SECRET, COOKIE_OF_NODES, API_TOKEN] {
        secrets.hide(secret);
    }
    let alice = token("alice", "a1");
    let (message, signature) = alice.rsplit_once('.').unwrap();
    let tokens = [
        alice.clone(),
        token_for("alice", "expired", -1),
        format!("{message}.{}", signature.to_lowercase()),
        format!(
            "{}.{}.",
            "eyJhbGciOiJub25lIn0", "eyJzdWIiOiJub2JvZHkgYXQgYWxsIn0"
        ),
        "neither-a-token-nor-a-ticket".to_owned(),
    ];
    for token in &tokens {
        secrets.hide(token);
    }
    for process in &processes {
        process.ready().await;
    }
    let callers = [
        Caller::new(processes[0].public).await,
        Caller::over_http2(processes[1].public).await,
    ];
    // Whoever is asked about subscriptions gets tokens, too.
    checks.be(Mood::Status(500));
    show_all(&processes[0], &callers[0], &tokens[..1], &mut secrets).await;
    checks.be(Mood::Status(200));
    for (process, caller) in processes.iter().zip(&callers) {
        show_all(process, caller, &tokens, &mut secrets).await;
    }
    // A token on its way to the instance that has the connection.
    let mut stream = crate::support::sse::Sse::open(processes[0].public, "", &[]).await;
    let connection = stream.subscribed().await;
    let target = format!("/_rig/v1/connection/sse/{connection}/subscriptions");
    let bearer = format!("Bearer {alice}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = br#"{"subscriptions":[{"eventType":"t"}]}"#;
    let changed = http::request(processes[1].public, "PUT", &target, &headers, body).await;
    assert_eq!(changed.status, 204, "{}", changed.text());
    secrets
        .answers
        .push(stream.event().await.data.unwrap_or_default());
    let operator = format!("Bearer {API_TOKEN}");
    let headers = [("authorization", operator.as_str())];
    for process in &processes {
        for target in ["/metrics", "/v3/sessions", "/v3/users/alice/sessions"] {
            let answer = http::request(process.internal, "GET", target, &headers, b"").await;
            assert_eq!(answer.status, 200, "{target}: {}", answer.text());
            secrets.assert_kept(target, answer.text());
        }
    }
    for answer in &secrets.answers {
        secrets.assert_kept("an answer", answer);
    }
    for process in processes {
        let written = process.written().await;
        assert!(written.contains("DEBUG"), "it says what it does: {written}");
        secrets.assert_kept("the log", &written);
    }
    let cluster = settings.get("CLUSTER_NAME");
    for topic in [
        format!("{cluster}.state"),
        format!("{cluster}.commands"),
        settings.topic().to_owned(),
    ] {
        for (key, value) in kafka.records(&topic).await {
            secrets.assert_kept(&topic, &key.unwrap_or_default());
            secrets.assert_kept(&topic, &String::from_utf8_lossy(&value));
        }
    }
}
