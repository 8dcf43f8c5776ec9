//! Variables of RIG that this version does not know how to honour: they have no effect, and the log says so.

use super::Environment;

/// Variables whose absence only leaves something undone.
<<<<<<< HEAD
<<<<<<< HEAD
const UNSUPPORTED: [&str; 7] = [
=======
const UNSUPPORTED: [&str; 9] = [
    "PROXY_CONFIG_FILE",
    // Every instance reads every answer, so there is no group.
    "PROXY_KAFKA_RESPONSE_KAFKA_GROUP_ID",
>>>>>>> answers
    "NATS_SERVERS",
=======
const UNSUPPORTED: [&str; 7] = [
    "PROXY_CONFIG_FILE",
>>>>>>> nats
    "KINESIS_ENABLED",
    "KAFKA_SERIALIZER",
    "KAFKA_SCHEMA_REGISTRY_HOST",
    "REQUEST_LOG",
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
