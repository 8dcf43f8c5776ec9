//! The settings of the shards.

use std::time::Duration;

use crate::settings;

/// How connections are served.
#[derive(Debug, Clone, clap::Args)]
pub struct DispatchConfig {
    /// Number of shards; 0 for one for each core
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        help_heading = "Connections"
    )]
    pub shards: u16,
    /// Time between two heartbeats of a quiet connection
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = heartbeat, help_heading = "Connections")]
    pub heartbeat_interval: Duration,
    /// Events that may wait for one connection before it reads the replay log instead
    #[arg(long, value_name = "SIZE", default_value = "256KiB", value_parser = settings::bytes, help_heading = "Connections")]
    pub outbox_bytes: usize,
    /// What becomes of a client whose events do not fit: it reads them later from the replay log, is disconnected to resume, or gets only the newest event of each key
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "replay",
        help_heading = "Connections"
    )]
    pub slow_client_policy: SlowClientPolicy,
    /// Time after which a client that takes no byte is closed
    #[arg(long, value_name = "DURATION", default_value = "40s", value_parser = settings::duration, help_heading = "Connections")]
    pub write_timeout: Duration,
}

/// What becomes of a client that takes its events slower than they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum SlowClientPolicy {
    /// It reads them from the replay log and from Kafka, at its own pace: nothing is lost.
    #[default]
    Replay,
    /// It is disconnected, and resumes with its cursor.
    Disconnect,
    /// It gets the newest event of each key, once it takes more.
    Latest,
}

impl DispatchConfig {
    /// Returns the number of shards to start.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        if self.shards > 0 {
            return self.shards;
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        u16::try_from(cores).unwrap_or(u16::MAX)
    }
}

/// Refuses intervals that would make a heartbeat a flood.
fn heartbeat(text: &str) -> Result<Duration, String> {
    let interval = settings::duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) {
        return Err("expected at least 100ms".to_owned());
    }
    Ok(interval)
}
