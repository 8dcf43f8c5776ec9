//! What the operator sees: logs, metrics, readiness, and the named tasks of the process.

mod causes;
mod labels;
mod limited;
mod log_queue;
mod logs;
mod maker;
mod metrics;
mod nats_metrics;
mod proxy_metrics;
mod readiness;
mod tasks;
mod time;
mod trace_context;

pub use causes::Causes;
pub use labels::{Rejection, Transport};
pub use limited::Limited;
pub use log_queue::LogGuard;
pub use logs::{LogError, LogFormat, LogLevel, init_logs};
pub use metrics::{Age, Metrics};
pub use nats_metrics::NatsMetrics;
pub use proxy_metrics::ProxyMetrics;
pub use readiness::{Condition, Readiness};
pub use tasks::Tasks;
pub use time::{as_ms, now_ms, rfc3339, spread};
pub use trace_context::{TRACEPARENT, TRACESTATE, TraceContext};
