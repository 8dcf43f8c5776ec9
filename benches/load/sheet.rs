//! A table of one scenario, as Markdown, with what went wrong in each line.

use std::fmt;
use std::time::Duration;

/// What no client may see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    /// After a later one of the same partition and key.
    pub(crate) late: u64,
    /// Events that the client did not want.
    pub(crate) foreign: u64,
    /// Connections that were refused, or closed by the server.
    pub(crate) closed: u64,
}

impl std::ops::AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.twice += other.twice;
        self.late += other.late;
        self.foreign += other.foreign;
        self.closed += other.closed;
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            twice,
            late,
            foreign,
            closed,
        } = self;
        write!(f, "{lost} / {twice} / {late} / {foreign} / {closed}")
    }
}

/// A table; its last column are the faults.
#[derive(Debug)]
pub(crate) struct Sheet {
    columns: &'static [&'static str],
    rows: Vec<(Vec<String>, Faults)>,
    notes: Vec<String>,
}

impl Sheet {
    pub(crate) const fn new(columns: &'static [&'static str]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a line, and shows it on standard error, should the run not come to its end.
    pub(crate) fn add(&mut self, cells: Vec<String>, faults: Faults) {
        eprintln!("measured: {} | {faults}", cells.join(" | "));
        self.rows.push((cells, faults));
    }

    /// Adds a line below the table.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Returns whether nothing went wrong.
    pub(crate) fn is_faultless(&self) -> bool {
        let nothing = Faults::default();
        self.rows.iter().all(|(_, faults)| *faults == nothing)
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

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns.join(" | ");
        writeln!(f, "| {columns} | lost / twice / late / foreign / closed |")?;
        writeln!(f, "|---{}|--:|", "|--:".repeat(self.columns.len() - 1))?;
        for (cells, faults) in &self.rows {
            writeln!(f, "| {} | {faults} |", cells.join(" | "))?;
        }
        for note in &self.notes {
            write!(f, "\n{note}\n")?;
        }
        Ok(())
    }
}

/// Divides a count.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn part(count: u64, of: f64) -> f64 {
    count as f64 / of.max(f64::EPSILON)
}

/// Returns how many there were in a second.
pub(crate) fn rate(count: u64, elapsed: Duration) -> String {
    format!("{:.0}", part(count, elapsed.as_secs_f64()))
}

pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e3)
}

/// Returns median, 99th percentile and maximum in milliseconds.
pub(crate) fn spread(latencies: [Duration; 3]) -> String {
    latencies.map(milliseconds).join(" / ")
}

pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{}", bytes / 1024 / 1024)
}
