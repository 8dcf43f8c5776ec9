//! The brokers that the tests run against: a real Apache Kafka, and the embedded one.
//!
//! Each is a child process, started once per run, or for one test that breaks it. A child ends when
//! its standard input is closed, hence also when the tests are killed.
//! `SLUICEGATE_TEST_KAFKA=host:port` names a running Kafka to use instead of a child.

use std::fmt;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use clap::Parser as _;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use sluicegate::kafka::{BrokerList, EmbeddedBroker, KafkaConfig, TopicSpec, ensure_topics};
use tokio::runtime::Runtime;

use super::gateway::unique;

/// The first argument that makes the test binary an embedded broker.
const SERVE: &str = "serve-embedded-broker";

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Apache Kafka from Maven's jars.
    Apache,
    /// The embedded broker, in a process of its own.
    Embedded,
}

/// Why there is no broker of a kind.
#[derive(Debug, Clone)]
pub enum Unavailable {
    /// A program is missing.
    NoProgram(&'static str),
    /// It was started and did not answer in time.
    NotStarted(String),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram(program) => write!(f, "no {program} on this machine"),
            Self::NotStarted(why) => write!(f, "the broker did not start: {why}"),
        }
    }
}

/// A running broker.
pub struct Kafka {
    backend: Backend,
    address: SocketAddr,
    dir: PathBuf,
    /// Set for one broker of several.
    membership: Option<Membership>,
    /// `None` for a broker that somebody else runs.
    child: Option<Child>,
}

/// What makes an Apache Kafka one broker of several.
#[derive(Debug, Clone)]
pub struct Membership {
    /// The id of their cluster, which is the base64 of 16 bytes.
    pub cluster_id: String,
    /// The port of its controller.
    pub controller: u16,
    /// Its further properties, as `KEY=VALUE`.
    pub properties: Vec<String>,
}

#[derive(clap::Parser)]
struct Settings {
    #[command(flatten)]
    kafka: KafkaConfig,
}

/// Returns the broker of the run, which is started at the first call.
pub fn of_run(backend: Backend) -> Result<&'static Kafka, Unavailable> {
    static APACHE: OnceLock<Result<Kafka, Unavailable>> = OnceLock::new();
    static EMBEDDED: OnceLock<Result<Kafka, Unavailable>> = OnceLock::new();
    let cell = if backend == Backend::Apache {
        &APACHE
    } else {
        &EMBEDDED
    };
    let given = std::env::var_os("SLUICEGATE_TEST_KAFKA").filter(|_| backend == Backend::Apache);
    let started = cell.get_or_init(|| match given {
        Some(address) => Ok(Kafka {
            backend,
            address: address
                .to_string_lossy()
                .parse()
                .expect("SLUICEGATE_TEST_KAFKA is IP:PORT"),
            dir: PathBuf::new(),
            membership: None,
            child: None,
        }),
        None => Kafka::start(backend),
    });
    started.as_ref().map_err(Clone::clone)
}

/// Becomes an embedded broker if the arguments say so: `serve-embedded-broker DIR ADDRESS`.
pub fn serve_if_asked() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, first, dir, address] = arguments.as_slice() else {
        return;
    };
    if first != SERVE {
        return;
    }
    let address = address.parse().expect("an address");
    let broker = EmbeddedBroker::start(Path::new(dir), address).expect("the broker starts");
    std::fs::write(Path::new(dir).join("pid"), std::process::id().to_string()).expect("a pid file");
    let mut until_closed = Vec::new();
    std::io::stdin()
        .read_to_end(&mut until_closed)
        .expect("standard input is readable");
    broker.stop();
    std::process::exit(0);
}

impl Kafka {
    /// Starts a broker in a folder of its own.
    fn start(backend: Backend) -> Result<Self, Unavailable> {
        let mut kafka = Self::not_running(backend);
        kafka.run()?;
        Ok(kafka)
    }

    /// Makes a broker for one test that is not running yet.
    pub fn not_running(backend: Backend) -> Self {
        let dir = tests_dir().join(unique("broker"));
        std::fs::create_dir_all(&dir).expect("a folder for the broker");
        Self {
            backend,
            address: free_address(),
            dir,
            membership: None,
            child: None,
        }
    }

    /// Makes an Apache Kafka that is one of several and not running yet.
    pub fn member(membership: Membership) -> Self {
        let mut kafka = Self::not_running(Backend::Apache);
        kafka.membership = Some(membership);
        kafka
    }

