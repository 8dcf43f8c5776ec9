//! Events to those who are connected, from an instance and from the floor in turns.

use std::time::Duration;

use crate::clients::{Clients, Transport};
use crate::event::{wants_all, wants_own};
use crate::gateway::Setup;
use crate::load::{Deliveries, Server, Speed};
use crate::median::{Figures, per_million, ratio};
use crate::sheet::{Faults, Sheet, part};
use crate::tally::Audience;

/// For how long events flow before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// How many events are sent at least at a slow rate.
const FEW: u32 = 30;
/// The longest that this takes.
const LONGEST: Duration = Duration::from_secs(20);

/// What is delivered.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DeliveryOptions {
    /// How many clients get events, one size after the other
    #[arg(long, env = "SLUICEGATE_BENCH_SUBSCRIBERS", value_delimiter = ',', default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    subscribers: Vec<u32>,
    /// How long each load lasts
    #[arg(long, env = "SLUICEGATE_BENCH_SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=120))]
    seconds: u32,
    /// Measure how it grows: fan-out to 1,000, 5,000 and 19,000; unicast of 1 to 10,000 events a second
    #[arg(long)]
    curve: bool,
}

impl DeliveryOptions {
    /// Returns how many clients there are at most at a time.
    pub(crate) fn most_connections(&self) -> usize {
        let groups = self.groups();
        groups
            .iter()
            .map(|group| group.audience.clients())
            .max()
            .unwrap_or(0)
    }

    fn groups(&self) -> Vec<Group> {
        let sizes = if self.curve {
            &[1_000, 5_000, 19_000]
        } else {
            self.subscribers.as_slice()
        };
        let fan_out = sizes.iter().map(|size| Group {
            audience: Audience::All(*size as usize),
            // 20,000 to 25,000 deliveries a second.
            speeds: vec![
                Speed::PerSecond((25_000 / size).clamp(1, 20)),
                Speed::Window(8),
            ],
        });
        let rates: &[u32] = if self.curve {
            &[1, 10, 100, 1_000, 10_000]
        } else {
            &[1_000]
        };
        let mut speeds: Vec<Speed> = rates.iter().copied().map(Speed::PerSecond).collect();
        speeds.extend([64, 1_000].map(Speed::Window));
        let least = sizes.iter().min().copied().unwrap_or(1);
        let unicast = Group {
            audience: Audience::One(least as usize),
            speeds,
        };
        fan_out.chain([unicast]).collect()
    }

    /// Returns for how long events flow.
    fn duration(&self, speed: Speed) -> Duration {
        let asked = Duration::from_secs(u64::from(self.seconds));
        match speed {
            Speed::PerSecond(rate) => asked.max((Duration::from_secs(1) * FEW / rate).min(LONGEST)),
            Speed::Window(_) => asked,
        }
    }
}

/// Loads for the same clients.
#[derive(Debug)]
struct Group {
    audience: Audience,
    speeds: Vec<Speed>,
}

impl Group {
    fn name(&self, speed: Speed) -> String {
        match self.audience {
            Audience::All(count) => format!("fan-out to {count}, {speed}"),
            Audience::One(count) => format!("unicast among {count}, {speed}"),
        }
    }

    fn subscriptions(&self, number: usize) -> String {
        match self.audience {
            Audience::All(_) => wants_all(),
            Audience::One(_) => wants_own(number),
        }
    }
}

/// Who is compared; the floor is the first.
const CONTENDERS: [(&str, Transport); 3] = [
    ("floor", Transport::Sse),
    ("SSE", Transport::Sse),
    ("WebSocket", Transport::Ws),
];

/// What the rounds have shown of one contender under one load.
#[derive(Debug, Default, Clone)]
struct Rounds {
    per_second: Figures,
    latencies: [Figures; 3],
    cpu: [Figures; 3],
    per_read: Figures,
    /// Of the floor's rate, processor time, median and 99th percentile of the latency.
    parts: [Figures; 4],
    others: Figures,
    faults: Faults,
}

/// Returns the empty table.
pub(crate) const fn sheet() -> Sheet {
    Sheet::new(&[
        "load",
        "deliveries/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "server CPU-s/M",
        "of it shards",
        "of it broker",
        "events per read",
        "times the floor's: deliveries/s",
        "CPU",
        "p50",
        "p99",
        "CPU of others",
    ])
}

