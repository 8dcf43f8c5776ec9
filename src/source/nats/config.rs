//! Which subjects are read, and how.

use super::subjects::SubjectList;
use crate::settings;

/// The source subjects and how they are read.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "NATS")]
pub struct NatsSourceConfig {
    /// NATS subjects whose events are written to Kafka for the clients; wildcards are allowed
    #[arg(long, default_value = "rig", value_name = "SUBJECT,…")]
    pub nats_source_topics: SubjectList,

    /// Queue group in which the instances share the messages of these subjects
    #[arg(long, default_value = "rig-nats-to-filter", value_parser = queue_group, value_name = "GROUP")]
    pub natstofilter_queue_group: String,

    /// Most memory for messages from NATS that wait for Kafka; what comes then is dropped
    #[arg(long, default_value = "64MiB", value_parser = settings::bytes, value_name = "SIZE")]
    pub nats_source_buffer_bytes: usize,
}

fn queue_group(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && !text.contains(char::is_whitespace);
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| "expected a name without spaces".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        source: NatsSourceConfig,
    }

    #[test]
    fn the_defaults_are_those_of_rig() {
        let source = Command::try_parse_from(["sluicegate"]).unwrap().source;
        assert_eq!(source.nats_source_topics.names(), ["rig"]);
        assert_eq!(source.natstofilter_queue_group, "rig-nats-to-filter");
    }

    #[test]
    fn bad_values_are_refused() {
        for flags in [
            ["--nats-source-topics", "a b"],
            ["--natstofilter-queue-group", "a b"],
            ["--nats-source-buffer-bytes", "many"],
        ] {
            let command = [&["sluicegate"], &flags[..]].concat();
            assert!(Command::try_parse_from(command).is_err(), "{flags:?}");
        }
    }
}
