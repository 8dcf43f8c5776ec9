//! The connection settings, under RIG's names.

use std::time::Duration;

use clap::ArgAction;
use clap::builder::BoolishValueParser;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::{
    BrokerList, ClientLog, ConfigError, Properties, QuietContext, Sasl, parse_name, parse_timeout,
};
use crate::settings::Secret;

/// How to reach Kafka, and which cluster of instances this process belongs to.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Kafka")]
pub struct KafkaConfig {
    /// Kafka brokers; without any, an embedded broker is started
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "HOST:PORT,…"
    )]
    pub kafka_brokers: BrokerList,

    /// Login at the brokers, as plain:USER:PASSWORD; also scram-sha-256 and scram-sha-512
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "MECHANISM:USER:PASSWORD"
    )]
    pub kafka_sasl: Sasl,

    /// Whether to speak TLS with the brokers
    #[arg(long, default_value = "false", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub kafka_ssl_enabled: bool,

    /// PEM file with the authorities that sign the brokers' certificates; empty: those of the system
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "FILE"
    )]
    pub kafka_ssl_ca_certfile: String,

    /// PEM file with the certificate that we show to the brokers; empty: none
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "FILE"
    )]
    pub kafka_ssl_certfile: String,

    /// PEM file with the private key of our certificate
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "FILE"
    )]
    pub kafka_ssl_keyfile: String,

    /// Password of the private key
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "PASSWORD"
    )]
    pub kafka_ssl_keyfile_pass: Secret,

    /// Further properties for librdkafka, which win over all other settings; `\,` for a comma in a value
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub kafka_properties: Vec<Properties>,

    /// How long a submitted event may wait for Kafka's acknowledgement; a plain number counts milliseconds
    #[arg(long, default_value = "10s", value_parser = parse_timeout, value_name = "TIME")]
    pub produce_timeout: Duration,

    /// Name of the cluster: instances with the same Kafka and name are one
    #[arg(long, default_value = "sluicegate", value_parser = parse_name, value_name = "NAME")]
    pub cluster_name: String,

    /// Name of this instance, the same after a restart and different from all others of the cluster; default: from host name and public port
    #[arg(long, value_parser = parse_name, value_name = "NAME")]
    pub instance_id: Option<String>,

    /// The log that all clients made from this configuration share.
    #[arg(skip)]
    pub log: ClientLog,

    /// Whether the broker is the embedded one, which answers a fetch only when its wait is over.
    #[arg(skip)]
    pub is_embedded: bool,
}

impl KafkaConfig {
    /// Returns the settings that all clients share.
    ///
    /// The times are such that a broker that died or froze is noticed within ten seconds, and one
    /// that came back is found again within two.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        self.client_with(&[])
    }

    /// Returns the settings of a client with some of its `own`, over which raw properties still win.
    #[must_use]
    pub fn client_with(&self, own: &[(&str, &str)]) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", self.kafka_brokers.joined())
            .set("client.id", format!("sluicegate-{}", self.instance()))
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("socket.timeout.ms", "10000")
            .set("socket.connection.setup.timeout.ms", "10000")
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "2000")
            .set("topic.metadata.refresh.interval.ms", "30000")
            .set("log.connection.close", "false")
            .set_log_level(RDKafkaLogLevel::Warning);
        self.set_security(&mut client);
        for (key, value) in own {
            client.set(*key, *value);
        }
        for (key, value) in self.kafka_properties.iter().flat_map(Properties::iter) {
            client.set(key, value);
        }
        client
    }

    /// Returns the settings of a consumer that is told its partitions and offsets, with some of its
    /// `own`.
    ///
    /// By itself it commits nothing. Its fetch queue holds at most 16 MiB.
    #[must_use]
    pub fn consumer(&self, group_id: &str, own: &[(&str, &str)]) -> ClientConfig {
        // The embedded broker answers a fetch only when its wait is over, data or not.
        let fetch_wait_ms = if self.is_embedded { "40" } else { "500" };
        let mut settings = vec![
            ("group.id", group_id),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "earliest"),
            ("allow.auto.create.topics", "false"),
            ("fetch.wait.max.ms", fetch_wait_ms),
            ("fetch.error.backoff.ms", "100"),
            ("queued.max.messages.kbytes", "16384"),
            // A full queue is looked at again soon; the default is a second without a fetch.
            ("fetch.queue.backoff.ms", "5"),
            ("message.max.bytes", "4194304"),
            ("fetch.max.bytes", "8388608"),
        ];
        settings.extend_from_slice(own);
        self.client_with(&settings)
    }

    /// Returns the context for clients whose events matter only to the log.
    #[must_use]
    pub fn quiet(&self) -> QuietContext {
        QuietContext::new(self)
    }

    /// Returns the configuration for the embedded broker at `address`.
    #[must_use]
    pub fn with_embedded(mut self, address: std::net::SocketAddr) -> Self {
        self.kafka_brokers = BrokerList::of(address);
        self.is_embedded = true;
        self
    }

    /// Gives the instance a name made from host name and public port, unless it was given one.
    pub fn name_instance(&mut self, public_port: u16) {
        if self.instance_id.is_none() {
            self.instance_id = Some(format!("{}-{public_port}", host_name()));
        }
    }

    /// Returns the name of this instance.
    #[must_use]
    pub fn instance(&self) -> String {
        self.instance_id.clone().unwrap_or_else(host_name)
    }

    /// Checks at start what would otherwise fail later: the properties and the files.
    ///
    /// # Errors
    /// [`ConfigError`], which names the setting or the property.
    pub fn check(&self) -> Result<(), ConfigError> {
        let files = [
            ("KAFKA_SSL_CA_CERTFILE", &self.kafka_ssl_ca_certfile),
            ("KAFKA_SSL_CERTFILE", &self.kafka_ssl_certfile),
            ("KAFKA_SSL_KEYFILE", &self.kafka_ssl_keyfile),
        ];
        for (setting, path) in files {
            if self.kafka_ssl_enabled && !path.is_empty() {
                std::fs::File::open(path).map_err(|source| ConfigError::File {
                    setting,
                    path: path.clone(),
                    source,
                })?;
            }
        }
        self.client().create_native_config()?;
        Ok(())
    }

    fn set_security(&self, client: &mut ClientConfig) {
        let has_login = matches!(self.kafka_sasl, Sasl::Login { .. });
        client.set(
            "security.protocol",
            match (self.kafka_ssl_enabled, has_login) {
                (false, false) => "plaintext",
                (true, false) => "ssl",
                (false, true) => "sasl_plaintext",
                (true, true) => "sasl_ssl",
            },
        );
        if let Sasl::Login {
            mechanism,
            user,
            password,
        } = &self.kafka_sasl
        {
            client
                .set("sasl.mechanism", *mechanism)
                .set("sasl.username", user)
                .set("sasl.password", password);
        }
        if !self.kafka_ssl_enabled {
            return;
        }
        let files = [
            ("ssl.ca.location", self.kafka_ssl_ca_certfile.as_str()),
            ("ssl.certificate.location", self.kafka_ssl_certfile.as_str()),
            ("ssl.key.location", self.kafka_ssl_keyfile.as_str()),
            ("ssl.key.password", self.kafka_ssl_keyfile_pass.reveal()),
        ];
        for (property, value) in files {
            if !value.is_empty() {
                client.set(property, value);
            }
        }
    }
}

