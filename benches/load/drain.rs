//! How fast events go from Kafka through decoding, fields and matching, when nobody wants them and when
//! each is for one client, beside a consumer that only counts them.
//!
//! The instance is stopped (`SIGSTOP`) while the events are produced, so that all of them wait in
//! Kafka when it goes on. An embedded broker would stand still with it, so there has to be another one.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::sleep;

use crate::bare;
use crate::clients::{Clients, Transport};
use crate::event::{FOR_ONE, Moment, Stamp, wants_own};
use crate::gateway::Gateway;
use crate::median::{Figures, per_million, ratio};
use crate::producer::Producer;
use crate::production::PARTITIONS;
use crate::sheet::{Faults, Sheet};
use crate::stage::Stage;
use crate::tally::Audience;
use crate::usage::{self, Threads, Usage};

/// How often is looked at how far an instance is.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// For how long an instance may make no progress.
const STANDSTILL: Duration = Duration::from_secs(30);
/// How many values the field of the events takes that no client wants.
const VALUES: u64 = 100_000;
/// One of so many events does not count at the beginning, and one at the end.
const EDGE: u64 = 20;

/// What is drained.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DrainOptions {
    /// How many events wait in Kafka in each round
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(10_000..=20_000_000))]
    drain_events: u64,
    /// How large they are, in bytes of JSON
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(200..=100_000))]
    drain_event_bytes: u64,
    /// How many clients are connected, each of which wants a value of its own
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(..=19_000))]
    pub(crate) drain_clients: u32,
    /// Who wants the events
    #[arg(long, value_enum, value_delimiter = ',', default_value = "nobody,one")]
    drain_wanted: Vec<Wanted>,
}

/// Who wants the events that are drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Wanted {
    /// All clients want other values of the field
    Nobody,
    /// Each event is for one client
    One,
}

impl DrainOptions {
    /// Returns the value of the field in event `number`.
    fn to(&self, wanted: Wanted, number: u64) -> u64 {
        match wanted {
            Wanted::Nobody => VALUES + number % VALUES,
            Wanted::One => number % u64::from(self.drain_clients),
        }
    }
}

/// Returns the empty table.
pub(crate) const fn sheet() -> Sheet {
    Sheet::new(&[
        "drain",
        "events/s, median (min–max)",
        "part of the bare consumer's",
        "CPU-s/M",
        "CPU of others",
    ])
}

/// What the rounds have shown.
#[derive(Debug, Default)]
struct Rounds {
    bare: Figures,
    gateway: Figures,
    parts: Figures,
    cpu: Figures,
    others: Figures,
    threads: Threads,
    faults: Faults,
}

/// Measures so many rounds.
pub(crate) async fn measure(
    options: &DrainOptions,
    rounds: u32,
    kafka: Option<&str>,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    ensure!(
        kafka.is_some(),
        "what is drained has to wait in a --kafka outside of the process"
    );
    Stage::with(kafka, &[], async |stage| {
        let (server, count) = (stage.gateway.public(), options.drain_clients as usize);
        let clients = Clients::open(server, Transport::Sse, count, wants_own).await?;
        for wanted in options.drain_wanted.iter().copied() {
            let mut found = Rounds::default();
            for number in 0..rounds {
                let drain = Drain {
                    stage,
                    clients: &clients,
                    options,
                    wanted,
                };
                drain.round(number, &mut found).await?;
            }
            show(options, wanted, &found, sheet);
        }
        Ok(())
    })
    .await
}

/// One kind of events, and who gets them.
struct Drain<'a> {
    stage: &'a Stage,
    clients: &'a Clients,
    options: &'a DrainOptions,
    wanted: Wanted,
}

