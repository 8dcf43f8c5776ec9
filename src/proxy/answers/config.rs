//! How long answers are waited for, and how many are kept.

use std::time::Duration;

use super::attempts::CLAIM_TTL;
use crate::kafka::TopicList;
use crate::settings;

/// How long a client waits for the answer to its command, and what is kept for those who ask later.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Answers to commands")]
pub struct AnswersConfig {
    /// Topics with the answers to commands; every instance reads all of them
    #[arg(long, default_value = "rig-proxy-response", value_name = "TOPIC,…")]
    pub proxy_kafka_response_topics: TopicList,

    /// How long a client waits for an answer over Kafka; a plain number counts milliseconds
    #[arg(long, default_value = "5000", value_parser = settings::duration_ms, value_name = "DURATION")]
    pub proxy_kafka_response_timeout: Duration,

    /// How long a client waits for an answer over POST /v3/responses; a plain number counts milliseconds
    #[arg(long, default_value = "5000", value_parser = settings::duration_ms, value_name = "DURATION")]
    pub proxy_http_async_response_timeout: Duration,

    /// How long a client waits for an answer over NATS; a plain number counts milliseconds
    #[arg(long, default_value = "60000", value_parser = settings::duration_ms, value_name = "DURATION")]
    pub proxy_nats_response_timeout: Duration,

    /// Clients that may wait for the answers to their commands at the same time, and as many commands again whose
    /// answer is for later; over it, 503. Nobody gets more of these places than are left: 429
    #[arg(long, default_value_t = 50_000, value_name = "NUMBER")]
    pub proxy_max_waiting: usize,

    /// How long the answer to a command with `Prefer: respond-async` or `Idempotency-Key` can be asked for
    #[arg(long, default_value = "10m", value_parser = settings::duration, value_name = "DURATION")]
    pub proxy_answer_ttl: Duration,

    /// Memory for answers that can be asked for; over it, the oldest are dropped
    #[arg(long, default_value = "64MiB", value_parser = settings::bytes, value_name = "SIZE")]
    pub proxy_kept_answers_bytes: usize,

    /// For how long a command with the same `Idempotency-Key` is the same command; three minutes at least
    #[arg(long, default_value = "1h", value_parser = longer_than_claims, value_name = "DURATION")]
    pub idempotency_ttl: Duration,

    /// Commands with an `Idempotency-Key` that the cluster knows at the same time; over it, 503. Nobody gets more of
    /// these places than are left: 429
    #[arg(long, default_value_t = 100_000, value_name = "NUMBER")]
    pub max_idempotency_keys: usize,
}

/// Why a command is not known for so short a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum TtlError {
    /// It is no duration.
    #[error(transparent)]
    Value(#[from] settings::ValueError),
    /// The claim under which it is sent would outlive it, and look as if the command were still being sent.
    #[error("expected {}s at least", CLAIM_TTL.as_secs())]
    TooShort,
}

fn longer_than_claims(text: &str) -> Result<Duration, TtlError> {
    let ttl = settings::duration(text)?;
    if ttl >= CLAIM_TTL {
        Ok(ttl)
    } else {
        Err(TtlError::TooShort)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Settings {
        #[command(flatten)]
        answers: AnswersConfig,
    }

    #[test]
    fn the_defaults_are_those_of_rig() {
        let config = Settings::parse_from(["test"]).answers;
        assert_eq!(
            config.proxy_kafka_response_topics.names(),
            ["rig-proxy-response"]
        );
        assert_eq!(
            config.proxy_kafka_response_timeout,
            Duration::from_millis(5_000)
        );
        assert_eq!(
            config.proxy_http_async_response_timeout,
            Duration::from_millis(5_000)
        );
        assert_eq!(config.proxy_nats_response_timeout, Duration::from_secs(60));
    }

    #[test]
    fn a_command_is_known_for_longer_than_its_claim() {
        let ttl = |text| {
            let settings = Settings::try_parse_from(["test", "--idempotency-ttl", text]);
            settings.map(|settings| settings.answers.idempotency_ttl)
        };
        assert_eq!(ttl("3m").unwrap(), Duration::from_secs(180));
        let refused = ttl("2s").unwrap_err().to_string();
        assert!(refused.contains("expected 180s at least"), "{refused}");
    }

    #[test]
    fn plain_numbers_of_the_timeouts_are_milliseconds_as_in_rig() {
        let config = Settings::parse_from([
            "test",
            "--proxy-kafka-response-timeout",
            "250",
            "--proxy-nats-response-timeout",
            "2s",
            "--proxy-kafka-response-topics",
            "one,two",
        ])
        .answers;
        assert_eq!(
            config.proxy_kafka_response_timeout,
            Duration::from_millis(250)
        );
        assert_eq!(config.proxy_nats_response_timeout, Duration::from_secs(2));
        assert_eq!(config.proxy_kafka_response_topics.names(), ["one", "two"]);
    }
}