/// Returns the host's name, with what a group id cannot hold replaced.
fn host_name() -> String {
    let name = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    let safe = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() => letter,
        '.' | '_' => letter,
        _ => '-',
    };
    let name: String = name.trim().chars().take(100).map(safe).collect();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        kafka: KafkaConfig,
    }

    fn parsed(flags: &[&str]) -> KafkaConfig {
        Command::try_parse_from([&["sluicegate"], flags].concat())
            .unwrap()
            .kafka
    }

    #[test]
    fn without_flags_no_broker_is_configured_and_plaintext_is_spoken() {
        let kafka = parsed(&[]);
        assert!(kafka.kafka_brokers.is_empty());
        assert_eq!(kafka.cluster_name, "sluicegate");
        assert_eq!(kafka.produce_timeout, Duration::from_secs(10));
        assert_eq!(kafka.client().get("security.protocol"), Some("plaintext"));
        kafka.check().unwrap();
    }

    #[test]
    fn security_follows_tls_and_login() {
        for (flags, protocol) in [
            (vec!["--kafka-ssl-enabled"], "ssl"),
            (vec!["--kafka-sasl", "plain:u:p"], "sasl_plaintext"),
            (
                vec!["--kafka-ssl-enabled", "1", "--kafka-sasl", "plain:u:p"],
                "sasl_ssl",
            ),
        ] {
            let kafka = parsed(&flags);
            assert_eq!(
                kafka.client().get("security.protocol"),
                Some(protocol),
                "{flags:?}"
            );
            kafka.check().unwrap();
        }
    }

    #[test]
    fn raw_properties_win_over_what_a_client_sets() {
        let kafka = parsed(&[
            "--kafka-properties",
            "socket.timeout.ms=1,fetch.wait.max.ms=7",
            "--kafka-properties",
            "group.id=mine",
        ]);
        let consumer = kafka.consumer("ours", &[("fetch.wait.max.ms", "9")]);
        for (key, value) in [
            ("socket.timeout.ms", "1"),
            ("fetch.wait.max.ms", "7"),
            ("group.id", "mine"),
        ] {
            assert_eq!(consumer.get(key), Some(value), "{key}");
        }
    }

    #[test]
    fn a_property_that_librdkafka_does_not_know_is_refused_at_start() {
        let error = parsed(&["--kafka-properties", "no.such=1"])
            .check()
            .unwrap_err();
        assert!(matches!(error, ConfigError::Property { .. }), "{error}");
    }

    #[test]
    fn a_missing_certificate_is_refused_with_its_setting() {
        let flags = [
            "--kafka-ssl-enabled",
            "--kafka-ssl-ca-certfile",
            "/no/such.pem",
        ];
        let error = parsed(&flags).check().unwrap_err();
        assert!(
            error.to_string().contains("KAFKA_SSL_CA_CERTFILE"),
            "{error}"
        );
    }

    #[test]
    fn debug_output_has_no_secrets() {
        let kafka = parsed(&[
            "--kafka-sasl",
            "plain:u:hush1",
            "--kafka-ssl-keyfile-pass",
            "hush2",
            "--kafka-properties",
            "ssl.key.password=hush3",
        ]);
        assert!(!format!("{kafka:?}").contains("hush"), "{kafka:?}");
    }

    #[test]
    fn an_instance_is_named_by_host_and_port_unless_told() {
        let mut kafka = parsed(&[]);
        kafka.name_instance(4000);
        assert!(kafka.instance().ends_with("-4000"));
        assert!(parse_name(&kafka.instance()).is_ok());
        let mut kafka = parsed(&["--instance-id", "a"]);
        kafka.name_instance(4000);
        assert_eq!(kafka.instance(), "a");
    }
}
