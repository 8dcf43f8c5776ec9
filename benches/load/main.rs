//! What one instance carries: the release binary under load, from Kafka to the clients' sockets.
//!
//! ```text
//! producer thread ─Kafka protocol─▶ broker ─▶ sluicegate (child) ─loopback─▶ clients (one thread)
//!        ▲                                                                      │
//!        └──────────────── permits, when a window bounds what is in flight ◀────┘
//! ```
//!
//! `cargo bench --bench load` starts the binary with its embedded broker in a temporary folder and
//! prints Markdown tables; `-- --help` lists the flags. Everything stays on loopback, ends by itself,
//! and shares the cores with what is measured: compare figures of one machine only. With
//! `--kafka 127.0.0.1:9092` the broker is that one, and its memory and processor time do not count.
//!
//! `--scenarios` says what is measured, each on instances of its own; the exit status is 1 if anybody
//! missed an event, got one twice, out of its partition's order or without asking for it.
//!
//! - `delivery` (the default): fan-out to `--subscribers` clients and unicast among as many as the
//!   first of these, at a rate and with a window of events in flight, for `--seconds` each, to event
//!   streams and WebSockets, beside the floor. `--curve` measures 1,000 to 19,000 clients and 1 to
//!   10,000 events a second instead.
//! - `idle`: memory of `--connections` connections that get nothing, of each of the `--ways`, with the
//!   same subscription for all and with a personal one for each; how many are opened in a second, what
//!   opening and keeping them costs, and the memory after their end. Each kind has a process of its own.
//! - `drain`: `--drain-events` wait in Kafka; how many a second go through decoding, fields and
//!   matching, when nobody wants them and when each is for one client, beside a consumer that reads the
//!   same ones and only counts. Needs `--kafka`.
//! - `end-to-end`: latency from the producer (`linger.ms=0`, `acks=1`) to the client that an event is
//!   for, beside a bare consumer that reads the same events meanwhile.
//! - `start`: time from execution until `/readyz` says 200, and the memory then, beside how long Kafka
//!   takes to tell a bare client the partitions and their ends.
//! - `replay`: one client comes back after `--replay-events` events over 12 partitions, of which all
//!   match or 1 in 100; and how long it takes from a reconnect, `--behind-events` events behind, until
//!   the first event is read that was produced after it. Each round has events of its own, so that
//!   nothing of it has been read from Kafka before.
//! - `storm`: `--storm-clients` clients come back, `--storm-rate` a second, each `--storm-behind`
//!   events behind, while a live client gets an event every 100 ms.
//! - `stalled`: `--stalled-clients` clients read nothing while `--stalled-mb` megabytes a second flow
//!   that they want; `--stalled-readers` clients read one type in ten of it. Then
//!   `--stalled-sample` of the others wake up.
//!
//! - `proxy`: requests to a small backend, direct and through the proxy in turns, with
//!   `--proxy-connections` connections that are kept, each with one request at a time; with `--proxy-nginx nginx`
//!   through nginx, too.
//! - `round-trip`: commands that a worker answers over Kafka, with `--round-trip-waiting` clients that
//!   wait for theirs at any time.
//!
//! `replay` and `storm` run with everything in the memory of the instance and with next to nothing
//! there, so that all comes from Kafka; `--from ring` and `--from kafka` choose one.
//!
//! The floor is a second process of this program: one thread, which writes ready frames, as long as
//! the gateway's, each with one write, and does nothing else. The bench feeds it without Kafka. What is
//! compared is measured in turns, `--rounds` times; tables show the median and, where there were
//! several rounds, the least and the most; ratios are those of the same round. Clients connect from
//! many addresses of 127.0.0.0/8, so that ports suffice.
//!
//! Latency counts from when an event was due (at a rate) or sent (in a window) to when a client has
//! read it whole; at a rate of megabytes, events are due in bursts every 5 ms. CPU is that of the
//! binary, the embedded broker included, per million deliveries or opened connections; "of it shards"
//! and "of it broker" are the threads of these names. RSS is the resident memory of the binary, read
//! four times a second.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is the output"
)]

