//! The real program as a process.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::gateway::{Settings, eventually, unique, within};
use super::http;
use super::kafka::{Kafka, free_address};

/// The program, running.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pub public: SocketAddr,
    pub internal: SocketAddr,
}

impl Process {
    /// Starts an instance with the settings of [`settings`] and waits until it is ready.
    pub async fn start(settings: &Settings) -> Self {
        let child = program(settings, &[])
            .stdout(Stdio::null())
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

    /// Submits an event and asserts that it was taken.
    pub async fn publish(&self, event: &Value) {
        let headers = [("content-type", "application/json")];
        let body = event.to_string();
        let path = "/_rig/v1/events";
        let answer = http::request(self.public, "POST", path, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }

    /// Asks it to end, as by kill.
    pub fn terminate(&self) {
        let mut kill = Command::new("kill");
        let status = kill.arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end and returns its status and what it wrote to standard error.
    pub async fn end(mut self) -> (Option<i32>, String) {
        let mut status = None;
        eventually("the program ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        (status.unwrap().code(), log)
    }

    /// Returns how much memory it uses, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        kib.unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    /// Kills it as by kill -9.
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Returns settings for an instance in a process of its own.
pub fn settings(kafka: &Kafka) -> Settings {
    on_free_ports(Settings::new(kafka)).with("INSTANCE_ID", unique("process"))
}

/// Returns settings for an instance with the embedded broker, its data in a folder that is not there.
pub fn settings_embedded() -> Settings {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(unique("data"));
    on_free_ports(Settings::empty())
        .with("DATA_DIR", folder.to_str().unwrap())
        .with("EMBEDDED_KAFKA_PORT", free_address().port().to_string())
        .with("SHUTDOWN_GRACE", "1s")
}

fn on_free_ports(settings: Settings) -> Settings {
    settings
        .with("INBOUND_PORT", free_address().port().to_string())
        .with("API_HTTP_PORT", free_address().port().to_string())
}

/// Runs the program up to its end, at most `limit`.
pub async fn run(settings: &Settings, arguments: &[&str], limit: Duration) -> Output {
    let mut child = program(settings, arguments).spawn().unwrap();
    let mut is_ended = false;
    let ended = within(limit, "the program ends", async || {
        is_ended = child.try_wait().unwrap().is_some();
        is_ended
    });
    ended.await;
    child.wait_with_output().unwrap()
}

fn program(settings: &Settings, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    command
        .args(arguments)
        .env_clear()
        .envs(settings.pairs())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
