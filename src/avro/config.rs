//! Where the schemas are.

use std::str::FromStr;

use http::Uri;

use crate::fetch::{UrlError, parse_url};
use crate::settings::Secret;

/// How schemas are found.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Avro")]
pub struct AvroConfig {
    /// Schema registry: host and port, or a URL; several are asked one after the other
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "HOSTS"
    )]
    pub kafka_schema_registry_host: RegistryUrls,
    /// User for the schema registry
    #[arg(long, value_name = "USER")]
    pub kafka_schema_registry_user: Option<String>,
    /// Password for the schema registry
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "SECRET"
    )]
    pub kafka_schema_registry_password: Secret,
    /// How the data of routes with a schema is written; json: as if they had none
    #[arg(long, value_enum, default_value = "avro", value_name = "SERIALIZER")]
    pub kafka_serializer: Serializer,
}

/// How data is written into records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Serializer {
    /// As Avro, where there is a schema.
    #[default]
    Avro,
    /// As JSON.
    Json,
}

/// Why the settings do not fit each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AvroConfigError {
    /// A user or a password, but nobody who would ask for them.
    #[error(
        "KAFKA_SCHEMA_REGISTRY_USER and _PASSWORD are of no use without KAFKA_SCHEMA_REGISTRY_HOST"
    )]
    NoRegistry,
    /// A password without a user.
    #[error("KAFKA_SCHEMA_REGISTRY_PASSWORD needs KAFKA_SCHEMA_REGISTRY_USER")]
    NoUser,
}

impl AvroConfig {
    /// Checks what one setting says about another.
    ///
    /// # Errors
    /// [`AvroConfigError`].
    pub fn check(&self) -> Result<(), AvroConfigError> {
        let has_password = !self.kafka_schema_registry_password.reveal().is_empty();
        let has_user = self.kafka_schema_registry_user.is_some();
        if self.kafka_schema_registry_host.0.is_empty() && (has_user || has_password) {
            return Err(AvroConfigError::NoRegistry);
        }
        if has_password && !has_user {
            return Err(AvroConfigError::NoUser);
        }
        Ok(())
    }
}

/// The URLs of one registry, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryUrls(Box<[Uri]>);

impl RegistryUrls {
    /// Returns the URLs in the order in which they are asked.
    #[must_use]
    pub fn as_slice(&self) -> &[Uri] {
        &self.0
    }
}

impl FromStr for RegistryUrls {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| {
                if part.contains("://") {
                    parse_url(part)
                } else {
                    parse_url(&format!("http://{part}"))
                }
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_hosts_or_urls() {
        let urls = |text: &str| {
            text.parse::<RegistryUrls>()
                .map(|urls| urls.0.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(urls(""), Ok(Vec::new()));
        assert_eq!(
            urls("localhost:8081"),
            Ok(vec!["http://localhost:8081/".to_owned()])
        );
        assert_eq!(
            urls("https://a.example/registry , b:1"),
            Ok(vec![
                "https://a.example/registry".to_owned(),
                "http://b:1/".to_owned()
            ])
        );
        assert_eq!(urls("http://user:secret@a"), Err(UrlError::User));
        assert_eq!(urls("user:secret@a"), Err(UrlError::User));
        assert_eq!(urls("a b"), Err(UrlError::NotAUrl));
        assert_eq!(urls("ftp://a/"), Err(UrlError::Scheme));
    }

    #[test]
    fn credentials_need_somebody_who_asks_for_them() {
        let config = |host: &str, user: Option<&str>, password: &str| AvroConfig {
            kafka_schema_registry_host: host.parse().unwrap(),
            kafka_schema_registry_user: user.map(str::to_owned),
            kafka_schema_registry_password: Secret::new(password),
            kafka_serializer: Serializer::Avro,
        };
        assert_eq!(config("a", Some("u"), "p").check(), Ok(()));
        assert_eq!(config("a", Some("u"), "").check(), Ok(()));
        assert_eq!(config("", None, "").check(), Ok(()));
        assert_eq!(
            config("", Some("u"), "").check(),
            Err(AvroConfigError::NoRegistry)
        );
        assert_eq!(config("a", None, "p").check(), Err(AvroConfigError::NoUser));
    }
}
