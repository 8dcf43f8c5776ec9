//! The settings of the replay log.

use crate::settings;

/// How much is kept for those who come back.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayConfig {
    /// Memory for the newest events, from which clients resume
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = settings::bytes, help_heading = "Replay")]
    pub replay_ring_bytes: usize,
    /// Memory for older events that are read again from Kafka, shared by all who need the same ones
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = settings::bytes, help_heading = "Replay")]
    pub replay_cache_bytes: usize,
}
