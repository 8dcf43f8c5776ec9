//! What Linux says about the memory and the processor time of processes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::AbortHandle;

use crate::median::per_million;

/// How often memory is read where it is watched.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// The unit of times in `/proc`; the same on every architecture that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time since the start of a process, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) all: f64,
    /// Of the threads `shard-…`.
    pub(crate) shards: f64,
    /// Of the threads of the embedded broker.
    pub(crate) broker: f64,
}

impl std::ops::Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            all: self.all - earlier.all,
            shards: self.shards - earlier.shards,
            broker: self.broker - earlier.broker,
        }
    }
}

/// Returns the processor time of a process.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Cpu> {
    let mut cpu = Cpu {
        all: times(&format!("/proc/{pid}/stat"))?.1,
        ..Cpu::default()
    };
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while we look.
        let Ok((name, seconds)) = times(&format!("{}/stat", thread?.path().display())) else {
            continue;
        };
        if name.starts_with("shard-") {
            cpu.shards += seconds;
        } else if name.starts_with("broker") {
            cpu.broker += seconds;
        }
    }
    Ok(cpu)
}

/// Processor time by the names of threads, in seconds; threads that differ only in their numbers count
/// together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Threads(BTreeMap<String, f64>);

/// Returns the processor time of the threads of a process.
pub(crate) fn threads(pid: u32) -> anyhow::Result<Threads> {
    let mut threads = Threads::default();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while we look.
        let Ok((name, seconds)) = times(&format!("{}/stat", thread?.path().display())) else {
            continue;
        };
        let name = name.trim_end_matches(|char: char| char.is_ascii_digit());
        *threads.0.entry(name.to_owned()).or_default() += seconds;
    }
    Ok(threads)
}

impl std::ops::Sub for Threads {
    type Output = Self;

    fn sub(mut self, earlier: Self) -> Self {
        for (name, seconds) in earlier.0 {
            *self.0.entry(name).or_default() -= seconds;
        }
        self
    }
}

impl std::ops::AddAssign for Threads {
    fn add_assign(&mut self, other: Self) {
        for (name, seconds) in other.0 {
            *self.0.entry(name).or_default() += seconds;
        }
    }
}

impl Threads {
    /// Returns what each used for a million of something, the busiest first.
    pub(crate) fn per_million(&self, count: u64) -> String {
        let mut used: Vec<(&String, &f64)> = self.0.iter().collect();
        used.sort_unstable_by(|(_, one), (_, other)| other.total_cmp(one));
        let used = used
            .iter()
            .map(|(name, seconds)| (name, per_million(**seconds, count)));
        let shown = used.filter(|(_, seconds)| *seconds >= 0.005);
        let texts: Vec<String> = shown
            .map(|(name, seconds)| format!("{name} {seconds:.2}"))
            .collect();
        texts.join(", ")
    }
}

/// Reads a name and the time spent in user and system mode from a `stat` file.
fn times(path: &str) -> anyhow::Result<(String, f64)> {
    let stat = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let (before, after) = stat.rsplit_once(')').context("stat has no name")?;
    let name = before
        .split_once('(')
        .map_or("", |(_, name)| name)
        .to_owned();
    // The fields utime and stime are the 12th and 13th after the name.
    let ticks = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<f64>);
    let ticks: f64 = ticks.sum::<Result<f64, _>>().context("stat has no times")?;
    Ok((name, ticks / TICKS_PER_SECOND))
}

/// Returns the resident memory of a process in bytes, summed over its mappings and so exact.
pub(crate) fn rss_bytes(pid: u32) -> anyhow::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .context("no Rss")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// The resident memory of a process over time, read until it is dropped.
#[derive(Debug)]
pub(crate) struct Memory {
    samples: Rc<RefCell<Vec<(Duration, u64)>>>,
    reading: AbortHandle,
}

impl Memory {
    /// Begins to read; on the thread of the clients.
    pub(crate) fn watch(pid: u32) -> Self {
        let samples = Rc::new(RefCell::new(Vec::new()));
        let (began, to) = (Instant::now(), Rc::clone(&samples));
        let reading = tokio::task::spawn_local(async move {
            // Until the process has ended.
            while let Ok(bytes) = rss_bytes(pid) {
                to.borrow_mut().push((began.elapsed(), bytes));
                tokio::time::sleep(SAMPLE_EVERY).await;
            }
        });
        let reading = reading.abort_handle();
        Self { samples, reading }
    }

    /// Returns the most there was.
    pub(crate) fn max_bytes(&self) -> u64 {
        let samples = self.samples.borrow();
        samples.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0)
    }

    /// Returns one sample of each so long, as seconds and MiB.
    pub(crate) fn over_time(&self, step: Duration) -> String {
        let mut next = Duration::ZERO;
        let mut text = Vec::new();
        for (at, bytes) in &*self.samples.borrow() {
            if *at >= next {
                text.push(format!("{} s: {}", at.as_secs(), bytes / 1024 / 1024));
                next = *at + step;
            }
        }
        text.join(", ")
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Processor time of the server, of this process and of the whole machine, at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) server: Cpu,
    generator: f64,
    machine: f64,
}

impl Usage {
    pub(crate) fn now(server: u32) -> anyhow::Result<Self> {
        Ok(Self {
            server: cpu(server)?,
            generator: times("/proc/self/stat")?.1,
            machine: busy()?,
        })
    }

    /// Returns what all other processes used since `earlier`, as a part of one core.
    pub(crate) fn others_since(&self, earlier: &Self, elapsed: Duration) -> f64 {
        let ours = (self.server - earlier.server).all + self.generator - earlier.generator;
        ((self.machine - earlier.machine - ours) / elapsed.as_secs_f64()).max(0.0)
    }
}

/// Returns for how many core-seconds the machine was busy: user, nice, system, irq, softirq.
fn busy() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields: Vec<f64> = stat
        .lines()
        .next()
        .context("/proc/stat is empty")?
        .split_whitespace()
        .skip(1)
        .map_while(|field| field.parse().ok())
        .collect();
    let ticks: f64 = [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|field| fields.get(*field))
        .sum();
    Ok(ticks / TICKS_PER_SECOND)
}
