//! The real program as a process.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::gateway::{Settings, eventually, unique, within};
use super::http::{self, Answer};
use super::kafka::{Kafka, free_address};

/// The program, running.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The file that it writes its log to; none where nobody looks at it.
    log: Option<PathBuf>,
    pub public: SocketAddr,
    pub internal: SocketAddr,
}

impl Process {
    /// Starts an instance with the settings of [`settings`] and waits until it is ready.
    pub async fn start(settings: &Settings) -> Self {
        let process = Self::spawn(settings, program(settings, &[]), None);
        process.ready().await;
        process
    }

    /// Like [`Process::start`], where no file may grow over so many KiB: the next byte is refused as
    /// by a full disk.
    pub async fn start_on_full_disk(settings: &Settings, file_kib: u32) -> Self {
        let mut command = Command::new("bash");
        // Who ignores the signal gets an error from the write instead.
        let limit = format!("trap '' XFSZ; ulimit -f {file_kib}; exec \"$0\"");
        command
            .args(["-c", &limit, env!("CARGO_BIN_EXE_sluicegate")])
            .env_clear()
            .envs(settings.pairs())
            .stderr(Stdio::piped());
        let process = Self::spawn(settings, command, Some(log_file()));
        process.ready().await;
        process
    }

    /// Starts an instance and does not wait.
    pub fn start_unready(settings: &Settings) -> Self {
        Self::spawn(settings, program(settings, &[]), Some(log_file()))
    }

    fn spawn(settings: &Settings, mut command: Command, log: Option<PathBuf>) -> Self {
        let output = log.as_ref().map_or_else(Stdio::null, |log| {
            std::fs::File::create(log).unwrap().into()
        });
        let child = command.stdout(output).spawn().unwrap();
        let address =
            |name| SocketAddr::from(([127, 0, 0, 1], settings.get(name).parse().unwrap()));
        Self {
            child,
            log,
            public: address("INBOUND_PORT"),
            internal: address("API_HTTP_PORT"),
        }
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        eventually("the program is ready", async || {
            tokio::net::TcpStream::connect(self.internal).await.is_ok()
                && self.status("/readyz").await == 200
                && tokio::net::TcpStream::connect(self.public).await.is_ok()
        })
        .await;
    }

    /// Returns the status of an internal path.
    pub async fn status(&self, path: &str) -> u16 {
        http::request(self.internal, "GET", path, &[], b"")
            .await
            .status
    }

    /// Submits an event and asserts that it was taken.
    pub async fn publish(&self, event: &Value) {
        let answer = self.submit(event).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }

    /// Submits an event.
    pub async fn submit(&self, event: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        let body = event.to_string();
        let path = "/_rig/v1/events";
        http::request(self.public, "POST", path, &headers, body.as_bytes()).await
    }

    /// Asks it to end, as by kill.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Freezes it: its sockets stay open and nothing is answered.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after it was frozen.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}"))
            .arg(self.child.id().to_string());
        assert!(kill.status().unwrap().success());
    }

    /// Returns its log, where it was started with one.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.as_ref().expect("a log")).unwrap()
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

    /// Ends it, and returns all that it has written, where it was started with a log.
    pub async fn written(mut self) -> String {
        self.terminate();
        eventually("the program ends", async || {
            self.child.try_wait().unwrap().is_some()
        })
        .await;
        let mut written = self.log();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut written).unwrap();
        written
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
        if let Some(log) = &self.log {
            let _removed = std::fs::remove_file(log);
        }
    }
}

fn log_file() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(unique("log"))
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

/// Gives an instance ports of its own.
pub fn on_free_ports(settings: Settings) -> Settings {
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
