//! How long an instance takes from its execution until it is ready, and what Kafka's own answers are of
//! that.

use std::time::{Duration, Instant};

use crate::bare;
use crate::event::EVENT_BYTES;
use crate::gateway::Gateway;
use crate::gateway::Setup;
use crate::median::Figures;
use crate::producer::Producer;
use crate::production::{PARTITIONS, Production};
use crate::sheet::{Faults, Sheet, part};
use crate::usage;

/// How often is asked whether an instance is ready.
const ASK_EVERY: Duration = Duration::from_millis(2);
/// For how long the events are gathered that are there at start.
const LINGER: Duration = Duration::from_millis(5);
/// How many events are sent together at most.
const MOST: u32 = 10_000;
/// The name of the instance, the same each time, as after a restart.
const INSTANCE: (&str, &str) = ("INSTANCE_ID", "bench-start");

/// What is started.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StartOptions {
    /// How often
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    start_rounds: u32,
    /// How many events there are in the topic, where the broker is not embedded; before that it is
    /// measured without any
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    start_events: u64,
}

/// Returns the empty table.
pub(crate) const fn sheet() -> Sheet {
    Sheet::new(&[
        "start",
        "ms until ready",
        "Kafka's answers to a bare client, ms",
        "difference",
        "RSS then, MiB",
        "CPU until then, ms",
    ])
}

/// What the rounds have shown.
#[derive(Debug, Default)]
struct Rounds {
    ready: Figures,
    answers: Figures,
    difference: Figures,
    rss_mib: Figures,
    cpu_ms: Figures,
}

/// Measures starts with an empty topic, and with events in it.
pub(crate) async fn measure(
    options: &StartOptions,
    kafka: Option<&str>,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    Setup::with(kafka, async |setup| {
        measure_all(options, setup, sheet).await
    })
    .await
}

async fn measure_all(
    options: &StartOptions,
    setup: &Setup,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    // The first one makes the topics; the embedded broker has to keep them.
    let partitions = PARTITIONS.to_string();
    let data = setup.dir().join("data").display().to_string();
    let settings = [
        INSTANCE,
        ("KAFKA_SOURCE_PARTITIONS", &*partitions),
        ("DATA_DIR", &*data),
    ];
    // The embedded broker takes minutes for so many.
    let sizes = if setup.is_embedded() {
        vec![0]
    } else {
        vec![0, options.start_events]
    };
    for events in sizes {
        let gateway = Gateway::start_with(setup, &settings).await?;
        if events > 0 {
            let topic = setup.topic();
            let producer = Producer::gathering(gateway.brokers(), &topic, LINGER, MOST)?;
            let production = Production {
                first: 0,
                count: events,
                types: 1,
                event_bytes: EVENT_BYTES,
            };
            let sending = move || production.send(&producer, 0, None);
            tokio::task::spawn_blocking(sending).await??;
        }
        drop(gateway);
        let mut found = Rounds::default();
        for _ in 0..options.start_rounds {
            round(setup, &settings, &mut found).await?;
        }
        let cells = vec![
            format!("{events} events in {PARTITIONS} partitions"),
            found.ready.whole(),
            found.answers.whole(),
            found.difference.whole(),
            found.rss_mib.fine(),
            found.cpu_ms.whole(),
        ];
        sheet.add(cells, Faults::default());
    }
    Ok(())
}

async fn round(setup: &Setup, settings: &[(&str, &str)], found: &mut Rounds) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut gateway = Gateway::launch(setup, settings)?;
    gateway.wait_for("/readyz", ASK_EVERY).await?;
    let ready = began.elapsed();
    let rss = usage::rss_bytes(gateway.id())?;
    let cpu = usage::cpu(gateway.id())?.all;
    let (brokers, topic) = (gateway.brokers().to_owned(), setup.topic());
    let began = Instant::now();
    bare::ends(brokers, topic).await?;
    let answers = began.elapsed();
    found.ready.add_milliseconds(ready);
    found.answers.add_milliseconds(answers);
    found
        .difference
        .add((ready.as_secs_f64() - answers.as_secs_f64()) * 1e3);
    found.rss_mib.add(part(rss, 1024.0 * 1024.0));
    found.cpu_ms.add(cpu * 1e3);
    Ok(())
}
