//! What connections cost that get nothing: their memory, opening them, and keeping them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::time::sleep;

use crate::certificate::Certificate;
use crate::event::{wants_all, wants_own};
use crate::floor::Floor;
use crate::gateway::{Gateway, Setup};
use crate::held::{Entrance, Held, Way};
use crate::median::{Figures, per_million};
use crate::sheet::{Faults, Sheet, part};
use crate::usage::{self, Usage};

/// How long memory may settle before it is read.
const SETTLE: Duration = Duration::from_secs(1);
/// For how long processor time is read while nothing happens.
const QUIET: Duration = Duration::from_secs(5);
/// How long after the end of all connections memory is read.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// How many are opened and closed before the memory of a process without any is read.
const WARM_UP: usize = 200;

/// What is opened.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct IdleOptions {
    /// How many idle connections of each kind to open, one number after the other
    #[arg(long, env = "SLUICEGATE_BENCH_CONNECTIONS", value_delimiter = ',', default_value = "5000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: Vec<u32>,
    /// How many of them at most over TLS, as clients cost memory, too
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tls_connections: u32,
    /// Which kinds
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "sse,ws,long-poll,tls,h2c,h2"
    )]
    ways: Vec<Way>,
}

impl IdleOptions {
    /// Returns how many connections there are at most at a time.
    pub(crate) fn most_connections(&self) -> usize {
        self.connections
            .iter()
            .max()
            .map_or(0, |most| *most as usize)
    }

    /// Returns what is measured in each round, the floor first.
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds = Vec::new();
        for count in &self.connections {
            kinds.push(Kind {
                way: Way::Sse,
                wants: Wants::Floor,
                count: *count as usize,
            });
            for way in self.ways.iter().copied() {
                let most = if way.is_encrypted() {
                    self.tls_connections
                } else {
                    u32::MAX
                };
                let count = *count.min(&most) as usize;
                for wants in [Wants::All, Wants::Own] {
                    kinds.push(Kind { way, wants, count });
                }
            }
        }
        kinds.dedup();
        kinds
    }
}

/// One kind of connections, so many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    way: Way,
    wants: Wants,
    count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    /// All the same events.
    All,
    /// Each a value of its own in a field.
    Own,
    /// All events, from the floor.
    Floor,
}

impl Kind {
    fn name(&self) -> String {
        let Self { way, wants, count } = self;
        match wants {
            Wants::All => format!("{count} {way}"),
            Wants::Own => format!("{count} {way}, personal"),
            Wants::Floor => format!("{count} {way}, floor"),
        }
    }

    fn subscriptions(&self, number: usize) -> String {
        match self.wants {
            Wants::All | Wants::Floor => wants_all(),
            Wants::Own => wants_own(number),
        }
    }
}

/// What the rounds have shown of one kind.
#[derive(Debug, Default, Clone)]
struct Rounds {
    bytes_each: Figures,
    empty_mib: Figures,
    after_mib: Figures,
    opens_per_second: Figures,
    /// Of the floor's, in the same round.
    part: Figures,
    cpu_ms_per_thousand: Figures,
    quiet_cpu: Figures,
    others: Figures,
    closed: u64,
}

/// Returns the empty table.
pub(crate) const fn sheet() -> Sheet {
    Sheet::new(&[
        "idle",
        "RSS B each",
        "RSS before MiB",
        "RSS 3 s after their end MiB",
        "opens/s",
        "times the floor's",
        "server CPU ms/1,000 opens",
        "CPU while idle, % of a core",
        "CPU of others",
    ])
}

/// Measures so many rounds, each kind once in each.
pub(crate) async fn measure(
    options: &IdleOptions,
    rounds: u32,
    kafka: Option<&str>,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    let kinds = options.kinds();
    let mut found = vec![Rounds::default(); kinds.len()];
    for _ in 0..rounds {
        let mut floor = None;
        for (kind, found) in kinds.iter().zip(&mut found) {
            // Each in a cluster of its own, as sessions stay in the shared state.
            let kafka = kafka.filter(|_| kind.wants != Wants::Floor);
            let idle = Setup::with(kafka, async |setup| open(setup, kind).await).await?;
            eprintln!("measured: {}, {:.0} B each", kind.name(), idle.bytes_each);
            if kind.wants == Wants::Floor {
                floor = Some(idle.opens_per_second);
            }
            found.add(&idle, floor);
        }
    }
    for (kind, found) in kinds.iter().zip(&found) {
        let faults = Faults {
            closed: found.closed,
            ..Faults::default()
        };
        sheet.add(found.cells(kind.name()), faults);
    }
    Ok(())
}

