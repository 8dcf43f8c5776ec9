//! The settings of HTTP targets.

use std::path::PathBuf;
use std::time::Duration;

use crate::settings;

/// How long HTTP backends may take, and whom they have to be.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "HTTP targets")]
pub struct UpstreamConfig {
    /// Time until a backend's answer begins, from the end of the request on; a plain number counts milliseconds, 0 waits for ever
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = settings::duration_ms)]
    pub proxy_recv_timeout: Duration,
    /// Time for a connection to a backend, with TLS; 0 waits for ever
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = settings::duration)]
    pub proxy_connect_timeout: Duration,
    /// Time for which a backend may pause in reading a request's body, or in an answer that is not `text/event-stream`; 0 waits for ever
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = settings::duration)]
    pub proxy_idle_timeout: Duration,
    /// Time for which a WebSocket to a backend may be silent in both directions; 0 is for ever
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = settings::duration)]
    pub proxy_websocket_idle_timeout: Duration,
    /// Requests under way to one backend, with answers that still stream and WebSockets; 0 for any number
    #[arg(long, value_name = "NUMBER", default_value_t = 4_096)]
    pub proxy_max_requests_per_backend: usize,
    /// Connections kept for each address of a backend while they have nothing to do
    #[arg(long, value_name = "NUMBER", default_value_t = 64)]
    pub proxy_max_idle_connections: usize,
    /// Time for which a connection to a backend is kept while it has nothing to do, unless its backend says less
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = settings::duration)]
    pub proxy_keep_alive_timeout: Duration,
    /// PEM file with the certificate authorities of backends, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub proxy_upstream_ca_file: Option<PathBuf>,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            proxy_recv_timeout: Duration::from_secs(5),
            proxy_connect_timeout: Duration::from_secs(2),
            proxy_idle_timeout: Duration::from_secs(60),
            proxy_websocket_idle_timeout: Duration::from_secs(300),
            proxy_max_requests_per_backend: 4_096,
            proxy_max_idle_connections: 64,
            proxy_keep_alive_timeout: Duration::from_secs(60),
            proxy_upstream_ca_file: None,
        }
    }
}

/// Reads a limit as settings have it: 0 is none.
pub(super) fn limit(setting: Duration) -> Option<Duration> {
    (!setting.is_zero()).then_some(setting)
}

impl UpstreamConfig {
    /// Returns how long one exchange may take that nobody waits for.
    pub(super) fn patience(&self) -> Duration {
        const OTHERWISE: Duration = Duration::from_secs(5);
        let connect = limit(self.proxy_connect_timeout).unwrap_or(OTHERWISE);
        connect + limit(self.proxy_recv_timeout).unwrap_or(OTHERWISE)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        upstream: UpstreamConfig,
    }

    #[test]
    fn a_plain_receive_timeout_counts_milliseconds_as_in_rig() {
        let parsed = |arguments: &[&str]| {
            let arguments = std::iter::once(&"sluicegate").chain(arguments);
            Settings::try_parse_from(arguments).unwrap().upstream
        };
        let by_default = parsed(&[]);
        assert_eq!(
            format!("{by_default:?}"),
            format!("{:?}", UpstreamConfig::default())
        );
        let given = parsed(&[
            "--proxy-recv-timeout=250",
            "--proxy-connect-timeout=3",
            "--proxy-idle-timeout=0",
        ]);
        assert_eq!(given.proxy_recv_timeout, Duration::from_millis(250));
        assert_eq!(given.proxy_connect_timeout, Duration::from_secs(3));
        assert_eq!(limit(given.proxy_idle_timeout), None);
    }
}
