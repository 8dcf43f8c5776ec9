//! Everybody comes back within a few seconds, while somebody is live.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use crate::event::{EVENT_BYTES, Moment};
use crate::histories::Histories;
use crate::live::Live;
use crate::production::{Production, Share};
use crate::sheet::{Sheet, mebibytes, rate, seconds, spread};
use crate::stage::{Readers, Source, Stage};
use crate::usage::{Memory, Usage, rss_bytes};

/// How many types of events there are; each client wants one.
const TYPES: u64 = 10;
/// For how long the live client's events do not count.
const WARM_UP: Duration = Duration::from_secs(2);
/// For how long the live client is alone.
const CALM: Duration = Duration::from_secs(6);

/// Who comes back.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StormOptions {
    /// How many clients come back
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub(crate) storm_clients: u32,
    /// How many of them a second
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    storm_rate: u32,
    /// How far each is behind, in events that it wants
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    storm_behind: u64,
}

/// Returns the empty table.
pub(crate) const fn sheet() -> Sheet {
    Sheet::new(&[
        "storm",
        "all connected s",
        "all have everything s",
        "deliveries/s",
        "live client before: p50 / p99 / max ms",
        "during",
        "RSS before MiB",
        "peak above it MiB",
        "server CPU-s/M",
        "CPU of others",
    ])
}

/// Measures a storm that is served from one source.
pub(crate) async fn measure(
    options: &StormOptions,
    kafka: Option<&str>,
    source: Source,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    Stage::with(kafka, source.settings(), async |stage| {
        let cursor = stage.cursor().await?;
        let production = stage.plan(options.storm_behind * TYPES, TYPES, EVENT_BYTES);
        stage.produce(production).await?;
        stage.settle().await?;
        let live = Live::start(stage).await?;
        // The first events also open the producer's connections.
        sleep(WARM_UP).await;
        let calm_from = Moment::now();
        sleep(CALM).await;
        let rss_before = rss_bytes(stage.gateway.id())?;
        let resumes = stage.resumes_from_kafka()?;
        let memory = Memory::watch(stage.gateway.id());
        let usage_before = Usage::now(stage.gateway.id())?;
        let storm_from = Moment::now();
        let (readers, connected) = come_back(options, stage, production, &cursor).await;
        let storm_until = Moment::now();
        let usage = Usage::now(stage.gateway.id())?;
        let seen = live.stop().await?;
        if source == Source::Kafka {
            // Who came while the first ones still read could find the rest in memory.
            stage.check_source(source, resumes, 1)?;
        } else {
            stage.check_source(source, resumes, options.storm_clients)?;
        }
        let histories = readers.histories.borrow();
        let elapsed = histories.last.unwrap_or(storm_until).since(storm_from);
        let mut faults = histories.faults();
        faults += seen.faults();
        let (clients, behind) = (options.storm_clients, options.storm_behind);
        let cpu = usage.server.all - usage_before.server.all;
        let cells = vec![
            format!("{clients} clients, each {behind} behind, {}", source.name()),
            seconds(connected),
            seconds(elapsed),
            rate(histories.received, elapsed),
            spread(seen.latencies(calm_from, storm_from)),
            spread(seen.latencies(storm_from, storm_until)),
            mebibytes(rss_before),
            mebibytes(memory.max_bytes().saturating_sub(rss_before)),
            per_million(cpu, histories.received),
            format!(
                "{:.0} %",
                usage.others_since(&usage_before, storm_until.since(storm_from)) * 100.0
            ),
        ];
        sheet.add(cells, faults);
        let over_time = memory.over_time(Duration::from_secs(1));
        sheet.note(format!(
            "RSS in MiB during the storm, {}: {over_time}",
            source.name()
        ));
        Ok(())
    })
    .await
}

/// Opens all connections at the rate, and waits until everybody has everything; returns also how long
/// it took until all were connected.
async fn come_back(
    options: &StormOptions,
    stage: &Stage,
    production: Production,
    cursor: &str,
) -> (Readers, Duration) {
    let clients = options.storm_clients;
    let share = |number: u32| Share {
        production,
        which: Some(u64::from(number) % TYPES),
    };
    let mut readers = Readers::of(Histories::of((0..clients).map(share)));
    let began = Moment::now();
    let connected = Rc::new(Cell::new(began));
    for number in 0..clients {
        let due = began.after(Duration::from_secs(1) * number / options.storm_rate);
        let early = due.since(Moment::now());
        if !early.is_zero() {
            sleep(early).await;
        } else if number.is_multiple_of(16) {
            tokio::task::yield_now().await;
        }
        let door = stage
            .door(production.wants(share(number).which))
            .after(cursor);
        let connected = Rc::clone(&connected);
        readers.open(number as usize, door, move || connected.set(Moment::now()));
    }
    readers.wait().await;
    (readers, connected.get().since(began))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_million(cpu: f64, count: u64) -> String {
    format!("{:.2}", cpu / (count.max(1) as f64 / 1e6))
}
