//! Many clients read nothing while events that they want flow, and others read; then some wake up.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::clients::Client;
use crate::event::Moment;
use crate::histories::Histories;
use crate::production::{Production, Share};
use crate::sheet::{Faults, Sheet, mebibytes, rate, seconds, spread};
use crate::stage::{Readers, Stage, within};
use crate::usage::{Memory, Usage, rss_bytes};

/// How many types of events there are; a reader wants one, a client that stalls all.
const TYPES: u64 = 10;
/// How many connections are opened at a time.
const OPENING: usize = 64;
/// How long one connection may take to open.
const PATIENCE: Duration = Duration::from_secs(30);
/// What flows before anything is measured, in bytes of JSON: it fills the memory for the newest events.
const WARM_UP_BYTES: u64 = 100_000_000;
/// How long the beginning of a flow is at most, in which those that read nothing fall behind.
const BEGINNING: Duration = Duration::from_secs(5);

/// Who stalls, and what flows.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StalledOptions {
    /// How many clients read nothing
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) stalled_clients: u32,
    /// How many clients read
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) stalled_readers: u32,
    /// How many of those that read nothing wake up in the end
    #[arg(long, default_value_t = 20)]
    stalled_sample: u32,
    /// How much flows, in megabytes (10^6 bytes of JSON) a second
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    stalled_mb: u64,
    /// How large the events are, in bytes of JSON
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(200..=900_000))]
    stalled_event_bytes: u64,
    /// For how long events flow, without and with those that read nothing
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=300))]
    stalled_seconds: u64,
}

impl StalledOptions {
    /// Returns how many events flow in a second.
    fn per_second(&self) -> u64 {
        (self.stalled_mb * 1_000_000).div_ceil(self.stalled_event_bytes)
    }

    /// Returns how much flows in each phase.
    fn bytes(&self) -> u64 {
        self.stalled_mb * 1_000_000 * self.stalled_seconds
    }

    fn plan(&self, stage: &Stage, bytes: u64) -> anyhow::Result<Production> {
        let count = bytes.div_ceil(self.stalled_event_bytes);
        let event_bytes = usize::try_from(self.stalled_event_bytes)?;
        Ok(stage.plan(count, TYPES, event_bytes))
    }
}

/// Returns the empty table.
pub(crate) const fn sheet() -> Sheet {
    Sheet::new(&[
        "phase",
        "MB/s produced",
        "deliveries/s",
        "p50 / p99 / max ms",
        "of the beginning",
        "RSS before MiB",
        "max",
        "end",
        "server CPU, cores",
        "CPU of others",
    ])
}

/// Measures everything.
pub(crate) async fn measure(
    options: &StalledOptions,
    kafka: Option<&str>,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    Stage::with(kafka, &[], async |stage| {
        let readers = options.stalled_readers;
        stage.produce(options.plan(stage, WARM_UP_BYTES)?).await?;
        stage.settle().await?;
        let alone = options.plan(stage, options.bytes())?;
        let name = format!("{readers} read");
        flow(stage, options, alone, name, sheet).await?;
        let wanted = options.plan(stage, options.bytes())?;
        let stalled = fall_asleep(stage, options, wanted).await?;
        let name = format!("{readers} read, {} do not", options.stalled_clients);
        flow(stage, options, wanted, name, sheet).await?;
        let open = stage.gateway.metric("sluicegate_connections{", "sse")?;
        let behind = stage
            .gateway
            .metric("sluicegate_connections_behind_total", "sse")?;
        sheet.note(format!(
            "Then {open:.0} connections are open, and {behind:.0} fell behind."
        ));
        wake_up(stage, options, wanted, stalled, sheet).await
    })
    .await
}

