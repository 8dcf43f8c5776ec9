//! What one instance carries: the release binary under load, from Kafka to the clients' sockets.
//!
//! ```text
//! producer thread ─Kafka protocol─▶ broker ─▶ sluicegate (child) ─loopback─▶ clients (one thread)
//!        ▲                                                                      │
//!        └──────────────── permits, when a window bounds what is in flight ◀────┘
//! ```
//!
//! `cargo bench --bench load` starts the binary with its embedded broker in a temporary folder and
//! prints one Markdown table; `-- --help` lists the flags. Everything stays on loopback, ends by
//! itself, and shares the cores with what is measured: compare figures of one machine only.
//!
//! Latency counts from when an event was due (at a rate) or sent (in a window) to when a client has
//! read it whole. CPU is that of the binary, the embedded broker included, per million deliveries or
//! opened connections; "of it shards" and "of it broker" are the threads of these names.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is the output"
)]

mod clients;
mod event;
mod figures;
mod files;
mod gateway;
mod producer;
mod scenarios;
mod tally;
mod usage;

use std::time::Duration;

use clap::Parser as _;

/// Measures one instance of the release binary on loopback
#[derive(Debug, Clone, clap::Parser)]
struct Options {
    /// How many idle connections of each transport to open
    #[arg(long, env = "SLUICEGATE_BENCH_CONNECTIONS", default_value_t = 5_000)]
    connections: usize,
    /// How many clients get events
    #[arg(long, env = "SLUICEGATE_BENCH_SUBSCRIBERS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    subscribers: u32,
    /// How long each of the four loads lasts
    #[arg(long, env = "SLUICEGATE_BENCH_SECONDS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=120))]
    seconds: u32,
    /// Brokers on loopback to use in place of the embedded one
    #[arg(long, env = "SLUICEGATE_BENCH_KAFKA", value_parser = gateway::on_loopback)]
    kafka: Option<String>,
    /// Set by `cargo bench`; nothing is measured without it
    #[arg(long)]
    bench: bool,
    /// Measures only if `load` contains this, as `cargo bench FILTER` means it
    filter: Option<String>,
}

impl Options {
    /// Returns after how long the run is given up.
    fn patience(&self) -> Duration {
        Duration::from_secs(50 + 5 * u64::from(self.seconds))
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if !options.bench {
        println!("nothing is measured without --bench, which `cargo bench --bench load` gives");
        return Ok(());
    }
    if options
        .filter
        .as_ref()
        .is_some_and(|filter| !"load".contains(filter))
    {
        return Ok(());
    }
    files::allow(options.connections.max(options.subscribers as usize))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    let table = local.block_on(&runtime, async {
        tokio::select! {
            table = scenarios::run(&options) => table,
            () = tokio::time::sleep(options.patience()) => {
                Err(anyhow::anyhow!("gave up after {:?}", options.patience()))
            }
            interrupted = interrupted() => {
                interrupted?;
                Err(anyhow::anyhow!("interrupted"))
            }
        }
    })?;
    println!("\n{table}");
    anyhow::ensure!(
        table.is_faultless(),
        "not everybody got every event once and in order"
    );
    Ok(())
}

/// Waits for a signal to end, so that the child is stopped then, too.
async fn interrupted() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}
