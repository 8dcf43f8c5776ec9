//! The release binary as a child process, with everything it writes in a temporary folder.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::event::EXTRACTORS;
use crate::producer;

/// How long an instance may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often is asked whether an instance is ready.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What all instances of a run have in common.
#[derive(Debug)]
pub(crate) struct Setup {
    dir: PathBuf,
    name: String,
    kafka: Option<String>,
    started: std::cell::Cell<u32>,
}

impl Setup {
    /// Makes the folder; without `kafka`, instances start their embedded brokers.
    fn new(kafka: Option<&str>) -> anyhow::Result<Self> {
        let name = format!("sluicegate-bench-{}", uuid::Uuid::new_v4().simple());
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        let kafka = kafka.map(str::to_owned);
        Ok(Self {
            dir,
            name,
            kafka,
            started: std::cell::Cell::new(0),
        })
    }

    /// Makes the folder of a run for `play`, and removes what both have left.
    pub(crate) async fn with<T>(
        kafka: Option<&str>,
        play: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let setup = Self::new(kafka)?;
        let played = play(&setup).await;
        if let Some(kafka) = kafka {
            let topics = setup.topics();
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            producer::delete(kafka, &names).await?;
        }
        played
    }

    /// Returns the folder, which goes with this.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns whether instances start their embedded brokers.
    pub(crate) const fn is_embedded(&self) -> bool {
        self.kafka.is_none()
    }

    /// Returns the topic that the events go to.
    pub(crate) fn topic(&self) -> String {
        self.named("events")
    }

    /// Returns the name of a topic of this run only.
    pub(crate) fn named(&self, what: &str) -> String {
        format!("{}.{what}", self.name)
    }

    /// Returns the topics that instances have made.
    fn topics(&self) -> [String; 3] {
        [self.topic(), self.named("state"), self.named("commands")]
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("could not remove {}: {error}", self.dir.display());
        }
    }
}

/// A running instance, stopped by its id when dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    public: SocketAddr,
    /// Open if there is a certificate.
    encrypted: SocketAddr,
    internal: SocketAddr,
    brokers: String,
    log: PathBuf,
}

impl Gateway {
    /// Starts an instance that has seen nothing yet, and waits until it is ready.
    pub(crate) async fn start(setup: &Setup) -> anyhow::Result<Self> {
        Self::start_with(setup, &[]).await
    }

    /// Starts an instance with further settings, and waits until it is ready.
    pub(crate) async fn start_with(
        setup: &Setup,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut gateway = Self::launch(setup, settings)?;
        // The first says that Kafka is read, the second that the public port is open.
        for path in ["/readyz", "/health"] {
            gateway.wait_for(path, ASK_EVERY).await?;
        }
        Ok(gateway)
    }

    /// Starts an instance with further settings, which is not ready yet.
    pub(crate) fn launch(setup: &Setup, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let number = setup.started.replace(setup.started.get() + 1);
        let [public, encrypted, internal, internal_encrypted, broker] = free_ports()?;
        let data = setup.dir.join(format!("data-{number}"));
        let log = setup.dir.join(format!("log-{number}"));
        let output = File::create(&log)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
        command
            // Settings of whoever starts the bench are not what is measured.
            .env_clear()
            .env("INBOUND_BIND_ADDRESS", "127.0.0.1")
            .env("INBOUND_PORT", public.port().to_string())
            .env("INBOUND_HTTPS_PORT", encrypted.port().to_string())
            .env("API_HTTPS_PORT", internal_encrypted.port().to_string())
            .env("API_HTTP_PORT", internal.port().to_string())
            .env("EMBEDDED_KAFKA_PORT", broker.port().to_string())
            .env("DATA_DIR", &data)
            .env("CLUSTER_NAME", &setup.name)
            .env("INSTANCE_ID", format!("bench-{number}"))
            .env("KAFKATOFILTER_KAFKA_GROUP_ID", &setup.name)
            .env("KAFKA_SOURCE_TOPICS", setup.topic())
            .env("EXTRACTORS", EXTRACTORS)
            .env("MAX_CONNECTIONS_PER_MINUTE", "0")
            .env("LOG_LEVEL", "warn")
            .envs(settings.iter().copied())
            .current_dir(&setup.dir)
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        if let Some(kafka) = &setup.kafka {
            command.env("KAFKA_BROKERS", kafka);
        }
        let child = command.spawn().context("could not start the binary")?;
        let brokers = setup.kafka.clone().unwrap_or_else(|| broker.to_string());
        Ok(Self {
            child,
            public,
            encrypted,
            internal,
            brokers,
            log,
        })
    }

