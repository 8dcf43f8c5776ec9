//! What a run is like.

use std::net::SocketAddr;
use std::time::Duration;

/// Checks the histories of many clients while things break
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "check-history", no_binary_name = true)]
pub struct Options {
    /// How long things break
    #[arg(long, default_value_t = 1.0)]
    pub minutes: f64,
    /// From which the plan of the run follows; a random one by default
    #[arg(long, default_value_t = u64::from(std::process::id()))]
    pub seed: u64,
    /// A Kafka on loopback, which is left alone; by default one is started, killed and frozen
    #[arg(long, value_name = "IP:PORT", value_parser = on_loopback)]
    pub kafka: Option<SocketAddr>,
    /// Starts the embedded broker in place of Apache Kafka
    #[arg(long)]
    pub embedded: bool,
    /// How many instances
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub instances: u16,
    /// How many clients, a third of each transport
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub clients: u16,
    /// How many producers write to Kafka; a third as many, rounded up, submit over HTTP
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub producers: u16,
    /// How many events a second are written to Kafka
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub rate: u32,
    /// How many bytes each event carries that nobody looks at
    #[arg(long, default_value_t = 200)]
    pub padding: usize,
    /// Mean time between two faults, in seconds
    #[arg(long, default_value_t = 4.0)]
    pub fault_every: f64,
    /// How many of a hundred connections are cut at a random byte
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub cut_percent: u8,
    /// Within how many bytes they are cut
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub cut_within: u32,
    /// Which faults there are; those of Kafka need a Kafka of our own
    #[arg(long, value_delimiter = ',', default_values_t = [Fault::Kill, Fault::Terminate, Fault::Freeze, Fault::Cut, Fault::KafkaKill, Fault::KafkaFreeze])]
    pub faults: Vec<Fault>,
    /// Memory for the newest events of each instance
    #[arg(long, default_value = "64MiB")]
    pub ring: String,
    /// Events that may wait for one connection
    #[arg(long, default_value = "64KiB")]
    pub outbox: String,
    /// Lets a quarter of the clients begin with `start=earliest`
    #[arg(long)]
    pub earliest: bool,
    /// A bug of the clients that the verdict has to name
    #[arg(long)]
    pub plant: Option<Plant>,
}

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Fault {
    /// An instance is killed as by kill -9, and started again.
    Kill,
    /// An instance is told to end, and started again.
    Terminate,
    /// An instance is stopped, and goes on later.
    Freeze,
    /// All connections to an instance are cut. Single ones are cut all the time.
    Cut,
    /// Kafka is killed, and started again.
    KafkaKill,
    /// Kafka is stopped, and goes on later.
    KafkaFreeze,
}

/// A bug that is put into the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// Hands back a cursor that is one further on in one partition.
    ResumePastOne,
    /// Hands back a cursor that is one further back in one partition.
    ResumeBeforeOne,
    /// Asks for everything, whatever it should want.
    WrongFilter,
    /// Swaps two events of one key.
    Swapped,
}

impl Options {
    /// Returns how long things break.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }

    /// Returns how many producers submit over HTTP.
    pub fn submitters(&self) -> u16 {
        self.producers.div_ceil(3)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::Terminate => "terminate",
            Self::Freeze => "freeze",
            Self::Cut => "cut",
            Self::KafkaKill => "kafka-kill",
            Self::KafkaFreeze => "kafka-freeze",
        })
    }
}

fn on_loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|error| format!("{error}"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!("{address} is not on loopback"))
    }
}
