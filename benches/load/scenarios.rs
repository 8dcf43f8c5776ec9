//! What is measured, one after the other, each kind on an instance of its own where memory counts.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::time::sleep;

use crate::Options;
use crate::clients::{Clients, Transport};
use crate::event::{Moment, wants_all, wants_own};
use crate::figures::{Deliveries, Idle, Row, Table};
use crate::gateway::{Gateway, Setup};
use crate::producer::{self, Pace, Plan, Producer};
use crate::tally::Audience;
use crate::usage::{self, Usage};

/// How long memory may settle before it is read.
const SETTLE: Duration = Duration::from_secs(1);
/// For how long nothing may come before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(5);
/// How often clients are opened and closed before the memory of an instance without any is read.
const WARM_UP: usize = 100;

/// Measures everything; returns the table.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Table> {
    let setup = Setup::new(options.kafka.as_deref())?;
    let mut table = Table::new(options.kafka.is_none());
    let measured = measure(options, &setup, &mut table).await;
    if let Some(kafka) = &options.kafka {
        let topics = setup.topics();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        producer::delete(kafka, &names).await?;
    }
    measured.map(|()| table)
}

async fn measure(options: &Options, setup: &Setup, table: &mut Table) -> anyhow::Result<()> {
    let idle = options.connections;
    for (transport, name) in [(Transport::Sse, "SSE"), (Transport::Ws, "WebSocket")] {
        let figures = open_idle(setup, transport, idle).await?;
        table.add(format!("{idle} idle {name}"), Row::Idle(figures));
    }
    let subscribers = options.subscribers as usize;
    let duration = Duration::from_secs(u64::from(options.seconds));
    let load = Load::start(setup, duration).await?;
    let all = Audience::All(subscribers);
    let clients = Clients::open(load.gateway.public(), Transport::Sse, subscribers, |_| {
        wants_all()
    })
    .await?;
    for (speed, name) in [
        (Speed::PerSecond(20), "20 events/s"),
        (Speed::Window(8), "8 in flight"),
    ] {
        let figures = load.deliver(&clients, all, speed).await?;
        table.add(
            format!("fan-out to {subscribers} SSE, {name}"),
            Row::Deliveries(figures),
        );
    }
    drop(clients);
    let own = Audience::One(subscribers);
    let clients = Clients::open(
        load.gateway.public(),
        Transport::Sse,
        subscribers,
        wants_own,
    )
    .await?;
    for (speed, name) in [
        (Speed::PerSecond(1_000), "1000 events/s"),
        (Speed::Window(64), "64 in flight"),
    ] {
        let figures = load.deliver(&clients, own, speed).await?;
        table.add(
            format!("unicast among {subscribers} SSE, {name}"),
            Row::Deliveries(figures),
        );
    }
    Ok(())
}

/// Opens connections that get nothing, and reads what they cost.
async fn open_idle(setup: &Setup, transport: Transport, count: usize) -> anyhow::Result<Idle> {
    let gateway = Gateway::start(setup).await?;
    let server = gateway.public();
    // So that what the first connections bring into memory once does not count for each.
    drop(Clients::open(server, transport, WARM_UP, |_| wants_all()).await?);
    sleep(SETTLE).await;
    let empty_bytes = usage::rss_bytes(gateway.id())?;
    let before = Usage::now(gateway.id())?;
    let began = Instant::now();
    let clients = Clients::open(server, transport, count, |_| wants_all()).await?;
    let elapsed = began.elapsed();
    let after = Usage::now(gateway.id())?;
    sleep(SETTLE).await;
    let full_bytes = usage::rss_bytes(gateway.id())?;
    let closed = clients.tally().borrow().closed;
    ensure!(closed == 0, "the server closed {closed} idle connections");
    Ok(Idle {
        connections: clients.count(),
        elapsed,
        bytes: full_bytes.saturating_sub(empty_bytes),
        empty_bytes,
        cpu: after.server - before.server,
        others: after.others_since(&before, elapsed),
    })
}

/// How events follow each other.
#[derive(Debug, Clone, Copy)]
enum Speed {
    /// So many a second.
    PerSecond(u32),
    /// So many at most that not everybody has who should.
    Window(usize),
}

/// An instance with somebody who produces for it.
struct Load {
    gateway: Gateway,
    producer: Producer,
    duration: Duration,
}

impl Load {
    async fn start(setup: &Setup, duration: Duration) -> anyhow::Result<Self> {
        let gateway = Gateway::start(setup).await?;
        let producer = Producer::new(gateway.brokers(), &setup.topic())?;
        Ok(Self {
            gateway,
            producer,
            duration,
        })
    }

    /// Sends at `speed` for the duration, after a second that does not count.
    async fn deliver(
        &self,
        clients: &Clients,
        audience: Audience,
        speed: Speed,
    ) -> anyhow::Result<Deliveries> {
        self.deliver_for(
            clients,
            audience,
            Speed::PerSecond(20),
            Duration::from_secs(1),
        )
        .await?;
        self.deliver_for(clients, audience, speed, self.duration)
            .await
    }

    async fn deliver_for(
        &self,
        clients: &Clients,
        audience: Audience,
        speed: Speed,
        duration: Duration,
    ) -> anyhow::Result<Deliveries> {
        let (pace, permits) = match speed {
            Speed::PerSecond(rate) => (Pace::PerSecond(rate), None),
            Speed::Window(size) => {
                let (sender, receiver) = std::sync::mpsc::sync_channel(size);
                for _ in 0..size {
                    sender.send(()).context("the receiver is here")?;
                }
                (Pace::Permits(receiver), Some(sender))
            }
        };
        clients.tally().borrow_mut().begin(audience, permits);
        let began = Moment::now();
        let before = Usage::now(self.gateway.id())?;
        let (producer, plan) = (
            self.producer.clone(),
            Plan {
                audience,
                pace,
                duration,
            },
        );
        let sent = tokio::task::spawn_blocking(move || producer.run(&plan)).await??;
        let expected = sent * audience.size();
        wait_for(clients, expected).await;
        let after = Usage::now(self.gateway.id())?;
        let until = Moment::now();
        let mut tally = clients.tally().borrow_mut();
        ensure!(
            tally.closed == 0,
            "the server closed {} connections under load",
            tally.closed
        );
        Ok(Deliveries {
            elapsed: tally.last.unwrap_or(until).since(began),
            received: tally.received,
            lost: expected.saturating_sub(tally.received),
            duplicates: tally.duplicates,
            out_of_order: tally.out_of_order,
            misdirected: tally.misdirected,
            p50: tally.latency(0.5).unwrap_or_default(),
            p99: tally.latency(0.99).unwrap_or_default(),
            max: tally.latency(1.0).unwrap_or_default(),
            cpu: after.server - before.server,
            others: after.others_since(&before, until.since(began)),
        })
    }
}

/// Waits until the clients have `expected` deliveries, or until nothing comes any more.
async fn wait_for(clients: &Clients, expected: u64) {
    let mut received = 0;
    let mut since = Instant::now();
    while since.elapsed() < SILENCE {
        let now = clients.tally().borrow().received;
        if now >= expected {
            // A moment for those that come twice.
            return sleep(Duration::from_millis(50)).await;
        }
        if now > received {
            (received, since) = (now, Instant::now());
        }
        sleep(Duration::from_millis(5)).await;
    }
}
