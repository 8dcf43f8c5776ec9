//! The checker as a command, for long runs.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use super::instances::Cluster;
use super::options::Options;
use super::report::Report;
use super::run::run;
use crate::support::gateway::unique;
use crate::support::kafka::{Backend, missing_programs, tests_dir};
use crate::support::records::OwnKafka;

/// The first argument that makes the test binary the checker.
const COMMAND: &str = "check-history";
/// What a run may take beside the time in which things break.
const OVERHEAD: Duration = Duration::from_secs(600);

/// Becomes the checker if the arguments say so: `check-history --minutes 10 --seed 7`.
///
/// Prints the report and ends with status 0 if nothing is wrong, 1 if something is, 2 if the run
/// could not be made.
pub fn run_if_asked() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(COMMAND) {
        return;
    }
    let options = Options::try_parse_from(arguments).unwrap_or_else(|error| error.exit());
    let status = match start(&options) {
        Ok(report) => {
            eprintln!("{report}");
            i32::from(!report.findings.is_empty())
        }
        Err(error) => {
            eprintln!("the run could not be made: {error:#}");
            2
        }
    };
    std::process::exit(status);
}

fn start(options: &Options) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = check(options) => report,
            () = tokio::time::sleep(options.duration() + OVERHEAD) => {
                Err(anyhow::anyhow!("it took too long"))
            }
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                Err(anyhow::anyhow!("interrupted"))
            }
        }
    });
    runtime.shutdown_background();
    report
}

async fn check(options: &Options) -> anyhow::Result<Report> {
    let name = unique("history");
    let dir = tests_dir().join(&name);
    let is_embedded = options.embedded || (options.kafka.is_none() && missing_programs().is_some());
    let own = match options.kafka {
        Some(_) => None,
        None => {
            let backend = if is_embedded {
                Backend::Embedded
            } else {
                Backend::Apache
            };
            let own = OwnKafka::stopped(backend).await;
            own.start().await;
            Some(Arc::new(own))
        }
    };
    let brokers = options.kafka.map(|address| address.to_string());
    let cluster = Cluster {
        brokers: brokers
            .or_else(|| own.as_ref().map(|own| own.brokers()))
            .unwrap_or_default(),
        is_idempotent: !is_embedded,
        dir,
        name,
    };
    eprintln!("seed {}, logs in {}", options.seed, cluster.dir.display());
    let report = run(options, &cluster, own.clone()).await?;
    if report.findings.is_empty() {
        std::fs::remove_dir_all(&cluster.dir)?;
    }
    match own {
        Some(own) => own.kill().await,
        None => remove_topics(&cluster).await?,
    }
    Ok(report)
}

/// Removes from somebody's Kafka what the run has made.
async fn remove_topics(cluster: &Cluster) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &cluster.brokers)
        .create()?;
    let topics = ["events", "state", "commands"].map(|topic| format!("{}.{topic}", cluster.name));
    let names = topics.each_ref().map(String::as_str);
    admin.delete_topics(&names, &AdminOptions::new()).await?;
    Ok(())
}