/// What connections of one kind cost in one round.
#[derive(Debug)]
struct Idle {
    bytes_each: f64,
    empty_bytes: u64,
    after_bytes: u64,
    opens_per_second: f64,
    cpu_ms_per_thousand: f64,
    /// In cores.
    quiet_cpu: f64,
    others: f64,
    closed: u64,
}

/// The process that is measured.
#[derive(Debug)]
enum Process {
    Gateway(Gateway),
    Floor(Floor),
}

impl Process {
    fn id(&self) -> u32 {
        match self {
            Self::Gateway(gateway) => gateway.id(),
            Self::Floor(floor) => floor.id(),
        }
    }

    fn address(&self, way: Way) -> SocketAddr {
        match self {
            Self::Gateway(gateway) if way.is_encrypted() => gateway.encrypted(),
            Self::Gateway(gateway) => gateway.public(),
            Self::Floor(floor) => floor.address(),
        }
    }
}

/// Opens connections that get nothing, closes them, and reads what they cost.
async fn open(setup: &Setup, kind: &Kind) -> anyhow::Result<Idle> {
    let certificate = Certificate::new(setup.dir())?;
    let way = kind.way;
    let process = match kind.wants {
        Wants::Floor => Process::Floor(Floor::start(0)?),
        Wants::All | Wants::Own => {
            Process::Gateway(Gateway::start_with(setup, &way.settings(&certificate)).await?)
        }
    };
    let entrance = Entrance::new(way, process.address(way), &certificate)?;
    let pid = process.id();
    let wants = |number| kind.subscriptions(number);
    // So that what the first connections bring into memory once does not count for each.
    drop(Held::open(&entrance, WARM_UP, wants).await?);
    sleep(SETTLE).await;
    let empty_bytes = usage::rss_bytes(pid)?;
    let before = Usage::now(pid)?;
    let began = Instant::now();
    let held = Held::open(&entrance, kind.count, wants).await?;
    let elapsed = began.elapsed();
    let opened = Usage::now(pid)?;
    sleep(SETTLE).await;
    let full_bytes = usage::rss_bytes(pid)?;
    let quiet = usage::cpu(pid)?.all;
    sleep(QUIET).await;
    let quiet_cpu = (usage::cpu(pid)?.all - quiet) / QUIET.as_secs_f64();
    let closed = held.closed();
    ensure!(closed < kind.count, "the server closed all connections");
    drop(held);
    sleep(AFTERWARDS).await;
    let count = kind.count as u64;
    let grown = full_bytes.saturating_sub(empty_bytes);
    Ok(Idle {
        bytes_each: part(grown, part(count, 1.0)),
        empty_bytes,
        after_bytes: usage::rss_bytes(pid)?,
        opens_per_second: part(count, elapsed.as_secs_f64()),
        // Seconds for a million are milliseconds for a thousand.
        cpu_ms_per_thousand: per_million((opened.server - before.server).all, count),
        quiet_cpu,
        others: opened.others_since(&before, elapsed),
        closed: closed as u64,
    })
}

impl Rounds {
    fn add(&mut self, idle: &Idle, floor: Option<f64>) {
        self.bytes_each.add(idle.bytes_each);
        self.empty_mib.add(part(idle.empty_bytes, 1024.0 * 1024.0));
        self.after_mib.add(part(idle.after_bytes, 1024.0 * 1024.0));
        self.opens_per_second.add(idle.opens_per_second);
        if let Some(floor) = floor {
            self.part.add(idle.opens_per_second / floor);
        }
        self.cpu_ms_per_thousand.add(idle.cpu_ms_per_thousand);
        self.quiet_cpu.add(idle.quiet_cpu * 100.0);
        self.others.add(idle.others * 100.0);
        self.closed += idle.closed;
    }

    fn cells(&self, name: String) -> Vec<String> {
        vec![
            name,
            self.bytes_each.whole(),
            self.empty_mib.whole(),
            self.after_mib.whole(),
            self.opens_per_second.whole(),
            self.part.fine(),
            self.cpu_ms_per_thousand.whole(),
            self.quiet_cpu.show(|part| format!("{part:.1}")),
            self.others.show(|others| format!("{others:.0} %")),
        ]
    }
}
