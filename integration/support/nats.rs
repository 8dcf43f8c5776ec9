//! A NATS server for one test, and what others do with it.
//!
//! The program is Debian's package `nats-server`: installed, or fetched with `apt-get download` into the folder of the
//! tests, for which nobody has to be root.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::gateway::{Settings, eventually, unique};
use super::http::PATIENCE;
use super::kafka::{Unavailable, free_address, tests_dir};

/// Runs a server until standard input is closed, so that it never outlives the tests.
const RUN: &str = r#""$0" -c "$1" </dev/null & server=$!
trap 'kill -9 "$server" 2>/dev/null || true' EXIT
cat >/dev/null"#;

/// Fetches the package and unpacks it.
const FETCH: &str = r#"set -e
rm -rf "$0"; mkdir -p "$0"; cd "$0"
get() { apt-get download -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=20 nats-server; }
get || { [ "$(id -u)" = 0 ] && apt-get update -qq && get; }
dpkg -x nats-server_*.deb ."#;

/// Returns the path of the program.
pub fn program() -> Result<&'static Path, Unavailable> {
    static PROGRAM: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    let found = PROGRAM.get_or_init(|| {
        let fetched = tests_dir().join("nats-server");
        installed(&fetched).map_or_else(|| fetch(&fetched), Ok)
    });
    found.as_deref().map_err(Clone::clone)
}

fn installed(fetched: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path);
    let more = ["/usr/sbin", "/usr/local/bin"].map(PathBuf::from);
    folders
        .chain(more)
        .chain([fetched.join("usr/sbin")])
        .map(|folder| folder.join("nats-server"))
        .find(|program| program.is_file())
}

fn fetch(folder: &Path) -> Result<PathBuf, Unavailable> {
    let fetching = Command::new("bash")
        .args(["-c", FETCH])
        .arg(folder)
        .stdin(Stdio::null())
        .output();
    match fetching {
        Ok(output) if output.status.success() => {
            installed(folder).ok_or(Unavailable::NoProgram("nats-server"))
        }
        Ok(output) => Err(Unavailable::NotStarted(format!(
            "no nats-server, and the package cannot be fetched: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
        Err(_) => Err(Unavailable::NoProgram("nats-server")),
    }
}

/// Returns whether the tests with NATS run: where there is a server, or where it is said that nothing may be skipped.
pub fn is_there_or_required() -> bool {
    let is_required = std::env::var_os("FOREIGN_REQUIRE_ALL").is_some_and(|value| value == "1");
    match program() {
        Ok(_) => true,
        Err(missing) => {
            eprintln!("the tests with NATS are ignored: {missing}");
            is_required
        }
    }
}

/// A server with an address of its own.
#[derive(Debug)]
pub struct NatsServer {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl NatsServer {
    /// Starts a server that lets everybody in.
    pub async fn start() -> Self {
        let mut server = Self::stopped("");
        server.run().await;
        server
    }

    /// Makes a server that is not running yet, with more lines for its configuration.
    pub fn stopped(configuration: &str) -> Self {
        let folder = tests_dir().join(unique("nats"));
        std::fs::create_dir_all(&folder).unwrap();
        let port = free_address().port();
        let pid = folder.join("pid");
        let lines = format!("listen: \"127.0.0.1:{port}\"\npid_file: {pid:?}\n{configuration}\n");
        std::fs::write(folder.join("nats.conf"), lines).unwrap();
        Self {
            folder,
            port,
            child: None,
        }
    }

    /// Runs it and waits until it answers.
    pub async fn run(&mut self) {
        let program = program().unwrap_or_else(|why| panic!("{why}"));
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let child = Command::new("bash")
            .args(["-c", RUN])
            .arg(program)
            .arg(self.folder.join("nats.conf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
        eventually("the nats server answers", async || {
            let mut first = [0; 4];
            match TcpStream::connect(("127.0.0.1", self.port)).await {
                Ok(mut socket) => socket.read_exact(&mut first).await.is_ok() && &first == b"INFO",
                Err(_) => false,
            }
        })
        .await;
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    /// Freezes it: its sockets stay open and nothing is answered.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on after it was frozen.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.folder.join("pid")).unwrap();
        let status = Command::new("kill").arg(signal).arg(pid.trim()).status();
        assert!(status.unwrap().success(), "kill {signal} {pid}");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns these settings with this server.
    pub fn on(&self, settings: Settings) -> Settings {
        settings.with("NATS_SERVERS", format!("127.0.0.1:{}", self.port))
    }

    /// Connects a client of others.
    pub async fn client(&self) -> Client {
        self.client_with(ConnectOptions::new()).await
    }

    pub async fn client_with(&self, options: ConnectOptions) -> Client {
        let address = format!("127.0.0.1:{}", self.port);
        let connecting = tokio::time::timeout(PATIENCE, options.connect(address));
        connecting.await.expect("in time").expect("connects")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Subscribes, and returns once the server has the subscription: what is published from then on comes.
///
/// A flush would not do, since it tells only that the request was written. The server takes what comes over one
/// connection in its order: whoever gets a message to itself is subscribed to all that it asked for before.
pub async fn subscribe(client: &Client, subject: &str) -> Subscriber {
    let messages = client.subscribe(subject.to_owned()).await.unwrap();
    let inbox = client.new_inbox();
    let mut to_itself = client.subscribe(inbox.clone()).await.unwrap();
    client.publish(inbox, Bytes::new()).await.unwrap();
    next(&mut to_itself).await;
    messages
}

/// Returns the next message of a subscription.
pub async fn next(messages: &mut Subscriber) -> Message {
    let next = tokio::time::timeout(PATIENCE, messages.next()).await;
    next.expect("a message in time").expect("a subscription")
}

/// Publishes a message and returns the JSON of the reply; none where nobody listens or replies.
pub async fn ask(client: &Client, subject: &str, payload: impl Into<Bytes>) -> Option<Value> {
    ask_with(client, subject, HeaderMap::new(), payload).await
}

pub async fn ask_with(
    client: &Client,
    subject: &str,
    headers: HeaderMap,
    payload: impl Into<Bytes>,
) -> Option<Value> {
    let request = async_nats::Request::new()
        .headers(headers)
        .payload(payload.into())
        .timeout(Some(Duration::from_secs(10)));
    let reply: Message = client
        .send_request(subject.to_owned(), request)
        .await
        .ok()?;
    Some(serde_json::from_slice(&reply.payload).expect("JSON"))
}
