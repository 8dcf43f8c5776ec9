//! The settings of sessions.

use std::time::Duration;

/// How connections end with their tokens, and who is told who is here.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Sessions")]
pub struct SessionConfig {
    /// Time before a token expires at which its connection is told with `rig.session_expiring`
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::settings::duration)]
    pub session_expiry_notice: Duration,
    /// Time that a connection may stay after its token has expired, to hand in a new one
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = crate::settings::duration)]
    pub session_expiry_grace: Duration,
    /// Time over which connections are spread whose tokens expire at once
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = crate::settings::duration)]
    pub session_expiry_jitter: Duration,
    /// Time for which a session is refused that is ended without saying for how long
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = crate::settings::duration)]
    pub session_kill_validity: Duration,
    /// Topic to which `rig.presence.join` and `rig.presence.leave` are written; none by default
    #[arg(long, value_name = "TOPIC")]
    pub presence_topic: Option<String>,
}
