//! One run, from the first instance to the verdict.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clients::{Client, Phase, World};
use super::faults::{Done, Faults};
use super::findings::Finding;
use super::history::History;
use super::instances::{Cluster, Instance};
use super::ledger::Ledger;
use super::log::Log;
use super::options::Options;
use super::producers::{Producers, keys, write_ends};
use super::report::Report;
use super::verdict;
use crate::support::records::OwnKafka;

/// How long clients may take to reach the end after everything is healed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the checker; `own` is a Kafka that may be broken.
///
/// # Errors
/// Where the run cannot be made. What is wrong with a history is a finding, not an error.
pub async fn run(
    options: &Options,
    cluster: &Cluster,
    own: Option<Arc<OwnKafka>>,
) -> anyhow::Result<Report> {
    std::fs::create_dir_all(&cluster.dir)?;
    let instances = start_instances(options, cluster).await?;
    let ledger = Ledger::new(keys(options));
    let (phase, watched) = watch::channel(Phase::Storm);
    let clients = start_clients(options, cluster, &instances, watched);
    let producers = Producers::start(options, cluster, &ledger, &instances)?;
    let faults = Faults::new(Arc::clone(&instances), own);
    let mut done = if options.plant.is_some() {
        tokio::time::sleep(options.duration()).await;
        Done::default()
    } else {
        faults.run(options).await
    };
    done.findings.extend(producers.stop().await);
    let cuts = instances.iter().map(|instance| instance.proxy.cuts()).sum();
    for instance in instances.iter() {
        instance.proxy.calm();
    }
    phase.send_replace(Phase::Calm);
    write_ends(options, cluster).await?;
    let histories = finish(clients, &phase).await;
    let (brokers, topic, seed) = (cluster.brokers.clone(), cluster.topic(), options.seed);
    let log = tokio::task::spawn_blocking(move || Log::read(&brokers, &topic, seed)).await??;
    Ok(Report {
        seed,
        duration: options.duration(),
        kafka: if cluster.is_idempotent {
            "Apache Kafka"
        } else {
            "embedded broker"
        },
        instances: instances.len(),
        clients: histories.len(),
        faults: done.counts,
        cuts,
        produced: ledger.sent(),
        acknowledged: ledger.acknowledged(),
        written: log.partitions.iter().map(Vec::len).sum(),
        repeated: log.repeated(),
        delivered: histories.iter().map(|history| history.receipts.len()).sum(),
        connections: histories
            .iter()
            .map(|history| history.connections.len())
            .sum(),
        shown: options.show,
        findings: findings(done.findings, &ledger, &log, &histories),
    })
}

async fn start_instances(
    options: &Options,
    cluster: &Cluster,
) -> anyhow::Result<Arc<Vec<Arc<Instance>>>> {
    let mut instances = Vec::new();
    for number in 0..usize::from(options.instances) {
        let instance = Instance::new(number, cluster, options).await?;
        instance.start()?;
        instances.push(Arc::new(instance));
    }
    for instance in &instances {
        instance.ready().await?;
    }
    Ok(Arc::new(instances))
}

fn start_clients(
    options: &Options,
    cluster: &Cluster,
    instances: &Arc<Vec<Arc<Instance>>>,
    phase: watch::Receiver<Phase>,
) -> JoinSet<History> {
    let world = Arc::new(World {
        seed: options.seed,
        topic: cluster.topic(),
        keys: keys(options),
        instances: Arc::clone(instances),
        phase,
        plant: options.plant,
        earliest: options.earliest,
    });
    let numbers = 0..usize::from(options.clients);
    numbers
        .map(|number| Client::new(number, &world).run())
        .collect()
}

/// Waits until the clients have everything, or it is too late.
async fn finish(mut clients: JoinSet<History>, phase: &watch::Sender<Phase>) -> Vec<History> {
    let mut histories = Vec::new();
    let all = async {
        while let Some(history) = clients.join_next().await {
            histories.push(history.expect("no panic"));
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, all).await;
    if in_time.is_err() {
        phase.send_replace(Phase::Over);
        while let Some(history) = clients.join_next().await {
            histories.push(history.expect("no panic"));
        }
    }
    histories
}

fn findings(
    mut findings: Vec<Finding>,
    ledger: &Ledger,
    log: &Log,
    histories: &[History],
) -> Vec<Finding> {
    findings.extend(verdict::of_kafka(ledger, log));
    for history in histories {
        findings.extend(verdict::of_client(history, ledger, log));
    }
    findings
}
