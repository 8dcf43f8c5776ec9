//! Which topics are read, and how.

use clap::ArgAction;
use clap::builder::BoolishValueParser;

use crate::kafka::{TopicList, parse_name};

/// The source topics and how they are read.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Source")]
pub struct SourceConfig {
    /// Topics whose events go to the clients
    #[arg(long, default_value = "rig", value_name = "TOPIC,…")]
    pub kafka_source_topics: TopicList,

    /// First part of the consumer group under which each instance commits its offsets; the second is its name
    #[arg(long, default_value = "rig-kafka-to-filter", value_parser = parse_name, value_name = "GROUP")]
    pub kafkatofilter_kafka_group_id: String,

    /// Whether missing source topics are created
    #[arg(long, default_value = "true", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub kafka_create_topics: bool,

    /// Number of partitions of a source topic that is created
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1000), value_name = "NUMBER")]
    pub kafka_source_partitions: i32,

    /// Records of each partition that are read again at start, so that clients can resume from before it
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(i64).range(0..), value_name = "RECORDS")]
    pub kafka_source_rewind: i64,

    /// Largest event in bytes; larger records are skipped and counted
    #[arg(long, default_value = "1MiB", value_parser = event_size, value_name = "SIZE")]
    pub max_event_bytes: usize,
}

impl SourceConfig {
    /// Returns the names of the topics, in the configured order.
    #[must_use]
    pub fn topics(&self) -> &[String] {
        self.kafka_source_topics.names()
    }

    /// Returns how many partitions a missing topic gets; `None` when topics are not to be created.
    #[must_use]
    pub fn create_partitions(&self) -> Option<i32> {
        self.kafka_create_topics
            .then_some(self.kafka_source_partitions)
    }

    /// Returns the consumer group of the instance named `instance`.
    #[must_use]
    pub fn group_id(&self, instance: &str) -> String {
        format!("{}-{instance}", self.kafkatofilter_kafka_group_id)
    }
}

fn event_size(text: &str) -> Result<usize, String> {
    let size_bytes = crate::settings::bytes(text).map_err(|error| error.to_string())?;
    if !(1024..=16 << 20).contains(&size_bytes) {
        return Err("expected 1KiB to 16MiB".to_owned());
    }
    Ok(size_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        source: SourceConfig,
    }

    #[test]
    fn the_defaults_are_those_of_rig() {
        let source = Command::try_parse_from(["sluicegate"]).unwrap().source;
        assert_eq!(source.kafka_source_topics.names(), ["rig"]);
        assert_eq!(
            source.group_id("host-4000"),
            "rig-kafka-to-filter-host-4000"
        );
        assert!(source.kafka_create_topics);
    }

    #[test]
    fn bad_values_are_refused() {
        for flags in [
            ["--kafka-source-topics", "a b"],
            ["--kafka-source-partitions", "0"],
            ["--max-event-bytes", "12"],
            ["--kafka-create-topics", "perhaps"],
        ] {
            let command = [&["sluicegate"], &flags[..]].concat();
            assert!(Command::try_parse_from(command).is_err(), "{flags:?}");
        }
    }
}