impl Drain<'_> {
    /// Produces what both read; who reads first changes with each round.
    async fn round(&self, number: u32, found: &mut Rounds) -> anyhow::Result<()> {
        let Self {
            stage,
            options,
            wanted,
            ..
        } = *self;
        stage.settle().await?;
        let (brokers, topic) = (stage.gateway.brokers().to_owned(), stage.topic().to_owned());
        let ends = bare::ends(brokers.clone(), topic.clone()).await?;
        let audience = Audience::One(options.drain_clients as usize);
        self.clients.tally().borrow_mut().begin(audience, None);
        let before = consumed(&stage.gateway)?;
        let frozen = stage.gateway.freeze()?;
        let (producer, producing) = (stage.producer(), options.clone());
        tokio::task::spawn_blocking(move || produce(&producer, &producing, wanted)).await??;
        let count = options.drain_events;
        let read = bare::count(brokers, topic, ends, count);
        let (counted, drained);
        if number.is_multiple_of(2) {
            counted = read.await?;
            drop(frozen);
            drained = self.drain(before, found).await?;
        } else {
            drop(frozen);
            drained = self.drain(before, found).await?;
            counted = read.await?;
        }
        let bare = per_second(&counted, count)?;
        let gateway = per_second(&drained, count)?;
        eprintln!("drained: {gateway:.0} events/s; the bare consumer: {bare:.0}");
        found.bare.add(bare);
        found.gateway.add(gateway);
        found.parts.add(gateway / bare);
        Ok(())
    }

    /// Looks at how many events are through until all are; returns when it had been how many.
    async fn drain(&self, before: u64, found: &mut Rounds) -> anyhow::Result<Vec<(Moment, u64)>> {
        let (gateway, count) = (&self.stage.gateway, self.options.drain_events);
        let usage_before = Usage::now(gateway.id())?;
        let threads_before = usage::threads(gateway.id())?;
        let began = Moment::now();
        let mut seen = vec![(began, 0)];
        let mut progress = began;
        loop {
            let now = match self.wanted {
                Wanted::Nobody => consumed(gateway)? - before,
                Wanted::One => self.clients.tally().borrow().received,
            };
            let at = Moment::now();
            if seen.last().is_some_and(|(_, last)| now > *last) {
                progress = at;
                seen.push((at, now));
            }
            if now >= count {
                break;
            }
            let is_stuck = at.since(progress) > STANDSTILL;
            ensure!(
                !is_stuck,
                "nothing comes any more after {now} of {count} events"
            );
            sleep(LOOK_EVERY).await;
        }
        let elapsed = Moment::now().since(began);
        let usage = Usage::now(gateway.id())?;
        let cpu = usage.server.all - usage_before.server.all;
        found.cpu.add(per_million(cpu, count));
        let others = usage.others_since(&usage_before, elapsed);
        found.others.add(others * 100.0);
        found.threads += usage::threads(gateway.id())? - threads_before;
        // Whether more comes than there is.
        sleep(LOOK_EVERY * 4).await;
        found.faults += self.faults(consumed(gateway)? - before);
        Ok(seen)
    }

    fn faults(&self, consumed: u64) -> Faults {
        let tally = self.clients.tally().borrow();
        let (received, wanted) = match self.wanted {
            Wanted::Nobody => (tally.received, 0),
            Wanted::One => (tally.received, self.options.drain_events),
        };
        Faults {
            lost: wanted.saturating_sub(received),
            twice: tally.duplicates + (consumed - self.options.drain_events),
            late: tally.out_of_order,
            foreign: tally.misdirected + received.saturating_sub(wanted),
            closed: tally.closed,
        }
    }
}

/// Sends the events, spread over all partitions, as fast as the broker takes them.
///
/// Blocks: for a thread of its own.
fn produce(producer: &Producer, options: &DrainOptions, wanted: Wanted) -> anyhow::Result<()> {
    let began = Moment::now();
    let bytes = usize::try_from(options.drain_event_bytes)?;
    for number in 0..options.drain_events {
        let due = Moment::now();
        let to = options.to(wanted, number);
        let event = Stamp { number, due }.event_of(FOR_ONE, to, bytes);
        let partition = i32::try_from(to % u64::from(PARTITIONS))?;
        producer.put(partition, &to.to_string(), &event)?;
    }
    producer.flush()?;
    let elapsed = Moment::now().since(began);
    eprintln!("produced: {} events in {elapsed:.1?}", options.drain_events);
    Ok(())
}

/// Returns how many records the instance has consumed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count"
)]
fn consumed(gateway: &Gateway) -> anyhow::Result<u64> {
    let consumed = gateway.metric("sluicegate_consumed_records_total", "")?;
    Ok(consumed.round() as u64)
}

/// Returns the rate between the edges.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_second(seen: &[(Moment, u64)], count: u64) -> anyhow::Result<f64> {
    let edge = count / EDGE;
    let (from, until) = reached(seen, edge)
        .zip(reached(seen, count - edge))
        .context("too few looks")?;
    Ok((count - 2 * edge) as f64 / until.since(from).as_secs_f64())
}

/// Returns when so many had been consumed, as if it had gone evenly between two looks.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn reached(seen: &[(Moment, u64)], number: u64) -> Option<Moment> {
    seen.array_windows()
        .find_map(|[(before, fewer), (after, more)]| {
            let is_between = *fewer < number && number <= *more;
            is_between.then(|| {
                let part = (number - fewer) as f64 / (more - fewer) as f64;
                before.after(after.since(*before).mul_f64(part))
            })
        })
}

fn show(options: &DrainOptions, wanted: Wanted, found: &Rounds, sheet: &mut Sheet) {
    let DrainOptions {
        drain_events,
        drain_event_bytes,
        drain_clients,
        ..
    } = options;
    let wanted = match wanted {
        Wanted::Nobody => format!("{drain_clients} clients want others"),
        Wanted::One => format!("each for one of {drain_clients} clients, which read them"),
    };
    let none = || "–".to_owned();
    let bare = vec![
        "bare consumer, which counts".to_owned(),
        found.bare.whole(),
        none(),
        none(),
        none(),
    ];
    sheet.add(bare, Faults::default());
    let gateway = vec![
        format!(
            "{drain_events} events of {drain_event_bytes} bytes, {PARTITIONS} partitions, \
             {wanted}"
        ),
        found.gateway.whole(),
        found.parts.show(ratio),
        found.cpu.show(|cpu| format!("{cpu:.2}")),
        found.others.show(|others| format!("{others:.0} %")),
    ];
    sheet.add(gateway, found.faults);
    let events = found.gateway.count() as u64 * drain_events;
    sheet.note(format!(
        "CPU-s/M of the instance by threads: {}",
        found.threads.per_million(events)
    ));
}
