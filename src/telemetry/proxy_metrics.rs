//! The metrics of the request proxy. Labels name routes as they were configured, never what a client wrote.

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::maker::Maker;

/// What is counted of proxied requests.
#[derive(Debug, Clone)]
pub struct ProxyMetrics {
    /// `rig_proxy_requests_total{api,endpoint,method,path_regex,target,response_from,status}`: requests for a
    /// route, by how they ended: `ok`, `bad_request`, `unauthorized`, `unreachable`, `request_timeout`,
    /// `response_timeout`, `unavailable`, `cancelled` or `error`; with empty labels and `N/A`, `not_found`.
    pub requests: IntCounterVec,
    /// `sluicegate_proxy_duration_seconds{target,response_from}`: from the request to the head of its answer.
    pub duration: HistogramVec,
    /// `sluicegate_proxy_requests_in_flight`: requests that have no answer yet.
    pub in_flight: IntGauge,
    /// `sluicegate_limited_requests_total`: requests refused because their sender had sent too many.
    pub limited: IntCounter,
    /// `sluicegate_proxy_answers_total{result}`: answers to commands that came over Kafka, NATS or a callback, by
    /// what became of them.
    pub answers: IntCounterVec,
    /// `sluicegate_proxy_answers_awaited{kind}`: answers that have not come: those of clients that wait (`waiting`), of
    /// commands whose answer will be kept (`kept`), and replies of NATS for both (`nats_waiting`, `nats_kept`).
    pub awaited: IntGaugeVec,
    /// `sluicegate_proxy_idempotency_keys`: keys of commands that came to this instance, as long as they are known.
    pub idempotency_keys: IntGauge,
    /// `sluicegate_upstream_tries_total{api,outcome}`: requests sent, or tried to be sent, to HTTP backends:
    /// `answered`, `unreachable`, `not_sent`, `refused`, `broken`, `timeout`, `bad_answer` or `request_body`; and not
    /// sent, `busy` or `no_sockets`. Each retry is one more.
    pub upstream_tries: IntCounterVec,
    /// `sluicegate_upstream_connections_opened_total`: new connections to HTTP backends.
    pub upstream_connections: IntCounter,
    /// `sluicegate_upstream_addresses_paused`: addresses of HTTP backends that failed and are left alone.
    pub upstream_paused: IntGauge,
    /// `sluicegate_upstream_tunnels`: WebSockets that are open between clients and HTTP backends.
    pub upstream_tunnels: IntGauge,
    /// `sluicegate_request_log_dropped_total{reason}`: entries of the request log that are not in Kafka:
    /// `queue_full`, `not_acknowledged`, `no_schema` or `does_not_fit`.
    pub log_dropped: IntCounterVec,
}

/// What a request for a route is counted by.
const OF_A_REQUEST: [&str; 7] = [
    "api",
    "endpoint",
    "method",
    "path_regex",
    "target",
    "response_from",
    "status",
];

impl ProxyMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        Self {
            requests: make.counters(
                "rig_proxy_requests_total",
                "Requests for a route of the proxy, by how they ended",
                &OF_A_REQUEST,
            ),
            duration: make.seconds_by(
                "sluicegate_proxy_duration_seconds",
                "From a proxied request to the head of its answer",
                &["target", "response_from"],
            ),
            in_flight: make.gauge(
                "sluicegate_proxy_requests_in_flight",
                "Proxied requests that have no answer yet",
            ),
            limited: make.counter(
                "sluicegate_limited_requests_total",
                "Proxied requests refused because their sender had sent too many",
            ),
            answers: make.counters(
                "sluicegate_proxy_answers_total",
                "Answers to commands, by what became of them",
                &["result"],
            ),
            awaited: make.gauges(
                "sluicegate_proxy_answers_awaited",
                "Answers to commands that have not come",
                &["kind"],
            ),
            idempotency_keys: make.gauge(
                "sluicegate_proxy_idempotency_keys",
                "Keys of commands that came here, as long as they are known",
            ),
            upstream_tries: make.counters(
                "sluicegate_upstream_tries_total",
                "Requests to HTTP backends, each retry one more, by outcome",
                &["api", "outcome"],
            ),
            upstream_connections: make.counter(
                "sluicegate_upstream_connections_opened_total",
                "New connections to HTTP backends",
            ),
            upstream_paused: make.gauge(
                "sluicegate_upstream_addresses_paused",
                "Addresses of HTTP backends that failed and are left alone",
            ),
            upstream_tunnels: make.gauge(
                "sluicegate_upstream_tunnels",
                "WebSockets open between clients and HTTP backends",
            ),
            log_dropped: make.counters(
                "sluicegate_request_log_dropped_total",
                "Entries of the request log that are not in Kafka",
                &["reason"],
            ),
        }
    }
}
