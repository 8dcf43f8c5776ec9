//! Variables of RIG that this version does not know how to honour: they have no effect, and the log says so.

use super::Environment;

/// Variables whose absence only leaves something undone.
const UNSUPPORTED: [&str; 5] = [
    "PROXY_CONFIG_FILE",
    "NATS_SERVERS",
    "KINESIS_ENABLED",
    "JAEGER_HOST",
    "ZIPKIN_ADDR",
];

/// Returns the variables that are set and have no effect.
pub(super) fn without_effect(environment: &Environment) -> Vec<&'static str> {
    let is_set = |name: &&str| {
        environment
            .get(*name)
            .is_some_and(|value| !value.is_empty())
    };
    UNSUPPORTED.into_iter().filter(is_set).collect()
}