/// Measures so many rounds.
pub(crate) async fn measure(
    options: &DeliveryOptions,
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
    options: &DeliveryOptions,
    rounds: u32,
    setup: &Setup,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    let gateway = Server::gateway(setup).await?;
    let floor = gateway.floor_like().await?;
    for group in options.groups() {
        let mut found = vec![vec![Rounds::default(); CONTENDERS.len()]; group.speeds.len()];
        for _ in 0..rounds {
            round(options, [&floor, &gateway], &group, &mut found).await?;
        }
        for (speed, found) in group.speeds.iter().zip(&found) {
            for ((contender, _), found) in CONTENDERS.iter().zip(found) {
                sheet.add(
                    found.cells(format!("{}, {contender}", group.name(*speed))),
                    found.faults,
                );
            }
        }
    }
    Ok(())
}

/// Measures each contender once under each load of a group.
async fn round(
    options: &DeliveryOptions,
    [floor, gateway]: [&Server; 2],
    group: &Group,
    found: &mut [Vec<Rounds>],
) -> anyhow::Result<()> {
    let mut of_floor = Vec::new();
    for (place, (contender, transport)) in CONTENDERS.iter().enumerate() {
        let server = if place == 0 { floor } else { gateway };
        let audience = group.audience;
        let count = audience.clients();
        let wants = |number| group.subscriptions(number);
        let clients = Clients::open(server.address(), *transport, count, wants).await?;
        let gently = Speed::PerSecond(20);
        server.deliver(&clients, audience, gently, WARM_UP).await?;
        for (number, speed) in group.speeds.iter().enumerate() {
            let duration = options.duration(*speed);
            let deliveries = server.deliver(&clients, audience, *speed, duration).await?;
            eprintln!("measured: {}, {contender}", group.name(*speed));
            let figures = Each::of(&deliveries);
            if place == 0 {
                of_floor.push(figures);
            }
            let rounds = found.get_mut(number).and_then(|found| found.get_mut(place));
            if let (Some(rounds), Some(floor)) = (rounds, of_floor.get(number)) {
                rounds.add(&deliveries, &figures, floor);
            }
        }
    }
    Ok(())
}

/// The figures that are compared: rate, processor time, median and 99th percentile of the latency.
#[derive(Debug, Clone, Copy)]
struct Each([f64; 4]);

impl Each {
    fn of(deliveries: &Deliveries) -> Self {
        Self([
            part(deliveries.received, deliveries.elapsed.as_secs_f64()),
            per_million(deliveries.cpu.all, deliveries.received),
            deliveries.p50.as_secs_f64() * 1e3,
            deliveries.p99.as_secs_f64() * 1e3,
        ])
    }
}

impl Rounds {
    fn add(&mut self, deliveries: &Deliveries, Each(figures): &Each, Each(floor): &Each) {
        let [per_second, ..] = figures;
        self.per_second.add(*per_second);
        let latencies = [deliveries.p50, deliveries.p99, deliveries.max];
        for (figures, latency) in self.latencies.iter_mut().zip(latencies) {
            figures.add_milliseconds(latency);
        }
        let cpu = deliveries.cpu;
        for (figures, seconds) in self.cpu.iter_mut().zip([cpu.all, cpu.shards, cpu.broker]) {
            figures.add(per_million(seconds, deliveries.received));
        }
        self.per_read
            .add(part(deliveries.received, part(deliveries.reads, 1.0)));
        for ((parts, figure), floor) in self.parts.iter_mut().zip(figures).zip(floor) {
            // Less than a tick of processor time is nothing to compare with.
            if *floor > 0.0 {
                parts.add(figure / floor);
            }
        }
        self.others.add(deliveries.others * 100.0);
        self.faults += deliveries.faults;
    }

    fn cells(&self, name: String) -> Vec<String> {
        let mut cells = vec![name, self.per_second.whole()];
        cells.extend(self.latencies.iter().map(Figures::fine));
        cells.extend(self.cpu.iter().map(Figures::fine));
        cells.push(self.per_read.fine());
        cells.extend(
            self.parts
                .iter()
                .map(|part| part.median().map_or_else(|| "–".to_owned(), ratio)),
        );
        cells.push(self.others.show(|others| format!("{others:.0} %")));
        cells
    }
}
