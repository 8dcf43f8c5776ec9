//! How fast one client gets what it has missed, from memory and from Kafka, and when it is live.

use std::time::Duration;

use crate::clients::Client;
use crate::event::{EVENT_BYTES, Moment};
use crate::histories::Histories;
use crate::production::{Production, Share};
use crate::sheet::{Faults, Sheet, milliseconds, rate};
use crate::stage::{Readers, Source, Stage};
use crate::usage;

/// One event of so many matches, where few match.
const FEW: u64 = 100;

/// How replays are measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReplayOptions {
    /// How many events a replay goes through
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(100..=2_000_000))]
    replay_events: u64,
    /// How often a replay is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    replay_rounds: u32,
    /// How far behind a client is whose way to live is measured, in events
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    behind_events: u64,
    /// How often the way to live is measured
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    behind_rounds: u32,
}

/// Measures replays from one source; adds to the tables of speeds and of ways to live.
pub(crate) async fn measure(
    options: &ReplayOptions,
    kafka: Option<&str>,
    source: Source,
    [speeds, ways]: &mut [Sheet; 2],
) -> anyhow::Result<()> {
    Stage::with(kafka, source.settings(), async |stage| {
        for types in [1, FEW] {
            speed(stage, options, source, types, speeds).await?;
        }
        way_to_live(stage, options, source, ways).await
    })
    .await
}

/// Returns the empty tables.
pub(crate) const fn sheets() -> [Sheet; 2] {
    [
        Sheet::new(&[
            "replay",
            "records/s gone through, median",
            "slowest",
            "fastest",
            "events/s delivered, median",
            "server CPU-s/M records",
            "records read from Kafka",
        ]),
        Sheet::new(&["from reconnect to live", "median ms", "worst ms", "rounds"]),
    ]
}

/// Measures replays in which one of `types` is wanted. Each is of events that nobody has read before.
async fn speed(
    stage: &Stage,
    options: &ReplayOptions,
    source: Source,
    types: u64,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    let count = options.replay_events;
    let (mut times, mut faults, mut cpu) = (Vec::new(), Faults::default(), 0.0);
    let read_before = history_records(stage)?;
    for _ in 0..options.replay_rounds {
        let cursor = stage.cursor().await?;
        let production = stage.plan(count, types, EVENT_BYTES);
        stage.produce(production).await?;
        stage.settle().await?;
        let resumes = stage.resumes_from_kafka()?;
        let cpu_before = usage::cpu(stage.gateway.id())?.all;
        let mut readers = reader_of(production);
        let began = Moment::now();
        let door = stage.door(production.wants(Some(0))).after(&cursor);
        readers.open(0, door, || ());
        readers.wait().await;
        cpu += usage::cpu(stage.gateway.id())?.all - cpu_before;
        stage.check_source(source, resumes, 1)?;
        times.push(elapsed(&readers, began));
        faults += readers.histories.borrow().faults();
    }
    let read = history_records(stage)? - read_before;
    let [fastest, median, slowest] = spread(&mut times);
    let matching = if types == 1 {
        "all match".to_owned()
    } else {
        format!("1 in {types} matches")
    };
    let gone_through = f64::from(u32::try_from(count)?) * f64::from(options.replay_rounds);
    let cells = vec![
        format!("{count} events from {}, {matching}", source.name()),
        rate(count, median),
        rate(count, slowest),
        rate(count, fastest),
        rate(count.div_ceil(types), median),
        format!("{:.2}", cpu / gone_through * 1e6),
        format!("{read:.0}"),
    ];
    sheet.add(cells, faults);
    Ok(())
}

/// Measures how long it takes from a reconnect until an event is read that was produced after it.
async fn way_to_live(
    stage: &Stage,
    options: &ReplayOptions,
    source: Source,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    let producer = stage.prompt_producer()?;
    let (mut times, mut faults) = (Vec::new(), Faults::default());
    for _ in 0..options.behind_rounds {
        let cursor = stage.cursor().await?;
        let missed = stage.plan(options.behind_events, 1, EVENT_BYTES);
        stage.produce(missed).await?;
        stage.settle().await?;
        let resumes = stage.resumes_from_kafka()?;
        let with_live = missed.longer_by(1);
        let mut readers = reader_of(with_live);
        let began = Moment::now();
        let door = stage.door(missed.wants(Some(0))).after(&cursor);
        readers.listen(0, Client::open(door).await?);
        let (producer, from) = (producer.clone(), missed.count);
        let sending = move || with_live.send(&producer, from, None);
        tokio::task::spawn_blocking(sending).await??;
        readers.wait().await;
        stage.check_source(source, resumes, 1)?;
        times.push(elapsed(&readers, began));
        faults += readers.histories.borrow().faults();
    }
    let [_, median, worst] = spread(&mut times);
    let cells = vec![
        format!("{} events behind, {}", options.behind_events, source.name()),
        milliseconds(median),
        milliseconds(worst),
        options.behind_rounds.to_string(),
    ];
    sheet.add(cells, faults);
    Ok(())
}

fn reader_of(production: Production) -> Readers {
    let which = Some(0);
    Readers::of(Histories::of([Share { production, which }]))
}

fn elapsed(readers: &Readers, began: Moment) -> Duration {
    let last = readers.histories.borrow().last;
    last.unwrap_or_else(Moment::now).since(began)
}

fn history_records(stage: &Stage) -> anyhow::Result<f64> {
    stage.gateway.metric("sluicegate_history_records_total", "")
}

/// Returns the shortest, the median and the longest.
fn spread(times: &mut [Duration]) -> [Duration; 3] {
    times.sort_unstable();
    let at = |index: usize| times.get(index).copied().unwrap_or_default();
    [
        at(0),
        at(times.len() / 2),
        at(times.len().saturating_sub(1)),
    ]
}
