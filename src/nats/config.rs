//! The connection settings.

use std::str::FromStr;

use http::uri::Authority;

use super::error::NatsConfigError;
use super::tls;
use crate::settings::Secret;

/// The port where an address names none.
const DEFAULT_PORT: u16 = 4222;

/// How to reach NATS.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "NATS")]
pub struct NatsConfig {
    /// NATS servers of one cluster, as HOST:PORT, nats://HOST:PORT or tls://HOST:PORT; without any, NATS is not used
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "SERVER,…"
    )]
    pub nats_servers: ServerList,

    /// User at the NATS servers
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "USER"
    )]
    pub nats_user: String,

    /// Password of that user
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "PASSWORD"
    )]
    pub nats_password: Secret,

    /// Token for the NATS servers, instead of a user
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TOKEN"
    )]
    pub nats_token: Secret,

    /// Text of a NATS credentials file, with a JWT and the seed of its key
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TEXT"
    )]
    pub nats_credentials: Secret,

    /// Seed of a NATS key, which begins with SU
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "SEED"
    )]
    pub nats_nkey: Secret,

    /// PEM file with the authorities that sign the NATS servers' certificates; empty: those of the system
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "FILE"
    )]
    pub nats_tls_ca_file: String,

    /// PEM file with the certificate that we show to the NATS servers; empty: none
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "FILE"
    )]
    pub nats_tls_cert_file: String,

    /// PEM file with the private key of that certificate
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "FILE"
    )]
    pub nats_tls_key_file: String,
}

impl NatsConfig {
    /// Checks at start what would otherwise fail later: that there is one login, and the files of TLS.
    ///
    /// # Errors
    /// [`NatsConfigError`], which names the setting.
    pub fn check(&self) -> Result<(), NatsConfigError> {
        if self.nats_servers.is_empty() {
            return Ok(());
        }
        let logins = [
            ("NATS_USER", !self.nats_user.is_empty()),
            ("NATS_TOKEN", is_set(&self.nats_token)),
            ("NATS_CREDENTIALS", is_set(&self.nats_credentials)),
            ("NATS_NKEY", is_set(&self.nats_nkey)),
        ];
        let mut given = logins
            .into_iter()
            .filter_map(|(name, is_set)| is_set.then_some(name));
        if let (Some(one), Some(other)) = (given.next(), given.next()) {
            return Err(NatsConfigError::TwoLogins { one, other });
        }
        if is_set(&self.nats_password) && self.nats_user.is_empty() {
            return Err(NatsConfigError::NoUser);
        }
        let files = [
            &self.nats_tls_ca_file,
            &self.nats_tls_cert_file,
            &self.nats_tls_key_file,
        ];
        if files.iter().any(|path| !path.is_empty()) {
            tls::client_config(self)?;
        }
        Ok(())
    }
}

fn is_set(secret: &Secret) -> bool {
    !secret.reveal().is_empty()
}

/// The addresses of servers, as URLs with a port; maybe none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerList(Vec<String>);

impl ServerList {
    /// Returns whether there is no server, and so no NATS.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the addresses as URLs, in the order given.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for ServerList {
    type Err = NatsConfigError;

    fn from_str(text: &str) -> Result<Self, NatsConfigError> {
        let servers = text
            .split(',')
            .map(str::trim)
            .filter(|server| !server.is_empty());
        servers
            .map(|server| url(server).ok_or_else(|| bad(server)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn bad(server: &str) -> NatsConfigError {
    NatsConfigError::Server {
        server: crate::settings::without_password(server).into(),
    }
}

/// Writes an address as a URL with a port; `None` for what is none. A login has settings of its own, which are secret.
fn url(server: &str) -> Option<String> {
    let (scheme, rest) = server.split_once("://").unwrap_or(("nats", server));
    let authority: Authority = rest.trim_end_matches('/').parse().ok()?;
    let is_plain = !rest.contains('@') && !authority.host().is_empty();
    let port = match authority.port() {
        Some(port) => port.as_u16(),
        // A colon without a number that fits is no port.
        None if authority.as_str().len() > authority.host().len() => return None,
        None => DEFAULT_PORT,
    };
    let host = authority.host();
    (matches!(scheme, "nats" | "tls") && is_plain).then(|| format!("{scheme}://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        nats: NatsConfig,
    }

    fn parse(flags: &[&str]) -> Result<NatsConfig, String> {
        let command = Command::try_parse_from([&["sluicegate"], flags].concat());
        let nats = command.map_err(|error| error.to_string())?.nats;
        nats.check().map_err(|error| error.to_string())?;
        Ok(nats)
    }

    #[test]
    fn servers_are_hosts_or_urls_with_a_port_that_may_be_left_out() {
        for (text, urls) in [
            ("", &[][..]),
            (" , ", &[]),
            ("nats", &["nats://nats:4222"]),
            (
                "a:1, tls://b.example/",
                &["nats://a:1", "tls://b.example:4222"],
            ),
            (
                "nats://127.0.0.1:4223,[::1]:4224",
                &["nats://127.0.0.1:4223", "nats://[::1]:4224"],
            ),
        ] {
            let list: ServerList = text.parse().unwrap();
            assert_eq!(list.urls(), urls, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused_without_saying_a_password() {
        for text in [
            "http://a",
            "a:x",
            "a:70000",
            "ws://a",
            "a b",
            "a/b",
            "nats://",
            ":4222",
            "user:hush@a",
            "nats://user:hush@a",
        ] {
            let error = text.parse::<ServerList>().unwrap_err().to_string();
            assert!(error.contains("NATS_USER"), "{text}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn there_is_at_most_one_login() {
        let servers = ["--nats-servers", "a"];
        let with = |more: &[&str]| parse(&[&servers, more].concat());
        assert!(with(&["--nats-user", "u", "--nats-password", "p"]).is_ok());
        assert!(with(&["--nats-token", "t"]).is_ok());
        let error = with(&["--nats-token", "t", "--nats-user", "u"]).unwrap_err();
        assert!(
            error.contains("NATS_USER") && error.contains("NATS_TOKEN"),
            "{error}"
        );
        assert!(
            with(&["--nats-password", "p"])
                .unwrap_err()
                .contains("NATS_USER")
        );
        let error = with(&["--nats-tls-ca-file", "/no/such/file"]).unwrap_err();
        assert!(error.contains("NATS_TLS_CA_FILE"), "{error}");
    }

    #[test]
    fn without_servers_nothing_is_checked() {
        assert!(parse(&["--nats-tls-ca-file", "/no/such/file"]).is_ok());
    }
}
