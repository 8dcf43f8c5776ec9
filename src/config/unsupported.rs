//! Variables of RIG that this version does not know how to honour.
//!
//! To ignore one that protects something would open what its operator believes to be closed.

use super::{ConfigError, Environment};

/// Variables that protect something, with the value that asks for nothing.
const PROTECTING: [(&str, &str); 3] = [
    ("SUBSCRIPTION_CHECK", "no_check"),
    ("SUBMISSION_CHECK", "no_check"),
    ("JWT_SECRET_KEY", ""),
];

/// Variables whose absence only leaves something undone.
const OTHERS: [&str; 8] = [
    "PROXY_CONFIG_FILE",
    "NATS_SERVERS",
    "KINESIS_ENABLED",
    "KAFKA_SERIALIZER",
    "KAFKA_SCHEMA_REGISTRY_HOST",
    "REQUEST_LOG",
    "JAEGER_HOST",
    "ZIPKIN_ADDR",
];

/// Refuses an environment that asks for protection that is not there.
pub(super) fn refuse(environment: &Environment) -> Result<(), ConfigError> {
    let asks = |(name, nothing): &(&'static str, &str)| {
        environment
            .get(*name)
            .is_some_and(|value| !value.is_empty() && !value.eq_ignore_ascii_case(nothing))
    };
    match PROTECTING.iter().find(|variable| asks(variable)) {
        Some((name, _)) => Err(ConfigError::Unsupported { name }),
        None => Ok(()),
    }
}

/// Returns the variables that are set and have no effect.
pub(super) fn without_effect(environment: &Environment) -> Vec<&'static str> {
    let is_set = |name: &&str| {
        environment
            .get(*name)
            .is_some_and(|value| !value.is_empty())
    };
    OTHERS.into_iter().filter(is_set).collect()
}
