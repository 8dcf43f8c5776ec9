//! The figures, and the table that shows them.

use std::fmt;
use std::time::Duration;

use crate::usage::Cpu;

/// What idle connections cost.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) connections: usize,
    /// From the first to the last opened, each until its subscriptions were in force.
    pub(crate) elapsed: Duration,
    /// What the process grew by.
    pub(crate) bytes: u64,
    /// What it had before.
    pub(crate) empty_bytes: u64,
    pub(crate) cpu: Cpu,
    pub(crate) others: f64,
}

/// How a load was delivered.
#[derive(Debug)]
pub(crate) struct Deliveries {
    /// From the start to the last delivery.
    pub(crate) elapsed: Duration,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_order: u64,
    pub(crate) misdirected: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
    pub(crate) cpu: Cpu,
    pub(crate) others: f64,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) enum Row {
    Idle(Idle),
    Deliveries(Deliveries),
}

/// Everything that was measured, as Markdown.
#[derive(Debug)]
pub(crate) struct Table {
    machine: String,
    rows: Vec<(String, Row)>,
}

impl Table {
    pub(crate) fn new(is_embedded: bool) -> Self {
        let machine = format!(
            "{}; 200-byte events; CPU in seconds per million deliveries or opens",
            machine(is_embedded)
        );
        Self {
            machine,
            rows: Vec::new(),
        }
    }

    /// Returns whether every client got every event that it should get, once and in order.
    pub(crate) fn is_faultless(&self) -> bool {
        self.rows.iter().all(|(_, row)| match row {
            Row::Idle(_) => true,
            Row::Deliveries(Deliveries {
                lost,
                duplicates,
                out_of_order,
                misdirected,
                ..
            }) => [lost, duplicates, out_of_order, misdirected] == [&0; 4],
        })
    }

    /// Adds a line, and says on standard error that it is there.
    pub(crate) fn add(&mut self, name: String, row: Row) {
        eprintln!("measured: {name}");
        self.rows.push((name, row));
    }
}

/// Returns what figures depend on.
pub(crate) fn machine(is_embedded: bool) -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let broker = if is_embedded {
        "embedded, in the process that is measured"
    } else {
        "outside of the process"
    };
    format!("{cores} cores, shared with the load generator; broker {broker}")
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| load | rate | p50 ms | p99 ms | max ms | server CPU-s/M | of it shards | of it broker \
             | RSS B/connection | lost / twice / late / misdirected | CPU of others |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
        for (name, row) in &self.rows {
            writeln!(f, "| {name} | {row} |")?;
        }
        write!(f, "\n{}", self.machine)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle(idle) => idle.fmt(f),
            Self::Deliveries(deliveries) => deliveries.fmt(f),
        }
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.connections as u64;
        let per_connection = self.bytes.checked_div(count).unwrap_or(0);
        write!(
            f,
            "{:.0} opens/s | – | – | – | {} | {per_connection} over {} MiB | – | {:.0} %",
            per_second(count, self.elapsed),
            cpu_per_million(self.cpu, count),
            self.empty_bytes / 1024 / 1024,
            self.others * 100.0,
        )
    }
}

impl fmt::Display for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} deliveries/s | {} | {} | {} | {} | – | {} / {} / {} / {} | {:.0} %",
            per_second(self.received, self.elapsed),
            milliseconds(self.p50),
            milliseconds(self.p99),
            milliseconds(self.max),
            cpu_per_million(self.cpu, self.received),
            self.lost,
            self.duplicates,
            self.out_of_order,
            self.misdirected,
            self.others * 100.0,
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(f64::EPSILON)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn cpu_per_million(cpu: Cpu, count: u64) -> String {
    let millions = count.max(1) as f64 / 1e6;
    let [all, shards, broker] = [cpu.all, cpu.shards, cpu.broker].map(|cpu| cpu / millions);
    format!("{all:.2} | {shards:.2} | {broker:.2}")
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e3)
}
