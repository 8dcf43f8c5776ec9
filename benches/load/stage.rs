//! What the scenarios of those who come back have in common: an instance, somebody who produces for
//! it, and clients that go on after a cursor.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clients::{Client, Door, Transport};
use crate::gateway::{Gateway, Setup};
use crate::histories::Histories;
use crate::producer::Producer;
use crate::production::{PARTITIONS, Production, Share};
use crate::tally::Book as _;

/// For how long nothing may come before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(20);
/// For how long an instance may read nothing from Kafka that was produced.
const STANDSTILL: Duration = Duration::from_secs(120);
/// How long a connection may take to open, in a crowd.
const PATIENCE: Duration = Duration::from_secs(90);
/// For how long events that come twice are waited for.
const AFTERMATH: Duration = Duration::from_millis(300);
/// For how long the client of the producer collects what it sends together.
const LINGER: Duration = Duration::from_millis(5);
/// The least there can be in memory; replays then come from Kafka.
const LITTLE: &str = "64KiB";
/// More than these scenarios produce between a cursor and its return.
const MUCH: &str = "1GiB";

/// Where the events of a replay come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Source {
    /// The newest events in memory
    Ring,
    /// Kafka, with next to nothing in memory
    Kafka,
}

impl Source {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Kafka => "Kafka",
        }
    }

    /// Returns the settings that make replays come from here.
    pub(crate) const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Ring => &[("REPLAY_RING_BYTES", MUCH)],
            Self::Kafka => &[("REPLAY_RING_BYTES", LITTLE), ("OUTBOX_BYTES", LITTLE)],
        }
    }
}

/// An instance with its producer.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    topic: String,
    producer: Producer,
    /// The number of the next event.
    next: Cell<u64>,
}

impl Stage {
    /// Starts an instance with further settings for `play`, and removes what both have left.
    pub(crate) async fn with<T>(
        kafka: Option<&str>,
        settings: &[(&str, &str)],
        play: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        Setup::with(kafka, async |setup| Self::play(setup, settings, play).await).await
    }

    async fn play<T>(
        setup: &Setup,
        settings: &[(&str, &str)],
        play: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let partitions = PARTITIONS.to_string();
        let mut all = vec![
            ("KAFKA_SOURCE_PARTITIONS", partitions.as_str()),
            // Those who sleep are not to be closed for it.
            ("WRITE_TIMEOUT", "10m"),
        ];
        all.extend(settings);
        let gateway = Gateway::start_with(setup, &all).await?;
        let topic = setup.topic();
        // The embedded broker chokes on large batches.
        let most = if setup.is_embedded() { 100 } else { 10_000 };
        let stage = Self {
            producer: Producer::gathering(gateway.brokers(), &topic, LINGER, most)?,
            gateway,
            topic,
            next: Cell::new(0),
        };
        play(&stage).await
    }

    /// Returns how an event stream with these subscriptions is opened.
    pub(crate) fn door(&self, subscriptions: String) -> Door {
        Door::new(self.gateway.public(), Transport::Sse, subscriptions)
    }

    /// Returns the topic of the events.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns the producer that gathers events.
    pub(crate) fn producer(&self) -> Producer {
        self.producer.clone()
    }

    /// Returns a producer that sends each event at once.
    pub(crate) fn prompt_producer(&self) -> anyhow::Result<Producer> {
        Producer::new(self.gateway.brokers(), &self.topic)
    }

    /// Plans events with numbers that no others have.
    pub(crate) fn plan(&self, count: u64, types: u64, event_bytes: usize) -> Production {
        let first = self.next.get();
        // One more than it needs, for whoever makes it longer.
        self.next.set(first + count + 1);
        Production {
            first,
            count,
            types,
            event_bytes,
        }
    }

    /// Returns the cursor of somebody who connects now.
    pub(crate) async fn cursor(&self) -> anyhow::Result<String> {
        let opening = Client::open(self.door("[]".to_owned()));
        let client = timeout(PATIENCE, opening).await??;
        ensure!(!client.cursor.is_empty(), "there is no cursor");
        Ok(client.cursor)
    }

    /// Sends events as fast as the broker takes them; returns how long that took.
    pub(crate) async fn produce(&self, production: Production) -> anyhow::Result<Duration> {
        self.send(production, None).await
    }

