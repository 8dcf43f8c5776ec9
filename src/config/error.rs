//! Why there is no configuration.

use std::path::PathBuf;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value is not what its setting expects.
    #[error("{origin}: {value} is not valid: {expected}")]
    BadValue {
        /// Where the value stands.
        origin: String,
        /// The value, quoted; of a secret nothing.
        value: String,
        /// What was expected.
        expected: String,
    },
    /// The command line is wrong, or asks for help; `clap` says it.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The file has a key that no setting has.
    #[error("{path}: there is no setting {key}; did you mean {nearest}?", path = path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The most similar setting.
        nearest: String,
    },
    /// A value of the file is a table or a date.
    #[error("{path}: {key} has to be a string, a number, a boolean or a list", path = path.display())]
    NotAValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// The file is not TOML.
    #[error("{path}: not TOML: {reason}", path = path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}, which {named_by} names: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The flag or variable that names it.
        named_by: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A secret is given twice.
    #[error("{name} and {file_name} are both set; set one of them")]
    Both {
        /// The variable.
        name: String,
        /// Its variant that names a file.
        file_name: String,
    },
    /// librdkafka refuses a property, or a file of the TLS settings cannot be read.
    #[error(transparent)]
    Kafka(#[from] crate::kafka::ConfigError),
    /// The settings of NATS do not fit each other, or a file of them cannot be read.
    #[error(transparent)]
    Nats(#[from] crate::nats::NatsConfigError),
    /// The settings of the schema registry do not fit each other.
    #[error(transparent)]
    Avro(#[from] crate::avro::AvroConfigError),
    /// The request log cannot be written so.
    #[error(transparent)]
    RequestLog(#[from] crate::proxy::RequestLogError),
    /// There is a certificate of no use.
    #[error(transparent)]
    Tls(#[from] crate::http::TlsError),
    /// Tokens cannot be verified so.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// The settings of who may do what do not fit each other.
    #[error(transparent)]
    Access(#[from] crate::access::AccessConfigError),
    /// Something is wrong with the definitions of APIs.
    #[error(transparent)]
    Apis(#[from] crate::proxy::ApisConfigError),
}
