//! The settings that belong to no room: ports, addresses, logs, the end.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::settings;
use crate::subscription::Extractors;
use crate::telemetry::{LogFormat, LogLevel};

/// The settings of the process as a whole.
#[derive(Debug, Clone, clap::Args)]
pub struct ProcessConfig {
    /// Public port
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 4000,
        help_heading = "Listeners"
    )]
    pub inbound_port: u16,
    /// Public port with TLS; open when there is an HTTPS_CERTFILE
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 4001,
        help_heading = "Listeners"
    )]
    pub inbound_https_port: u16,
    /// Address of the public port
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "0.0.0.0",
        help_heading = "Listeners"
    )]
    pub inbound_bind_address: IpAddr,
    /// Internal port: metrics, health, backends
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 4010,
        help_heading = "Listeners"
    )]
    pub api_http_port: u16,
    /// Internal port with TLS; open when there is an HTTPS_CERTFILE
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 4011,
        help_heading = "Listeners"
    )]
    pub api_https_port: u16,
    /// Address of the internal port; on another than loopback, set API_TOKEN or API_CLIENT_CA_FILE
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1",
        help_heading = "Listeners"
    )]
    pub api_bind_address: IpAddr,
    /// Time over which a shutdown spreads the closing of connections
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = settings::duration, help_heading = "Listeners")]
    pub shutdown_grace: Duration,
    /// Folder of the embedded broker, which is used when there are no KAFKA_BROKERS
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "./data",
        help_heading = "Embedded broker"
    )]
    pub data_dir: PathBuf,
    /// Port of the embedded broker, on loopback
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 9092,
        help_heading = "Embedded broker"
    )]
    pub embedded_kafka_port: u16,
    /// Fields that subscriptions can constrain: a JSON file, or the JSON itself
    #[arg(long, value_name = "JSON", help_heading = "Subscriptions")]
    pub extractors: Option<String>,
    /// Least important log lines that are written: error, warn, info, debug or trace
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        help_heading = "Logs"
    )]
    pub log_level: LogLevel,
    /// Form of log lines: text or json
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Logs"
    )]
    pub log_fmt: LogFormat,
}

impl ProcessConfig {
    /// Reads the extractors: JSON, or the path of a file with it; none where none are set.
    ///
    /// # Errors
    /// What is wrong with them, or why the file cannot be read, in words.
    pub(super) fn read_extractors(&self) -> Result<Extractors, String> {
        let parse = |json: &str| Extractors::parse(json).map_err(|error| error.to_string());
        match self.extractors.as_deref() {
            None => Ok(Extractors::none()),
            Some(json) if json.trim_start().starts_with('{') => parse(json),
            Some(path) => parse(&std::fs::read_to_string(path).map_err(|error| error.to_string())?),
        }
    }
}