    /// Sends events, so many a second if that is said; returns how long that took.
    pub(crate) async fn send(
        &self,
        production: Production,
        per_second: Option<u64>,
    ) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let producer = self.producer.clone();
        let sending = move || production.send(&producer, 0, per_second);
        tokio::task::spawn_blocking(sending).await??;
        let elapsed = began.elapsed();
        eprintln!("produced: {} events in {elapsed:.1?}", production.count);
        Ok(elapsed)
    }

    /// Waits until clients have seen everything that was produced: until one has a new event of each
    /// partition.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        let marks = self.plan(u64::from(PARTITIONS), 1, 0);
        let share = Share {
            production: marks,
            which: None,
        };
        let client = Client::open(self.door(marks.wants(None))).await?;
        let mut probe = Readers::of(Histories::of([share]));
        probe.listen(0, client);
        self.produce(marks).await?;
        let mut consumed = 0.0;
        let mut since = Instant::now();
        while !probe.histories.borrow().is_complete() {
            let now = self
                .gateway
                .metric("sluicegate_consumed_records_total", "")?;
            if now > consumed {
                (consumed, since) = (now, Instant::now());
            }
            let is_patient = since.elapsed() < STANDSTILL;
            ensure!(is_patient, "a client does not get what is produced");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Checks that replays came from `source`, `count` of them since the metric had this value.
    pub(crate) fn check_source(
        &self,
        source: Source,
        before: f64,
        count: u32,
    ) -> anyhow::Result<()> {
        let from_kafka = self.resumes_from_kafka()? - before;
        let is_as_said = match source {
            Source::Ring => from_kafka < 0.5,
            Source::Kafka => from_kafka > f64::from(count) - 0.5,
        };
        ensure!(
            is_as_said,
            "{from_kafka} of {count} replays came from Kafka, which is not what was to be measured"
        );
        Ok(())
    }

    /// Returns how many replays have come from Kafka.
    pub(crate) fn resumes_from_kafka(&self) -> anyhow::Result<f64> {
        self.gateway.metric("sluicegate_resumes_total", "kafka")
    }
}

/// Clients that read, each its share; their connections are closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Readers {
    /// What they have; borrowed only between awaits.
    pub(crate) histories: Rc<RefCell<Histories>>,
    scratch: Rc<RefCell<Vec<u8>>>,
    tasks: JoinSet<()>,
}

impl Readers {
    pub(crate) fn of(histories: Histories) -> Self {
        Self {
            histories: Rc::new(RefCell::new(histories)),
            scratch: Rc::new(RefCell::new(vec![0; 64 * 1024])),
            tasks: JoinSet::new(),
        }
    }

    /// Lets an open connection read on.
    pub(crate) fn listen(&mut self, number: usize, client: Client) {
        let (histories, scratch) = (Rc::clone(&self.histories), Rc::clone(&self.scratch));
        self.tasks
            .spawn_local(client.listen(number, histories, scratch));
    }

    /// Opens a connection and reads; calls `opened` between. One that cannot be opened counts as
    /// closed.
    pub(crate) fn open(&mut self, number: usize, door: Door, opened: impl FnOnce() + 'static) {
        let (histories, scratch) = (Rc::clone(&self.histories), Rc::clone(&self.scratch));
        self.tasks.spawn_local(async move {
            match within(PATIENCE, Client::open(door)).await {
                Ok(client) => {
                    opened();
                    client.listen(number, histories, scratch).await;
                }
                Err(error) => {
                    eprintln!("connection {number}: {error:#}");
                    histories.borrow_mut().on_closed();
                }
            }
        });
    }

    /// Waits until all have everything, or until nothing comes any more; and then for what comes twice.
    pub(crate) async fn wait(&self) {
        let mut received = 0;
        let mut since = Instant::now();
        while since.elapsed() < SILENCE {
            let (is_complete, now) = {
                let histories = self.histories.borrow();
                (histories.is_complete(), histories.received)
            };
            if is_complete {
                break;
            }
            if now > received {
                (received, since) = (now, Instant::now());
            }
            sleep(Duration::from_millis(2)).await;
        }
        sleep(AFTERMATH).await;
    }
}

/// Waits for an outcome, so long at most.
pub(crate) async fn within<T>(
    patience: Duration,
    outcome: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    timeout(patience, outcome).await.context("not in time")?
}