    /// Runs the broker and waits until it answers; after a kill, with the same data and address.
    pub fn run(&mut self) -> Result<(), Unavailable> {
        let _old = std::fs::remove_file(self.dir.join("pid"));
        let log = std::fs::File::create(self.dir.join("log")).expect("a log file");
        let mut command = match self.backend {
            Backend::Apache => self.apache_command()?,
            Backend::Embedded => {
                let mut command = Command::new(std::env::current_exe().expect("a test binary"));
                command
                    .arg(SERVE)
                    .arg(&self.dir)
                    .arg(self.address.to_string());
                command
            }
        };
        let child = command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        self.child = Some(
            child
                .spawn()
                .map_err(|error| Unavailable::NotStarted(error.to_string()))?,
        );
        self.wait_until_up()
    }

    fn apache_command(&self) -> Result<Command, Unavailable> {
        if let Some(missing) = missing_programs() {
            return Err(missing);
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/kafka/start.sh");
        let membership = self.membership.as_ref();
        let controller = membership.map_or_else(|| free_address().port(), |own| own.controller);
        let mut command = Command::new("bash");
        command
            .arg(script)
            .arg(&self.dir)
            .arg(tests_dir().join("kafka-libs"))
            .arg(self.address.port().to_string())
            .arg(controller.to_string());
        if let Some(own) = membership {
            command
                .args(&own.properties)
                .env("KAFKA_CLUSTER_ID", &own.cluster_id)
                .env("KAFKA_HEAP", "256m");
        }
        Ok(command)
    }

    fn wait_until_up(&self) -> Result<(), Unavailable> {
        let deadline = Instant::now() + Duration::from_secs(120);
        let runtime = runtime();
        let config = self.config("probe");
        while Instant::now() < deadline {
            let is_listening =
                self.dir.join("pid").exists() && TcpStream::connect(self.address).is_ok();
            let probe = [spec("probe", 1)];
            if is_listening && runtime.block_on(ensure_topics(&config, &probe)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        Err(Unavailable::NotStarted(
            log.chars()
                .rev()
                .take(2000)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect(),
        ))
    }

    /// Kills the broker as by kill -9.
    pub fn kill(&mut self) {
        self.signal("KILL");
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            child.wait().expect("the broker's parent ends");
        }
    }

    /// Freezes the broker: its sockets stay open and nothing is answered.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen broker go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.dir.join("pid")).expect("the broker's pid");
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(pid.trim())
            .status();
        assert!(status.expect("kill runs").success(), "kill -{name} {pid}");
    }

    /// Returns which broker this is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the settings for an instance of this name, in a cluster of the same name as the test's.
    pub fn config(&self, instance: &str) -> KafkaConfig {
        let arguments = [
            "sluicegate",
            "--instance-id",
            instance,
            "--cluster-name",
            "tests",
        ];
        let config = Settings::parse_from(arguments).kafka;
        let brokers: BrokerList = self
            .address
            .to_string()
            .parse()
            .expect("an address is a broker");
        match self.backend {
            Backend::Apache => KafkaConfig {
                kafka_brokers: brokers,
                ..config
            },
            Backend::Embedded => config.with_embedded(self.address),
        }
    }

    /// Creates a topic.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        let created = runtime().block_on(ensure_topics(
            &self.config("admin"),
            &[spec(name, partitions)],
        ));
        created.expect("the topic is created");
    }

    /// Deletes a topic.
    pub fn delete_topic(&self, name: &str) {
        let deleted = runtime().block_on(self.admin().delete_topics(&[name], &AdminOptions::new()));
        deleted
            .expect("kafka answers")
            .pop()
            .expect("a result")
            .expect("the topic is deleted");
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config("admin")
            .client()
            .create()
            .expect("an admin client")
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Closing the input ends it; a frozen one has to be killed.
            drop(child.stdin.take());
            if let Ok(pid) = std::fs::read_to_string(self.dir.join("pid")) {
                let _ended = Command::new("kill")
                    .arg("-9")
                    .arg(pid.trim())
                    .stderr(Stdio::null())
                    .status();
            }
            let _status = child.wait();
            let _removed = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// Returns a small runtime.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn spec(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions,
        config: Vec::new(),
    }
}

/// Returns the folder for what tests write.
pub fn tests_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Returns which program is missing for a real Apache Kafka; none where one runs already.
pub fn missing_programs() -> Option<Unavailable> {
    if std::env::var_os("SLUICEGATE_TEST_KAFKA").is_some() {
        return None;
    }
    let is_missing = |program: &&str| {
        let mut command = Command::new(program);
        command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
    };
    ["bash", "java", "mvn"]
        .into_iter()
        .find(is_missing)
        .map(Unavailable::NoProgram)
}

/// Finds a free port, of those that the system does not give to whoever asks for any: a broker that
/// is started late, or again, has to get it.
pub fn free_address() -> SocketAddr {
    let random = uuid::Uuid::new_v4().as_u64_pair().0;
    (0..1000)
        .map(|step| {
            12_000 + u16::try_from((random % 20_000 + step) % 20_000).expect("less than 20,000")
        })
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a free port")
}