mod asking;
mod backend;
mod bare;
mod certificate;
mod clients;
mod delivery;
mod drain;
mod end_to_end;
mod event;
mod files;
mod floor;
mod gateway;
mod held;
mod histories;
mod idle;
mod live;
mod load;
mod median;
mod nginx;
mod producer;
mod production;
mod proxied;
mod replay;
mod round_trip;
mod sheet;
mod stage;
mod stalled;
mod start;
mod storm;
mod tally;
mod usage;
mod worker;

use std::time::Duration;

use clap::Parser as _;

use crate::delivery::DeliveryOptions;
use crate::drain::DrainOptions;
use crate::end_to_end::EndToEndOptions;
use crate::idle::IdleOptions;
use crate::proxied::ProxyOptions;
use crate::replay::ReplayOptions;
use crate::round_trip::RoundTripOptions;
use crate::sheet::Sheet;
use crate::stage::Source;
use crate::stalled::StalledOptions;
use crate::start::StartOptions;
use crate::storm::StormOptions;

/// After how long a scenario is given up.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Measures one instance of the release binary on loopback
#[derive(Debug, Clone, clap::Parser)]
struct Options {
    /// What to measure, separated by commas
    #[arg(
        long,
        env = "SLUICEGATE_BENCH_SCENARIOS",
        value_enum,
        value_delimiter = ',',
        default_value = "delivery"
    )]
    scenarios: Vec<Scenario>,
    /// Where the events come from for those who come back in `replay` and `storm`
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ring,kafka")]
    from: Vec<Source>,
    /// How often what is compared is measured, in turns; the median counts
    #[arg(long, env = "SLUICEGATE_BENCH_ROUNDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    #[command(flatten)]
    delivery: DeliveryOptions,
    #[command(flatten)]
    idle: IdleOptions,
    #[command(flatten)]
    drain: DrainOptions,
    #[command(flatten)]
    end_to_end: EndToEndOptions,
    #[command(flatten)]
    start: StartOptions,
    #[command(flatten)]
    replay: ReplayOptions,
    #[command(flatten)]
    storm: StormOptions,
    #[command(flatten)]
    stalled: StalledOptions,
    #[command(flatten)]
    proxy: ProxyOptions,
    #[command(flatten)]
    round_trip: RoundTripOptions,
    /// Brokers on loopback to use in place of the embedded one
    #[arg(long, env = "SLUICEGATE_BENCH_KAFKA", value_parser = gateway::on_loopback)]
    kafka: Option<String>,
    /// Be the floor that an instance is compared with, for another process of this program
    #[arg(long, hide = true)]
    serve_floor: bool,
    /// Set by `cargo bench`; nothing is measured without it
    #[arg(long)]
    bench: bool,
    /// Measures only if `load` contains this, as `cargo bench FILTER` means it
    filter: Option<String>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// Events to those who are connected, beside the floor
    Delivery,
    /// What connections cost that get nothing, of every kind
    Idle,
    /// How fast what nobody wants goes through, beside a consumer that only counts
    Drain,
    /// How long an event takes from its producer to a client, beside a bare consumer
    EndToEnd,
    /// How long an instance takes until it is ready
    Start,
    /// How fast one client that comes back gets what it has missed, and when it is live
    Replay,
    /// Many clients that come back within a few seconds, while one is live
    Storm,
    /// Many clients that read nothing, while others read
    Stalled,
    /// Requests through the proxy, beside the same ones to the backend itself
    Proxy,
    /// Commands that a worker answers over Kafka
    RoundTrip,
}

