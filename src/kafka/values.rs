//! Typed values of the Kafka settings, each refused with what was expected.

use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::settings;

/// Why a value of a Kafka setting was refused. Never carries a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// An address is not `HOST:PORT`.
    #[error("broker {broker:?}: expected HOST:PORT, as in kafka-1:9092 or [::1]:9092")]
    Broker {
        /// The refused element of the list.
        broker: Box<str>,
    },
    /// A login is not `MECHANISM:USER:PASSWORD`.
    #[error(
        "expected MECHANISM:USER:PASSWORD with the mechanism plain, scram-sha-256 or scram-sha-512"
    )]
    Sasl,
    /// A property is not `KEY=VALUE`.
    #[error("property {index} of the list: expected KEY=VALUE, as in socket.timeout.ms=5000")]
    Property {
        /// Which element of the list, from 1.
        index: usize,
    },
    /// A topic name that Kafka does not allow.
    #[error(
        "topic {topic:?}: expected 1 to 249 letters, digits, dots, underscores and hyphens, not . or .."
    )]
    Topic {
        /// The refused element of the list.
        topic: Box<str>,
    },
    /// The same topic twice.
    #[error("topic {topic:?} is listed twice")]
    TopicTwice {
        /// The repeated element of the list.
        topic: Box<str>,
    },
    /// A list without an element.
    #[error("expected at least one topic")]
    NoTopic,
    /// A name of a cluster or instance that cannot be a part of a topic or group name.
    #[error("name {name:?}: expected 1 to 200 letters, digits, dots, underscores and hyphens")]
    Name {
        /// The refused name.
        name: Box<str>,
    },
    /// Not a span of time, or out of its range.
    #[error("expected a time from 100ms to 15m, as in 10s, 500ms or 10000 (milliseconds)")]
    Time,
}

/// The addresses of brokers, in the order given. Empty means that none are configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerList(Vec<String>);

impl BrokerList {
    /// Returns whether no broker is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the addresses as librdkafka wants them: `host:port,host:port`.
    #[must_use]
    pub fn joined(&self) -> String {
        self.0.join(",")
    }
}

impl BrokerList {
    /// Returns the list of one broker.
    pub(super) fn of(address: std::net::SocketAddr) -> Self {
        Self(vec![address.to_string()])
    }
}

impl FromStr for BrokerList {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        list_of(text)
            .map(broker)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A list of at least one topic, each once, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicList(Vec<String>);

impl TopicList {
    /// Returns the names of the topics.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for TopicList {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut topics: Vec<String> = Vec::new();
        for topic in list_of(text) {
            if !is_name(topic, 249) || matches!(topic, "." | "..") {
                return Err(ValueError::Topic {
                    topic: topic.into(),
                });
            }
            if topics.iter().any(|known| known == topic) {
                return Err(ValueError::TopicTwice {
                    topic: topic.into(),
                });
            }
            topics.push(topic.to_owned());
        }
        if topics.is_empty() {
            Err(ValueError::NoTopic)
        } else {
            Ok(Self(topics))
        }
    }
}

/// Parses a name that becomes a part of topic and group names.
///
/// # Errors
/// [`ValueError::Name`] for anything that Kafka would not allow there.
pub fn parse_name(text: &str) -> Result<String, ValueError> {
    let name = text.trim();
    if is_name(name, 200) {
        Ok(name.to_owned())
    } else {
        Err(ValueError::Name { name: name.into() })
    }
}

/// Parses a timeout: `10s`, `500ms`, `2m`, or a bare number of milliseconds.
///
/// # Errors
/// [`ValueError::Time`] for anything else, and for less than 100 ms or more than 15 minutes.
pub fn parse_timeout(text: &str) -> Result<Duration, ValueError> {
    let timeout = settings::duration_ms(text).map_err(|_error| ValueError::Time)?;
    if (Duration::from_millis(100)..=Duration::from_mins(15)).contains(&timeout) {
        Ok(timeout)
    } else {
        Err(ValueError::Time)
    }
}

/// Splits a list at its commas and drops what is empty.
pub(super) fn list_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

/// Checks one `HOST:PORT`.
fn broker(text: &str) -> Result<String, ValueError> {
    let refused = || ValueError::Broker {
        broker: text.into(),
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
    let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let host_is_fine = !host.is_empty()
        && (bracketed || !host.contains([':', '[', ']']))
        && !host.contains(|letter: char| letter.is_whitespace() || letter == '/');
    match port.parse::<u16>() {
        Ok(1..) if host_is_fine => Ok(text.to_owned()),
        _ => Err(refused()),
    }
}

/// Returns whether `text` has only what Kafka allows in the names of topics.
fn is_name(text: &str, limit: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && text.len() <= limit && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_lists_are_checked_element_by_element() {
        for (text, joined) in [
            ("", ""),
            (" , ", ""),
            ("kafka:9092", "kafka:9092"),
            (" a:1 , [::1]:9092,", "a:1,[::1]:9092"),
        ] {
            assert_eq!(
                text.parse::<BrokerList>().unwrap().joined(),
                joined,
                "{text:?}"
            );
        }
        for text in [
            "kafka",
            "kafka:",
            ":9092",
            "kafka:0",
            "kafka:65536",
            "::1:9092",
            "http://a:1",
            "[]:1",
        ] {
            assert!(text.parse::<BrokerList>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn topic_lists_are_what_kafka_allows_without_repeats() {
        assert_eq!(
            "rig, other.v1".parse::<TopicList>().unwrap().names(),
            ["rig", "other.v1"]
        );
        let long = "x".repeat(250);
        for text in [
            "",
            ",",
            "a b",
            "a/b",
            "é",
            ".",
            "..",
            "rig,rig",
            long.as_str(),
        ] {
            assert!(text.parse::<TopicList>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn timeouts_have_units_and_a_range() {
        for (text, time_ms) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("10000", 10_000),
        ] {
            assert_eq!(
                parse_timeout(text).unwrap(),
                Duration::from_millis(time_ms),
                "{text:?}"
            );
        }
        for text in [
            "",
            "s",
            "99",
            "1h",
            "-1s",
            "1.5s",
            "16m",
            "18446744073709551615m",
        ] {
            assert!(parse_timeout(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_are_parts_of_topic_names() {
        assert_eq!(parse_name(" sluicegate ").unwrap(), "sluicegate");
        for text in ["", "a b", "a/b", &"x".repeat(201)] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
    }
}
