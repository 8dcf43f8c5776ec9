//! How long events take from the call that produces them until a client has read them, beside a bare
//! consumer that reads the same events in the same run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message as _;
use tokio::task::JoinHandle;

use crate::bare;
use crate::clients::{Clients, Transport};
use crate::event::{Moment, Stamp, wants_own};
use crate::gateway::{Gateway, Setup};
use crate::load::{Server, Speed};
use crate::median::{Figures, per_million};
use crate::producer::Producer;
use crate::sheet::{Faults, Sheet};
use crate::tally::{Audience, part_of};
use crate::usage::{self, Threads};

/// How long the bare consumer waits for a record before it looks whether the load is over.
const WAIT: Duration = Duration::from_millis(100);
/// For how long events flow before anything counts.
const WARM_UP: Duration = Duration::from_secs(2);
/// The parts of all events whose latency is shown.
const PARTS: [f64; 4] = [0.5, 0.9, 0.99, 1.0];

/// What flows.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct EndToEndOptions {
    /// How many clients there are, each with events of its own
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub(crate) end_to_end_clients: u32,
    /// How many events a second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    end_to_end_rate: u32,
    /// For how long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    end_to_end_seconds: u64,
}

/// Returns the empty table.
pub(crate) const fn sheet() -> Sheet {
    Sheet::new(&[
        "end to end, ms",
        "p50",
        "p90",
        "p99",
        "max",
        "server CPU-s/M",
        "CPU of others",
    ])
}

/// What the rounds have shown: of each part of the events.
#[derive(Debug, Default)]
struct Rounds {
    bare: [Figures; 4],
    gateway: [Figures; 4],
    difference: [Figures; 4],
    same_event: [Figures; 4],
    cpu: Figures,
    others: Figures,
    threads: Threads,
    received: u64,
    faults: Faults,
}

/// Measures so many rounds.
pub(crate) async fn measure(
    options: &EndToEndOptions,
    rounds: u32,
    kafka: Option<&str>,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    Setup::with(kafka, async |setup| {
        measure_all(options, rounds, setup, sheet).await
    })
    .await
}

async fn measure_all(
    options: &EndToEndOptions,
    rounds: u32,
    setup: &Setup,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    let gateway = Gateway::start(setup).await?;
    let brokers = gateway.brokers().to_owned();
    let producer = Producer::careless(&brokers, &setup.topic())?;
    let server = Server::Gateway(gateway, producer);
    let count = options.end_to_end_clients as usize;
    let clients = Clients::open(server.address(), Transport::Sse, count, wants_own).await?;
    let mut found = Rounds::default();
    for _ in 0..rounds {
        let watcher = Watcher::start(brokers.clone(), setup.topic()).await?;
        round(options, &server, &clients, watcher, &mut found).await?;
    }
    found.show(options, sheet);
    Ok(())
}

async fn round(
    options: &EndToEndOptions,
    server: &Server,
    clients: &Clients,
    watcher: Watcher,
    found: &mut Rounds,
) -> anyhow::Result<()> {
    let audience = Audience::One(options.end_to_end_clients as usize);
    let speed = Speed::PerSecond(options.end_to_end_rate);
    server.deliver(clients, audience, speed, WARM_UP).await?;
    let threads = usage::threads(server.id())?;
    let began = Moment::now();
    let duration = Duration::from_secs(options.end_to_end_seconds);
    let deliveries = server.deliver(clients, audience, speed, duration).await?;
    found.threads += usage::threads(server.id())? - threads;
    let seen = watcher.stop().await?;
    let bare: HashMap<u64, u32> = seen
        .iter()
        .filter(|(stamp, _)| stamp.due >= began)
        .map(|(stamp, latency_us)| (stamp.number, *latency_us))
        .collect();
    let expected = deliveries.received + deliveries.faults.lost;
    ensure!(
        bare.len() as u64 == expected,
        "the bare consumer has not seen every event"
    );
    found.compare(bare, &deliveries.of_one);
    let cpu = per_million(deliveries.cpu.all, deliveries.received);
    found.cpu.add(cpu);
    found.others.add(deliveries.others * 100.0);
    found.received += deliveries.received;
    found.faults += deliveries.faults;
    Ok(())
}