impl Options {
    /// Returns how many connections there are at most at a time.
    fn most_connections(&self) -> usize {
        let of = |scenario: &Scenario| match scenario {
            Scenario::Delivery => self.delivery.most_connections(),
            Scenario::Idle => self.idle.most_connections(),
            Scenario::Drain => self.drain.drain_clients as usize,
            Scenario::EndToEnd => self.end_to_end.end_to_end_clients as usize,
            Scenario::Replay | Scenario::Start => 1,
            Scenario::Storm => self.storm.storm_clients as usize,
            Scenario::Stalled => {
                (self.stalled.stalled_clients + self.stalled.stalled_readers) as usize
            }
            // Each takes a file of the backend, too, and proxies keep theirs.
            Scenario::Proxy => 4 * most(&self.proxy.proxy_connections),
            Scenario::RoundTrip => most(&self.round_trip.round_trip_waiting),
        };
        self.scenarios.iter().map(of).max().unwrap_or(0)
    }
}

fn most(numbers: &[u32]) -> usize {
    numbers.iter().max().map_or(0, |most| *most as usize)
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
    if options.serve_floor {
        return floor::serve();
    }
    files::allow(options.most_connections())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    let measured = local.block_on(&runtime, async {
        let mut is_faultless = true;
        for scenario in &options.scenarios {
            is_faultless &= bounded(&options, *scenario).await?;
        }
        anyhow::Ok(is_faultless)
    });
    // A producer may still wait for a broker that has ended.
    runtime.shutdown_background();
    anyhow::ensure!(measured?, "not everybody got every event once and in order");
    Ok(())
}

/// Measures a scenario, until it takes too long or is interrupted.
async fn bounded(options: &Options, scenario: Scenario) -> anyhow::Result<bool> {
    tokio::select! {
        is_faultless = measure(options, scenario) => is_faultless,
        () = tokio::time::sleep(PATIENCE) => Err(anyhow::anyhow!("gave up after {PATIENCE:?}")),
        interrupted = interrupted() => {
            interrupted?;
            Err(anyhow::anyhow!("interrupted"))
        }
    }
}

/// Measures a scenario and prints what was found; returns whether nobody missed anything.
async fn measure(options: &Options, scenario: Scenario) -> anyhow::Result<bool> {
    let (rounds, kafka) = (options.rounds, options.kafka.as_deref());
    let sheets = match scenario {
        Scenario::Delivery => {
            let mut sheet = delivery::sheet();
            delivery::measure(&options.delivery, rounds, kafka, &mut sheet).await?;
            vec![sheet]
        }
        Scenario::Idle => {
            let mut sheet = idle::sheet();
            idle::measure(&options.idle, rounds, kafka, &mut sheet).await?;
            vec![sheet]
        }
        Scenario::Drain => {
            let mut sheet = drain::sheet();
            drain::measure(&options.drain, rounds, kafka, &mut sheet).await?;
            vec![sheet]
        }
        Scenario::EndToEnd => {
            let mut sheet = end_to_end::sheet();
            end_to_end::measure(&options.end_to_end, rounds, kafka, &mut sheet).await?;
            vec![sheet]
        }
        Scenario::Start => {
            let mut sheet = start::sheet();
            start::measure(&options.start, kafka, &mut sheet).await?;
            vec![sheet]
        }
        Scenario::Replay => {
            let mut sheets = replay::sheets();
            for source in &options.from {
                replay::measure(&options.replay, kafka, *source, &mut sheets).await?;
            }
            Vec::from(sheets)
        }
        Scenario::Storm => {
            let mut sheet = storm::sheet();
            for source in &options.from {
                storm::measure(&options.storm, kafka, *source, &mut sheet).await?;
            }
            vec![sheet]
        }
        Scenario::Stalled => {
            let mut sheet = stalled::sheet();
            stalled::measure(&options.stalled, kafka, &mut sheet).await?;
            vec![sheet]
        }
        Scenario::Proxy => vec![proxied::measure(&options.proxy, rounds, kafka).await?],
        Scenario::RoundTrip => vec![round_trip::measure(&options.round_trip, rounds, kafka).await?],
    };
    for sheet in &sheets {
        println!("\n{sheet}");
    }
    println!("{}", sheet::machine(kafka.is_none()));
    Ok(sheets.iter().all(Sheet::is_faultless))
}

/// Waits for a signal to end, so that the child is stopped then, too.
async fn interrupted() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}