    pub(crate) const fn public(&self) -> SocketAddr {
        self.public
    }

    pub(crate) const fn encrypted(&self) -> SocketAddr {
        self.encrypted
    }

    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the value of a metric, summed over the lines that contain `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        let mut socket = get(self.internal, "/metrics")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let lines = answer
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label));
        let values = lines.filter_map(|line| line.rsplit_once(' '));
        let sum: Result<f64, _> = values.map(|(_, value)| value.parse::<f64>()).sum();
        Ok(sum?)
    }

    /// Lets the process stand still until what is returned is dropped.
    pub(crate) fn freeze(&self) -> anyhow::Result<Frozen> {
        let pid = self.id();
        signal("STOP", pid)?;
        Ok(Frozen { pid })
    }

    /// Asks every so long until it answers with 200.
    pub(crate) async fn wait_for(&mut self, path: &str, every: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_ok(self.internal, path).unwrap_or(false) {
            if let Some(status) = self.child.try_wait()? {
                bail!("the binary ended with {status}:\n{}", tail(&self.log)?);
            }
            if Instant::now() > deadline {
                bail!("{path} did not say 200 in time:\n{}", tail(&self.log)?);
            }
            tokio::time::sleep(every).await;
        }
        Ok(())
    }
}

/// An instance that stands still until this is dropped.
#[derive(Debug)]
pub(crate) struct Frozen {
    pid: u32,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = signal("CONT", self.pid) {
            eprintln!("could not wake up the process {}: {error:#}", self.pid);
        }
    }
}

/// Sends a signal to a process of this run; `kill` is part of every shell.
fn signal(name: &str, pid: u32) -> anyhow::Result<()> {
    let script = format!("kill -{name} {pid}");
    let status = Command::new("sh").args(["-c", &script]).status()?;
    ensure!(status.success(), "{script}: {status}");
    Ok(())
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Nothing of it is needed any more, so it does not have to drain.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("could not stop the process {}: {error}", self.child.id());
        }
    }
}

/// Checks that brokers are on this machine: a load is no visitor for others.
pub(crate) fn on_loopback(brokers: &str) -> Result<String, String> {
    for broker in brokers.split(',') {
        let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        if host != "localhost" && !address.is_ok_and(|address| address.is_loopback()) {
            return Err(format!("{broker} is not on loopback"));
        }
    }
    Ok(brokers.to_owned())
}

/// Returns addresses that nobody listens on, all different.
fn free_ports<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let mut listeners = Vec::new();
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(addresses)
}

/// Sends a GET; returns where the answer is to be read.
fn get(server: SocketAddr, path: &str) -> std::io::Result<TcpStream> {
    let mut socket = TcpStream::connect_timeout(&server, Duration::from_secs(1))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    Ok(socket)
}

/// Returns whether a GET is answered with 200.
fn is_ok(server: SocketAddr, path: &str) -> std::io::Result<bool> {
    let mut socket = get(server, path)?;
    let mut status = [0; 12];
    socket.read_exact(&mut status)?;
    Ok(&status == b"HTTP/1.1 200")
}

/// Returns the end of a log.
fn tail(log: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(log)?;
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines
        .get(lines.len().saturating_sub(20)..)
        .unwrap_or_default()
        .join("\n"))
}