impl Rounds {
    /// Adds the latencies of a round, in microseconds, by the numbers of the events.
    fn compare(&mut self, bare: HashMap<u64, u32>, gateway: &[(u64, u32)]) {
        let after_bare =
            |(number, latency_us): &(u64, u32)| Some(latency_us.saturating_sub(*bare.get(number)?));
        let mut same_event: Vec<u32> = gateway.iter().filter_map(after_bare).collect();
        let mut of_gateway: Vec<u32> = gateway.iter().map(|(_, us)| *us).collect();
        let mut of_bare: Vec<u32> = bare.into_values().collect();
        for (place, part) in PARTS.into_iter().enumerate() {
            let [bare, gateway, same_event] = [&mut of_bare, &mut of_gateway, &mut same_event]
                .map(|values| part_of(values, part).unwrap_or_default().as_secs_f64() * 1e3);
            let figures = [bare, gateway, gateway - bare, same_event];
            for (rounds, figure) in self.latencies().into_iter().zip(figures) {
                if let Some(rounds) = rounds.get_mut(place) {
                    rounds.add(figure);
                }
            }
        }
    }

    const fn latencies(&mut self) -> [&mut [Figures; 4]; 4] {
        [
            &mut self.bare,
            &mut self.gateway,
            &mut self.difference,
            &mut self.same_event,
        ]
    }

    fn show(&self, options: &EndToEndOptions, sheet: &mut Sheet) {
        let (rate, clients) = (options.end_to_end_rate, options.end_to_end_clients);
        let rows = [
            ("a bare consumer has them".to_owned(), &self.bare),
            (
                format!("{clients} clients have them, {rate} events/s, each for one"),
                &self.gateway,
            ),
            ("difference of the two".to_owned(), &self.difference),
            (
                "client after the bare consumer, event by event".to_owned(),
                &self.same_event,
            ),
        ];
        for (number, (name, latencies)) in rows.into_iter().enumerate() {
            let mut cells = vec![name];
            cells.extend(latencies.iter().map(Figures::fine));
            let is_gateway = number == 1;
            if is_gateway {
                cells.push(self.cpu.whole());
                cells.push(self.others.show(|others| format!("{others:.0} %")));
            } else {
                cells.extend(["–", "–"].map(str::to_owned));
            }
            sheet.add(
                cells,
                if is_gateway {
                    self.faults
                } else {
                    Faults::default()
                },
            );
        }
        sheet.note(format!(
            "CPU-s/M of the instance by threads: {}",
            self.threads.per_million(self.received)
        ));
    }
}

/// A bare consumer on a thread of its own, which ends when this is dropped.
#[derive(Debug)]
struct Watcher {
    is_over: Arc<AtomicBool>,
    reading: JoinHandle<anyhow::Result<Seen>>,
}

/// Events with their latencies in microseconds.
type Seen = Vec<(Stamp, u32)>;

impl Watcher {
    /// Begins with what is produced from now on.
    async fn start(brokers: String, topic: String) -> anyhow::Result<Self> {
        let ends = bare::ends(brokers.clone(), topic.clone()).await?;
        let consumer = bare::consumer(&brokers)?;
        bare::assign(&consumer, &topic, &ends)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let reading = tokio::task::spawn_blocking(move || watch(&consumer, &until));
        Ok(Self { is_over, reading })
    }

    /// Ends, once nothing comes any more.
    async fn stop(mut self) -> anyhow::Result<Seen> {
        self.is_over.store(true, Ordering::Relaxed);
        (&mut self.reading).await?
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn watch(consumer: &BaseConsumer, is_over: &AtomicBool) -> anyhow::Result<Seen> {
    let mut seen = Vec::new();
    loop {
        match consumer.poll(WAIT) {
            Some(message) => {
                let now = Moment::now();
                if let Some(stamp) = message?.payload().and_then(Stamp::read) {
                    let latency_us = now.since(stamp.due).as_micros();
                    seen.push((stamp, u32::try_from(latency_us).unwrap_or(u32::MAX)));
                }
            }
            None if is_over.load(Ordering::Relaxed) => return Ok(seen),
            None => {}
        }
    }
}
