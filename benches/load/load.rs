//! One load: events that follow each other at a speed, from a server to all its clients or to one each.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::time::sleep;

use crate::clients::{Clients, Transport};
use crate::event::{Moment, wants_all};
use crate::floor::{Feed, Floor};
use crate::gateway::{Gateway, Setup};
use crate::producer::{Pace, Plan, Producer};
use crate::sheet::Faults;
use crate::tally::Audience;
use crate::usage::{Cpu, Usage};

/// For how long nothing may come before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(5);
/// For how long events that come twice are waited for.
const AFTERMATH: Duration = Duration::from_millis(50);

/// How events follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speed {
    /// So many a second.
    PerSecond(u32),
    /// So many at most that not everybody has who should.
    Window(usize),
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PerSecond(rate) => write!(f, "{rate} events/s"),
            Self::Window(size) => write!(f, "{size} in flight"),
        }
    }
}

/// What is measured, with somebody who produces for it.
pub(crate) enum Server {
    Gateway(Gateway, Producer),
    Floor(Floor),
}

/// Where events are sent to.
#[derive(Clone)]
enum Sender {
    Kafka(Producer),
    Floor(Feed),
}

/// How a load was delivered.
#[derive(Debug)]
pub(crate) struct Deliveries {
    /// From the start to the last delivery.
    pub(crate) elapsed: Duration,
    pub(crate) received: u64,
    /// How often a client read something.
    pub(crate) reads: u64,
    /// What the clients read.
    pub(crate) bytes: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
    /// Of events for one client, their numbers and latencies in microseconds.
    pub(crate) of_one: Vec<(u64, u32)>,
    pub(crate) cpu: Cpu,
    /// What other processes used, as a part of one core.
    pub(crate) others: f64,
    pub(crate) faults: Faults,
}

impl Server {
    /// Starts an instance.
    pub(crate) async fn gateway(setup: &Setup) -> anyhow::Result<Self> {
        let gateway = Gateway::start(setup).await?;
        let producer = Producer::new(gateway.brokers(), &setup.topic())?;
        Ok(Self::Gateway(gateway, producer))
    }

    /// Starts a floor that writes frames as long as those of the gateway, which it asks for one.
    pub(crate) async fn floor_like(&self) -> anyhow::Result<Self> {
        let frame_bytes = self.frame_bytes().await?;
        Ok(Self::Floor(Floor::start(frame_bytes)?))
    }

    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Gateway(gateway, _) => gateway.id(),
            Self::Floor(floor) => floor.id(),
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        match self {
            Self::Gateway(gateway, _) => gateway.public(),
            Self::Floor(floor) => floor.address(),
        }
    }

    /// Returns how long the blocks of its event streams are.
    async fn frame_bytes(&self) -> anyhow::Result<usize> {
        let clients = Clients::open(self.address(), Transport::Sse, 1, |_| wants_all()).await?;
        let (speed, duration) = (Speed::PerSecond(20), Duration::from_millis(500));
        let deliveries = self
            .deliver(&clients, Audience::All(1), speed, duration)
            .await?;
        let bytes = deliveries.bytes.checked_div(deliveries.received);
        Ok(usize::try_from(bytes.context("no event has come")?)?)
    }

    fn sender(&self) -> Sender {
        match self {
            Self::Gateway(_, producer) => Sender::Kafka(producer.clone()),
            Self::Floor(floor) => Sender::Floor(floor.feed()),
        }
    }

    /// Sends events at `speed` for the duration, and waits until the clients have them.
    pub(crate) async fn deliver(
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
        let before = Usage::now(self.id())?;
        let plan = Plan {
            audience,
            pace,
            duration,
        };
        let sender = self.sender();
        let sent = tokio::task::spawn_blocking(move || sender.run(&plan)).await??;
        let expected = sent * audience.size();
        wait_for(clients, expected).await;
        let after = Usage::now(self.id())?;
        let elapsed = Moment::now().since(began);
        let cpu = after.server - before.server;
        let others = after.others_since(&before, elapsed);
        let deliveries = Deliveries::of(clients, began, expected);
        ensure!(
            deliveries.faults.closed == 0,
            "the server closed {} connections under load",
            deliveries.faults.closed
        );
        Ok(Deliveries {
            cpu,
            others,
            ..deliveries
        })
    }
}

impl Sender {
    fn run(&self, plan: &Plan) -> anyhow::Result<u64> {
        match self {
            Self::Kafka(producer) => producer.run(plan),
            Self::Floor(feed) => feed.run(plan),
        }
    }
}

impl Deliveries {
    /// Returns what the clients have, of `expected` deliveries.
    fn of(clients: &Clients, began: Moment, expected: u64) -> Self {
        let mut tally = clients.tally().borrow_mut();
        let last = tally.last.unwrap_or_else(Moment::now);
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| tally.latency(part).unwrap_or_default());
        Self {
            elapsed: last.since(began),
            received: tally.received,
            reads: tally.reads,
            bytes: tally.bytes,
            p50,
            p99,
            max,
            of_one: std::mem::take(&mut tally.of_one),
            cpu: Cpu::default(),
            others: 0.0,
            faults: Faults {
                lost: expected.saturating_sub(tally.received),
                twice: tally.duplicates,
                late: tally.out_of_order,
                foreign: tally.misdirected,
                closed: tally.closed,
            },
        }
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
            return sleep(AFTERMATH).await;
        }
        if now > received {
            (received, since) = (now, Instant::now());
        }
        sleep(Duration::from_millis(5)).await;
    }
}
