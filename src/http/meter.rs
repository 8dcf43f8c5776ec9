//! The counters of one listener.

use http::StatusCode;
use prometheus::IntCounter;

use super::wire::Expired;
use crate::telemetry::Metrics;

/// The counters of one listener, looked up once.
pub(super) struct Meter {
    metrics: Metrics,
    classes: [IntCounter; 5],
    streams: IntCounter,
}

impl Meter {
    pub(super) fn new(metrics: Metrics, listener: &'static str) -> Self {
        let counter = |status| metrics.http_requests.with_label_values(&[listener, status]);
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(counter);
        let streams = counter("stream");
        for reason in ["descriptors", "malformed", "tls_handshake", "http2_resets"] {
            metrics.http_refused.with_label_values(&[reason]);
        }
        Self {
            metrics,
            classes,
            streams,
        }
    }

    pub(super) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.classes.get(class) {
            counter.inc();
        }
    }

    /// Counts a request that becomes a stream.
    pub(super) fn streamed(&self) {
        self.streams.inc();
    }

    /// Counts a connection that was closed by a timer, if that is the client's fault.
    pub(super) fn expired(&self, expired: Expired) {
        if expired != Expired::Idle {
            self.refused(expired.as_str());
        }
    }

    /// Returns the counter of clients that took nothing for too long.
    pub(super) fn slow_readers(&self) -> IntCounter {
        let reason = Expired::SlowReader.as_str();
        self.metrics.http_refused.with_label_values(&[reason])
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.metrics.http_refused.with_label_values(&[reason]).inc();
    }
}
