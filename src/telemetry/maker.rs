//! Makes metrics.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Histogram buckets for seconds, from a quarter of a millisecond to half a minute.
const LATENCY_SECONDS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
    30.0,
];

/// Makes and registers metrics; their names and labels are constants of this room.
pub(super) struct Maker<'a>(pub(super) &'a Registry);

impl Maker<'_> {
    fn registered<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        made: prometheus::Result<C>,
    ) -> C {
        let collector = made.expect("names and labels are valid constants");
        self.0
            .register(Box::new(collector.clone()))
            .expect("names are distinct constants");
        collector
    }
    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.registered(IntCounter::new(name, help))
    }
    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels))
    }
    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.registered(IntGauge::new(name, help))
    }
    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.registered(IntGaugeVec::new(Opts::new(name, help), labels))
    }
    pub(super) fn seconds(&self, name: &str, help: &str) -> Histogram {
        self.registered(Histogram::with_opts(
            HistogramOpts::new(name, help).buckets(LATENCY_SECONDS.to_vec()),
        ))
    }
    pub(super) fn seconds_by(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(LATENCY_SECONDS.to_vec());
        self.registered(HistogramVec::new(options, labels))
    }
}
