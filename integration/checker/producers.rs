//! Those who produce: straight to Kafka, and over HTTP through the instances.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::event::{EventId, PARTITIONS};
use super::findings::{Finding, Kind};
use super::instances::{Cluster, Instance};
use super::ledger::Ledger;
use super::options::Options;
use super::random::Random;

/// How many keys each producer to Kafka writes: one for each partition and some more.
pub const KEYS_OF_PRODUCER: u16 = 16;
/// How long a submitter waits for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// How long a submitter waits between two events.
const PAUSE: Duration = Duration::from_millis(20);
/// How often a producer to Kafka looks whether it is time to send.
const TICK: Duration = Duration::from_millis(10);

/// The producers of a run, while they run.
#[derive(Debug)]
pub struct Producers {
    is_stopping: Arc<AtomicBool>,
    tasks: JoinSet<Vec<Finding>>,
}

/// Returns how many keys there are in all.
pub fn keys(options: &Options) -> u16 {
    options.producers * KEYS_OF_PRODUCER + options.submitters()
}

impl Producers {
    /// Starts all producers.
    ///
    /// # Errors
    /// Where a Kafka client cannot be made.
    pub fn start(
        options: &Options,
        cluster: &Cluster,
        ledger: &Ledger,
        instances: &Arc<Vec<Arc<Instance>>>,
    ) -> anyhow::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..options.producers {
            let writer = Writer {
                client: client(cluster)?,
                topic: cluster.topic(),
                seed: options.seed,
                padding: options.padding,
                ledger: ledger.clone(),
            };
            let first = number * KEYS_OF_PRODUCER;
            let rate = f64::from(options.rate) / f64::from(options.producers);
            tasks.spawn(write(writer, first, rate, Arc::clone(&is_stopping)));
        }
        for number in 0..options.submitters() {
            let submitter = Submitter {
                key: options.producers * KEYS_OF_PRODUCER + number,
                seed: options.seed,
                padding: options.padding,
                ledger: ledger.clone(),
                instances: Arc::clone(instances),
                random: Random::of(options.seed, "submitter", usize::from(number)),
            };
            tasks.spawn(submit(submitter, Arc::clone(&is_stopping)));
        }
        Ok(Self { is_stopping, tasks })
    }

    /// Ends when the outcome of each event is known, as far as it ever will be.
    pub async fn stop(mut self) -> Vec<Finding> {
        self.is_stopping.store(true, Ordering::Relaxed);
        let mut findings = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            findings.extend(ended.expect("no panic"));
        }
        findings
    }
}

/// Writes the last event of each partition.
///
/// # Errors
/// Where Kafka does not take it in time.
pub async fn write_ends(options: &Options, cluster: &Cluster) -> anyhow::Result<()> {
    let client = client(cluster)?;
    for partition in 0..PARTITIONS {
        let event = EventId::end_of(partition).to_json(options.seed, 0);
        let topic = cluster.topic();
        let record = FutureRecord::<str, str>::to(&topic)
            .partition(i32::try_from(partition)?)
            .payload(&event);
        let written = client.send(record, Duration::from_secs(30)).await;
        written
            .map_err(|(error, _)| error)
            .context("the last event cannot be written")?;
    }
    Ok(())
}

/// Makes a client as careful backends have it: acknowledged by all, each record once, in order.
fn client(cluster: &Cluster) -> anyhow::Result<FutureProducer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &cluster.brokers)
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("message.timeout.ms", "60000");
    if cluster.is_idempotent {
        config.set("enable.idempotence", "true");
    } else {
        config
            .set("max.in.flight.requests.per.connection", "1")
            .set("retries", "0");
    }
    Ok(config.create()?)
}

struct Writer {
    client: FutureProducer,
    topic: String,
    seed: u64,
    padding: usize,
    ledger: Ledger,
}

/// Writes the keys from `first` in turn, so many events a second, without waiting for each report.
async fn write(
    writer: Writer,
    first: u16,
    rate: f64,
    is_stopping: Arc<AtomicBool>,
) -> Vec<Finding> {
    let begun = Instant::now();
    let mut reports = JoinSet::new();
    let mut turn = 0_u16;
    let mut sent = 0.0;
    while !is_stopping.load(Ordering::Relaxed) {
        tokio::time::sleep(TICK).await;
        while sent < begun.elapsed().as_secs_f64() * rate {
            writer.send(first + turn, &mut reports).await;
            turn = (turn + 1) % KEYS_OF_PRODUCER;
            sent += 1.0;
        }
        while reports.try_join_next().is_some() {}
    }
    while reports.join_next().await.is_some() {}
    Vec::new()
}

impl Writer {
    async fn send(&self, key: u16, reports: &mut JoinSet<()>) {
        let id = self.ledger.send(key);
        let event = id.to_json(self.seed, self.padding);
        let name = key.to_string();
        loop {
            let record = FutureRecord::to(&self.topic)
                .partition(i32::from(key) % PARTITIONS as i32)
                .key(&name)
                .payload(&event);
            match self.client.send_result(record) {
                Ok(report) => {
                    let ledger = self.ledger.clone();
                    reports.spawn(async move {
                        // An event that is not acknowledged is not sent again: it may be there or not.
                        if let Ok(Ok(delivered)) = report.await {
                            let place = (delivered.partition as u32, delivered.offset);
                            ledger.acknowledge(id, Some(place));
                        }
                    });
                    return;
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    tokio::time::sleep(TICK).await;
                }
                Err(_) => return,
            }
        }
    }
}

struct Submitter {
    key: u16,
    seed: u64,
    padding: usize,
    ledger: Ledger,
    instances: Arc<Vec<Arc<Instance>>>,
    random: Random,
}

/// Submits one event after the other, each to some instance.
async fn submit(mut submitter: Submitter, is_stopping: Arc<AtomicBool>) -> Vec<Finding> {
    let mut findings = Vec::new();
    while !is_stopping.load(Ordering::Relaxed) {
        tokio::time::sleep(PAUSE).await;
        let instance = submitter.random.below(submitter.instances.len());
        let address = submitter.instances[instance].proxy.address();
        let id = submitter.ledger.send(submitter.key);
        let event = id.to_json(submitter.seed, submitter.padding);
        let answer = tokio::time::timeout(ANSWER_LIMIT, post(address, &event)).await;
        match answer {
            Ok(Ok(Some(202))) => submitter.ledger.acknowledge(id, None),
            // Unknown: the connection was cut, or Kafka is away.
            Ok(Ok(None | Some(503 | 504)) | Err(_)) | Err(_) => {}
            Ok(Ok(Some(status))) => {
                let what = format!("instance {instance} answered event {id} with {status}");
                findings.push(Finding::new(Kind::Refused, what));
            }
        }
    }
    findings
}

/// Submits an event; returns the status, if a whole status line came.
async fn post(address: SocketAddr, event: &str) -> std::io::Result<Option<u16>> {
    let mut socket = TcpStream::connect(address).await?;
    let head = format!(
        "POST /_rig/v1/events HTTP/1.1\r\nhost: checker\r\nconnection: close\r\n\
         content-type: application/cloudevents+json\r\ncontent-length: {}\r\n\r\n",
        event.len()
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(event.as_bytes()).await?;
    let mut answer = Vec::new();
    let _cut = socket.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    let status = text
        .split_once("\r\n")
        .and_then(|(line, _)| line.split(' ').nth(1)?.parse().ok());
    Ok(status)
}
