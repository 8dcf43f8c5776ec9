//! How long a client may take and how much it may send.

use std::time::Duration;

use crate::settings;

/// The limits of one listener.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpLimits {
    /// Time in which a new connection has to send its first byte
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = settings::duration)]
    pub http_first_byte_timeout: Duration,
    /// Time in which the head of a request has to arrive, counted from its first byte, or a TLS handshake to end
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = settings::duration)]
    pub http_header_timeout: Duration,
    /// Time in which the whole body of a request has to arrive; of one that goes on to an upstream, each next piece
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = settings::duration)]
    pub http_body_timeout: Duration,
    /// Time after which a kept-alive connection without a request is closed
    #[arg(long, value_name = "DURATION", default_value = "75s", value_parser = settings::duration)]
    pub http_idle_timeout: Duration,
    /// Time after which a client that takes no byte of its answer is closed
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = settings::duration)]
    pub http_write_timeout: Duration,
    /// Largest head of a request: request line and header fields together; at least 8KiB
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = head_size)]
    pub http_max_header_bytes: usize,
    /// Largest number of header fields of a request
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub http_max_headers: u16,
    /// Memory for the bodies of all requests that are read as a whole: commands for Kafka and NATS, events, subscriptions; a quarter of it for one client address
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = settings::bytes)]
    pub http_max_bodies_bytes: usize,
    /// After how long without taking a byte the kernel gives up the client of a stream; so that it does
    /// not do so before the stream's own timeout.
    #[arg(skip = STREAM_WRITE_TIMEOUT)]
    pub stream_write_timeout: Duration,
}

const STREAM_WRITE_TIMEOUT: Duration = Duration::from_secs(40);

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            http_first_byte_timeout: Duration::from_secs(30),
            http_header_timeout: Duration::from_secs(30),
            http_body_timeout: Duration::from_secs(30),
            http_idle_timeout: Duration::from_secs(75),
            http_write_timeout: Duration::from_secs(30),
            http_max_header_bytes: MIN_HEAD_BYTES * 8,
            http_max_headers: 100,
            http_max_bodies_bytes: 128 << 20,
            stream_write_timeout: STREAM_WRITE_TIMEOUT,
        }
    }
}

/// The smallest read buffer that hyper accepts.
pub(super) const MIN_HEAD_BYTES: usize = 8 * 1024;

fn head_size(text: &str) -> Result<usize, String> {
    let bytes = settings::bytes(text).map_err(|error| error.to_string())?;
    if bytes < MIN_HEAD_BYTES {
        return Err("must be at least 8KiB".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn parse(arguments: &[&str]) -> Result<HttpLimits, clap::Error> {
        let command = HttpLimits::augment_args(clap::Command::new("test"));
        let matches = command.try_get_matches_from([&["test"], arguments].concat())?;
        HttpLimits::from_arg_matches(&matches)
    }

    #[test]
    fn the_defaults_of_the_flags_are_the_defaults_of_the_struct() {
        assert_eq!(parse(&[]).unwrap(), HttpLimits::default());
    }

    #[test]
    fn heads_smaller_than_hypers_minimum_are_refused() {
        assert!(parse(&["--http-max-header-bytes", "8191"]).is_err());
        assert_eq!(
            parse(&["--http-max-header-bytes", "8KiB"])
                .unwrap()
                .http_max_header_bytes,
            8192
        );
    }
}