/// Lets events flow to the readers, and says how in a line of the table.
async fn flow(
    stage: &Stage,
    options: &StalledOptions,
    production: Production,
    name: String,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    let pid = stage.gateway.id();
    let share = |number: u32| Share {
        production,
        which: Some(u64::from(number) % TYPES),
    };
    let shares = (0..options.stalled_readers).map(share);
    let mut readers = Readers::of(Histories::of(shares));
    for number in 0..options.stalled_readers {
        let door = stage.door(production.wants(share(number).which));
        readers.listen(number as usize, within(PATIENCE, Client::open(door)).await?);
    }
    let before = rss_bytes(pid)?;
    let memory = Memory::watch(pid);
    let usage = Usage::now(pid)?;
    let began = Moment::now();
    let split = began.after(BEGINNING.min(Duration::from_secs(options.stalled_seconds) / 2));
    readers.histories.borrow_mut().keep_latencies(split);
    let sending = stage.send(production, Some(options.per_second())).await?;
    readers.wait().await;
    let cores = cores_since(pid, &usage, began)?;
    let mut histories = readers.histories.borrow_mut();
    let elapsed = histories.last.unwrap_or_else(Moment::now).since(began);
    let bytes = production.count * options.stalled_event_bytes;
    let [beginning, later] = histories.latencies();
    let cells = vec![
        name.clone(),
        rate(bytes / 1_000_000, sending),
        rate(histories.received, elapsed),
        spread(later),
        spread(beginning),
        mebibytes(before),
        mebibytes(memory.max_bytes()),
        mebibytes(rss_bytes(pid)?),
        cores,
    ];
    sheet.add(cells, histories.faults());
    let over_time = memory.over_time(Duration::from_secs(2));
    sheet.note(format!("RSS in MiB while {name}: {over_time}"));
    Ok(())
}

/// Opens the connections that nothing is read from.
async fn fall_asleep(
    stage: &Stage,
    options: &StalledOptions,
    wanted: Production,
) -> anyhow::Result<Vec<Client>> {
    futures_util::stream::iter(0..options.stalled_clients)
        .map(|number| async move {
            let door = stage.door(wanted.wants(None)).narrow();
            let client = within(PATIENCE, Client::open(door)).await;
            client.with_context(|| format!("connection {number}"))
        })
        .buffer_unordered(OPENING)
        .try_collect()
        .await
}

/// Lets some of those that have read nothing read, and checks that they get everything.
async fn wake_up(
    stage: &Stage,
    options: &StalledOptions,
    wanted: Production,
    mut stalled: Vec<Client>,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    let pid = stage.gateway.id();
    let count = stalled.len().min(options.stalled_sample as usize);
    let share = Share {
        production: wanted,
        which: None,
    };
    let mut readers = Readers::of(Histories::of(vec![share; count]));
    let before = rss_bytes(pid)?;
    let memory = Memory::watch(pid);
    let usage = Usage::now(pid)?;
    let began = Moment::now();
    for (number, client) in stalled.drain(..count).enumerate() {
        readers.listen(number, client);
    }
    readers.wait().await;
    let cores = cores_since(pid, &usage, began)?;
    let histories = readers.histories.borrow();
    let elapsed = histories.last.unwrap_or_else(Moment::now).since(began);
    let none = || "–".to_owned();
    let cells = vec![
        format!(
            "{count} wake up, and have everything after {} s",
            seconds(elapsed)
        ),
        none(),
        rate(histories.received, elapsed),
        none(),
        none(),
        mebibytes(before),
        mebibytes(memory.max_bytes()),
        mebibytes(rss_bytes(pid)?),
        cores,
    ];
    let faults: Faults = histories.faults();
    sheet.add(cells, faults);
    Ok(())
}

/// Returns the processor time of the server and of others, two cells, as cores and a part of one.
fn cores_since(pid: u32, earlier: &Usage, began: Moment) -> anyhow::Result<String> {
    let now = Usage::now(pid)?;
    let elapsed = Moment::now().since(began);
    let server = (now.server - earlier.server).all / elapsed.as_secs_f64();
    let others = now.others_since(earlier, elapsed) * 100.0;
    Ok(format!("{server:.2} | {others:.0} %"))
}
