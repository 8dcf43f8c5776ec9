//! What a run was like and what was found, to be read and pasted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::findings::{Finding, Kind};
use super::options::Fault;

/// The outcome of a run.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub duration: Duration,
    pub kafka: &'static str,
    pub instances: usize,
    pub clients: usize,
    pub faults: BTreeMap<Fault, u64>,
    /// Connections that were cut at a random byte.
    pub cuts: u64,
    pub produced: u64,
    pub acknowledged: u64,
    pub written: usize,
    /// Events that a producer's library wrote again after an outage.
    pub repeated: usize,
    pub delivered: usize,
    pub connections: usize,
    pub findings: Vec<Finding>,
    /// How many findings of each kind are shown.
    pub shown: usize,
}

impl Report {
    /// Returns how often something is wrong.
    pub fn count(&self, kind: Kind) -> usize {
        let of_kind = self.findings.iter().filter(|finding| finding.kind == kind);
        of_kind.count()
    }

    /// Returns what is wrong, each kind once.
    pub fn kinds(&self) -> Vec<Kind> {
        let all = Kind::ALL.into_iter();
        all.filter(|kind| self.count(*kind) > 0).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| history | |\n| --- | ---: |")?;
        let mut row = |name: &str, value: String| writeln!(f, "| {name} | {value} |");
        row("seed", self.seed.to_string())?;
        row(
            "minutes",
            format!("{:.1}", self.duration.as_secs_f64() / 60.0),
        )?;
        row("kafka", self.kafka.to_owned())?;
        row("instances", self.instances.to_string())?;
        row("clients", self.clients.to_string())?;
        for (fault, count) in &self.faults {
            row(&format!("fault: {fault}"), count.to_string())?;
        }
        row("fault: cut at a random byte", self.cuts.to_string())?;
        row("events produced", self.produced.to_string())?;
        row("events acknowledged", self.acknowledged.to_string())?;
        row("events in Kafka", self.written.to_string())?;
        row(
            "of them sent again by their producer",
            self.repeated.to_string(),
        )?;
        row("connections and visits", self.connections.to_string())?;
        row("events delivered", self.delivered.to_string())?;
        for kind in Kind::ALL {
            row(&kind.to_string(), self.count(kind).to_string())?;
        }
        for kind in self.kinds() {
            writeln!(f)?;
            let of_kind = self.findings.iter().filter(|finding| finding.kind == kind);
            for finding in of_kind.take(self.shown) {
                writeln!(f, "{kind}: {}", finding.what)?;
            }
        }
        Ok(())
    }
}
