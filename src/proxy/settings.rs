//! The settings of the proxy, apart from its routes.

use super::answers::AnswersConfig;
use super::command_event::CommandConfig;
use super::request_log::RequestLogConfig;
use super::upstream::UpstreamConfig;

/// How requests are passed on.
#[derive(Debug, Clone, clap::Args)]
pub struct ProxySettings {
    /// To HTTP backends.
    #[command(flatten)]
    pub upstream: UpstreamConfig,
    /// As events.
    #[command(flatten)]
    pub command: CommandConfig,
    /// And how their answers are waited for.
    #[command(flatten)]
    pub answers: AnswersConfig,
    /// What is noted of them.
    #[command(flatten)]
    pub request_log: RequestLogConfig,
}
