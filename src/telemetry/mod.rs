//! What the operator sees: logs, metrics, readiness, and the named tasks of the process.

mod limited;
mod metrics;
mod readiness;
mod tasks;

pub use limited::Limited;
pub use metrics::{Age, Metrics, Rejection, Transport};
pub use readiness::{Condition, Readiness};
pub use tasks::Tasks;
