//! The instances: children of the real program that are killed, ended, frozen and started again.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::event::{PARTITIONS, extractors};
use super::options::Options;
use super::proxy::Proxy;
use super::random::Random;

/// How long an instance may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long an instance may take to end (the drain, and what it waits for Kafka).
const END_PATIENCE: Duration = Duration::from_secs(20);

/// One instance and the proxy before it.
#[derive(Debug)]
pub struct Instance {
    pub number: usize,
    pub proxy: Proxy,
    internal: SocketAddr,
    variables: Vec<(String, String)>,
    log: PathBuf,
    child: Mutex<Option<Child>>,
    /// Held by whoever breaks it.
    pub broken: tokio::sync::Mutex<()>,
}

/// Which Kafka, and the names of everything in it.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub brokers: String,
    /// Whether Kafka keeps a record that was sent again from being written again.
    pub is_idempotent: bool,
    pub name: String,
    /// A folder for what instances write.
    pub dir: PathBuf,
}

impl Cluster {
    pub fn topic(&self) -> String {
        format!("{}.events", self.name)
    }
}

impl Instance {
    /// Prepares an instance that does not run yet.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn new(number: usize, cluster: &Cluster, options: &Options) -> anyhow::Result<Self> {
        let mut ports = Random::of(u64::from(std::process::id()), &cluster.name, number);
        let (public, internal) = (free_port(&mut ports)?, free_port(&mut ports)?);
        // A planted bug has to be the only thing that happens.
        let percent = match options.plant {
            Some(_) => 0,
            None => usize::from(options.cut_percent),
        };
        let random = Random::of(options.seed, "proxy", number);
        let within = usize::try_from(options.cut_within)?;
        let proxy = Proxy::start(public, random, percent, within).await?;
        Ok(Self {
            number,
            proxy,
            internal,
            variables: variables(number, cluster, options, public, internal),
            log: cluster.dir.join(format!("instance-{number}.log")),
            child: Mutex::new(None),
            broken: tokio::sync::Mutex::default(),
        })
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// Where the program cannot be started.
    pub fn start(&self) -> anyhow::Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let child = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the program cannot be started")?;
        *self.child.lock() = Some(child);
        Ok(())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// Where it ends, or is not ready in time.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for path in ["/readyz", "/health"] {
            while !is_ok(self.internal, path).await {
                self.runs()?;
                let number = self.number;
                ensure!(
                    Instant::now() < deadline,
                    "instance {number}: {path} does not say 200\n{}",
                    tail(&self.log)
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Checks that it runs.
    ///
    /// # Errors
    /// Where it has ended by itself.
    pub fn runs(&self) -> anyhow::Result<()> {
        let mut child = self.child.lock();
        let status = match child.as_mut() {
            Some(child) => child.try_wait()?,
            None => None,
        };
        if let Some(status) = status {
            *child = None;
            anyhow::bail!(
                "instance {} ended with {status}\n{}",
                self.number,
                tail(&self.log)
            );
        }
        Ok(())
    }

    /// Kills it as by kill -9.
    ///
    /// # Errors
    /// Where it has ended by itself before.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.runs()?;
        if let Some(mut child) = self.child.lock().take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Where it has ended by itself before.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        self.runs()?;
        if let Some(child) = self.child.lock().as_ref() {
            let mut kill = Command::new("kill");
            kill.arg(format!("-{name}")).arg(child.id().to_string());
            ensure!(kill.status()?.success(), "kill -{name} failed");
        }
        Ok(())
    }

    /// Waits until it has ended after it was told to.
    ///
    /// # Errors
    /// Where it does not end in time, or with a status but 0.
    pub async fn ended(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + END_PATIENCE;
        loop {
            let status: Option<ExitStatus> = match self.child.lock().as_mut() {
                Some(child) => child.try_wait()?,
                None => return Ok(()),
            };
            let number = self.number;
            if let Some(status) = status {
                *self.child.lock() = None;
                ensure!(
                    status.success(),
                    "instance {number} was told to end and did with {status}"
                );
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "instance {number} does not end within {END_PATIENCE:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().take() {
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}

fn variables(
    number: usize,
    cluster: &Cluster,
    options: &Options,
    public: SocketAddr,
    internal: SocketAddr,
) -> Vec<(String, String)> {
    let mut variables = vec![
        ("KAFKA_BROKERS", cluster.brokers.clone()),
        ("KAFKA_SOURCE_TOPICS", cluster.topic()),
        ("KAFKA_SOURCE_PARTITIONS", PARTITIONS.to_string()),
        ("KAFKATOFILTER_KAFKA_GROUP_ID", cluster.name.clone()),
        ("CLUSTER_NAME", cluster.name.clone()),
        ("INSTANCE_ID", format!("instance-{number}")),
        ("INBOUND_BIND_ADDRESS", "127.0.0.1".to_owned()),
        ("INBOUND_PORT", public.port().to_string()),
        ("API_HTTP_PORT", internal.port().to_string()),
        ("SHUTDOWN_GRACE", "1s".to_owned()),
        ("HEARTBEAT_INTERVAL", "2s".to_owned()),
        ("LONGPOLL_TIMEOUT", "2s".to_owned()),
        ("PRODUCE_TIMEOUT", "5s".to_owned()),
        ("SHARDS", "2".to_owned()),
        ("REPLAY_RING_BYTES", options.ring.clone()),
        ("OUTBOX_BYTES", options.outbox.clone()),
        ("MAX_CONNECTIONS_PER_MINUTE", "0".to_owned()),
        ("EXTRACTORS", extractors()),
    ];
    if !cluster.is_idempotent {
        // What the program does for an embedded broker of its own, which here is another process'.
        let properties = "enable.idempotence=false,max.in.flight.requests.per.connection=1";
        variables.push(("KAFKA_PROPERTIES", properties.to_owned()));
    }
    let owned = variables.into_iter();
    owned
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Finds a port that nobody listens on and that the kernel gives to no outgoing connection: a killed
/// instance must get it again.
fn free_port(random: &mut Random) -> anyhow::Result<SocketAddr> {
    for _ in 0..1000 {
        let port = 10_000 + u16::try_from(random.below(20_000))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no free port")
}

/// Returns whether a GET is answered with 200 within a second.
async fn is_ok(server: SocketAddr, path: &str) -> bool {
    let ask = async {
        let mut socket = TcpStream::connect(server).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        socket.read_exact(&mut status).await?;
        Ok::<bool, std::io::Error>(&status == b"HTTP/1.1 200")
    };
    let answer = tokio::time::timeout(Duration::from_secs(1), ask).await;
    matches!(answer, Ok(Ok(true)))
}

/// Returns the end of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
