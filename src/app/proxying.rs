//! The request proxy, put together from the settings.

use std::sync::Arc;

use super::AppError;
use super::core::Core;
use crate::avro::Registry;
use crate::config::Config;
use crate::fetch::Fetch;
use crate::kafka::Producer;
use crate::nats::NatsClient;
use crate::proxy::{
    Apis, Proxy, ProxyParts, RequestLog, RequestLogParts, TopicMaker, listen_for_answers,
};
use crate::telemetry::Tasks;

/// Makes the proxy, with the routes that the instance is started with and those that all share.
pub(super) fn start(
    config: &Config,
    core: &Core,
    producer: &Producer,
    nats: Option<NatsClient>,
    public_tasks: Tasks,
) -> Result<Arc<Proxy>, AppError> {
    let registry = Registry::new(&config.avro, Fetch::new());
    let log = RequestLogParts {
        kafka: config.kafka.clone(),
        producer: producer.clone(),
        registry: registry.clone(),
        metrics: core.metrics.proxy.clone(),
    };
    let (streams, state) = (&core.streams, Arc::clone(&core.state));
    let parts = ProxyParts {
        apis: Apis::new(config.apis.clone(), state, config.kafka.instance()),
        answers: core.answers.clone(),
        access: streams.access.clone(),
        stays: streams.registry.stays().clone(),
        places: streams.places.clone(),
        cors: streams.cors.clone(),
        rates: config.rates.of_requests(core.metrics.proxy.limited.clone()),
        upstream: config.proxy.upstream.clone(),
        command: config.proxy.command.clone(),
        producer: producer.clone(),
        nats,
        registry,
        serializer: config.avro.kafka_serializer,
        log: RequestLog::start(&config.proxy.request_log, log, &core.tasks),
        metrics: core.metrics.clone(),
        tasks: core.tasks.clone(),
        public_tasks,
        grace: config.process.shutdown_grace,
    };
    let proxy = Arc::new(Proxy::new(parts)?);
    if let Some(partitions) = config.source.create_partitions() {
        let maker = TopicMaker {
            kafka: config.kafka.clone(),
            partitions,
        };
        let making = maker.follow(proxy.apis().clone(), core.tasks.clone());
        core.tasks.spawn("proxy.topics", making);
    }
    let tasks = core.tasks.clone();
    let listening = listen_for_answers(proxy.apis().clone(), core.answers.clone(), tasks);
    core.tasks.spawn("proxy.answers", listening);
    Ok(proxy)
}
