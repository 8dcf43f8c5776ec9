//! The real program as a process: what a kill and a signal leave behind.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::gateway::{Settings, event, eventually, query};
use crate::support::http;
use crate::support::kafka::Kafka;
use crate::support::sse::Sse;

/// The program, running.
struct Process {
    child: Child,
    public: SocketAddr,
    internal: SocketAddr,
}

impl Process {
    async fn start(settings: &Settings) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
            .env_clear()
            .envs(settings.pairs())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let address =
            |name| SocketAddr::from(([127, 0, 0, 1], settings.get(name).parse().unwrap()));
        let process = Self {
            child,
            public: address("INBOUND_PORT"),
            internal: address("API_HTTP_PORT"),
        };
        eventually("the program is ready", async || {
            tokio::net::TcpStream::connect(process.internal)
                .await
                .is_ok()
                && http::request(process.internal, "GET", "/readyz", &[], b"")
                    .await
                    .status
                    == 200
                && tokio::net::TcpStream::connect(process.public).await.is_ok()
        })
        .await;
        process
    }

    async fn publish(&self, id: u32) {
        let mut event = event("t", &id.to_string(), json!(id));
        event["partitionkey"] = json!("one");
        let headers = [("content-type", "application/json")];
        let body = event.to_string();
        let path = "/_rig/v1/events";
        let answer = http::request(self.public, "POST", path, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn settings(kafka: &Kafka) -> Settings {
    let free = || {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
    };
    Settings::new(kafka)
        .with("INBOUND_PORT", free().to_string())
        .with("API_HTTP_PORT", free().to_string())
        .with("INSTANCE_ID", crate::support::gateway::unique("process"))
}

pub async fn kill_9_of_the_instance(kafka: &Kafka) {
    let settings = settings(kafka);
    let process = Process::start(&settings).await;
    let wanted = query(&json!([{ "eventType": "t" }]));
    let mut stream = Sse::open(process.public, &wanted, &[]).await;
    stream.subscribed().await;
    for id in 0..10 {
        process.publish(id).await;
    }
    assert_eq!(stream.ids(4).await, ["0", "1", "2", "3"]);
    let cursor = stream.last_event_id.clone().unwrap();
    drop(process);
    let process = Process::start(&settings).await;
    let headers = [("last-event-id", cursor.as_str())];
    let mut stream = Sse::open(process.public, &wanted, &headers).await;
    stream.subscribed().await;
    process.publish(10).await;
    assert_eq!(stream.ids(7).await, ["4", "5", "6", "7", "8", "9", "10"]);
}

pub async fn a_signal_to_end_with_status_0(kafka: &Kafka) {
    let settings = settings(kafka);
    let mut process = Process::start(&settings).await;
    let mut stream = Sse::open(process.public, "", &[]).await;
    stream.subscribed().await;
    let kill = Command::new("kill")
        .arg(process.child.id().to_string())
        .status()
        .unwrap();
    assert!(kill.success());
    let ended = async { while stream.block().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(15), ended)
        .await
        .expect("the stream ends in time");
    let mut status = None;
    eventually("the program ends", async || {
        status = process.child.try_wait().unwrap();
        status.is_some()
    })
    .await;
    let mut log = String::new();
    process
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert_eq!(status.unwrap().code(), Some(0), "{log}");
}
