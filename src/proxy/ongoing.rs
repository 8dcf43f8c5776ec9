//! A proxied request until it is answered: what is counted and logged of it then.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};

use super::call::Caller;
use super::request_log::{Entry, RequestLog};
use super::route::Route;
use crate::http::{HttpError, Request};
use crate::telemetry::ProxyMetrics;

/// Counts and logs a request when it ends: with an answer, or by being dropped, since its client left.
#[derive(Debug)]
pub(super) struct Ongoing {
    route: Arc<Route>,
    began: Instant,
    method: Method,
    /// The path as it came, without the query, which may have secrets.
    path: Box<str>,
    client: IpAddr,
    session: Option<Arc<str>>,
    metrics: ProxyMetrics,
    log: RequestLog,
    has_ended: bool,
}

impl Ongoing {
    pub(super) fn begin(
        route: Arc<Route>,
        request: &Request,
        metrics: ProxyMetrics,
        log: RequestLog,
    ) -> Self {
        metrics.in_flight.inc();
        Self {
            route,
            began: Instant::now(),
            method: request.method.clone(),
            path: request.path().into(),
            client: request.client_address(),
            session: None,
            metrics,
            log,
            has_ended: false,
        }
    }

    /// Notes who sends the request.
    pub(super) fn belongs_to(&mut self, caller: &Caller) {
        self.session = caller.sessions.first().cloned();
    }

    /// Ends with an answer.
    pub(super) fn answered(mut self, status: StatusCode) {
        self.end(result_of(status), Some(status));
    }

    /// Ends with an error.
    pub(super) fn failed(mut self, error: &HttpError) {
        self.end(result_of_error(error), Some(error.status()));
    }

    fn end(&mut self, result: &'static str, status: Option<StatusCode>) {
        self.has_ended = true;
        self.metrics.in_flight.dec();
        let took = self.began.elapsed();
        let Route {
            api,
            endpoint,
            path_regex,
            target,
            ..
        } = &*self.route;
        let (name, response_from) = (target.name(), self.route.response_from());
        self.metrics
            .duration
            .with_label_values(&[name, response_from])
            .observe(took.as_secs_f64());
        self.metrics
            .requests
            .with_label_values(&[
                api,
                endpoint,
                self.route.method.as_str(),
                path_regex,
                name,
                response_from,
                result,
            ])
            .inc();
        self.log.log(Entry {
            route: Arc::clone(&self.route),
            method: self.method.clone(),
            path: std::mem::take(&mut self.path),
            client: self.client,
            session: self.session.take(),
            status: status.map(|status| status.as_u16()),
            result,
            took,
        });
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end("cancelled", None);
        }
    }
}

/// How a request ended that has this answer.
fn result_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::GATEWAY_TIMEOUT => "response_timeout",
        _ => "ok",
    }
}

/// The same for one that could not be answered as it should.
fn result_of_error(error: &HttpError) -> &'static str {
    match (error.status(), error.code()) {
        (_, "upstream_timeout") => "request_timeout",
        (StatusCode::GATEWAY_TIMEOUT, _) => "response_timeout",
        (StatusCode::BAD_GATEWAY, _) => "unreachable",
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => "unauthorized",
        (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _) => "unavailable",
        (status, _) if status.is_client_error() => "bad_request",
        _ => "error",
    }
}
