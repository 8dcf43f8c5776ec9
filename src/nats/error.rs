//! What can go wrong with NATS.

use std::io;

/// Why the settings are of no use.
#[derive(Debug, thiserror::Error)]
pub enum NatsConfigError {
    /// Not an address.
    #[error(
        "expected HOST:PORT, nats://HOST:PORT or tls://HOST:PORT, without a login, for which there are NATS_USER and NATS_PASSWORD: {server:?}"
    )]
    Server {
        /// What was given, without a password.
        server: Box<str>,
    },
    /// More than one way to log in.
    #[error("{one} and {other} are both set; set one of them")]
    TwoLogins {
        /// The one setting.
        one: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// A password without a user.
    #[error("NATS_PASSWORD is set, but NATS_USER is not")]
    NoUser,
    /// A file cannot be read, or has not what it should have.
    #[error("cannot read {path:?}, which {setting} names: {source}")]
    File {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: String,
        /// Why not.
        source: rustls::pki_types::pem::Error,
    },
    /// A file has no certificate.
    #[error("{setting} names a file without a certificate")]
    NoCertificate {
        /// The setting.
        setting: &'static str,
    },
    /// A certificate without a key, or a key without a certificate.
    #[error("NATS_TLS_CERT_FILE and NATS_TLS_KEY_FILE are set together or not at all")]
    HalfAPair,
    /// The certificates are of no use.
    #[error("the TLS settings for nats are of no use: {source}")]
    Tls {
        /// Why.
        #[from]
        source: rustls::Error,
    },
    /// The text of the credentials has no JWT or no seed.
    #[error("NATS_CREDENTIALS is not the text of a credentials file: {source}")]
    Credentials {
        /// Why not.
        source: io::Error,
    },
    /// The client refuses the settings.
    #[error("the nats client refuses its settings: {source}")]
    Client {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why NATS did not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NatsError {
    /// No server can be reached. Nothing was sent.
    #[error("nats cannot be reached")]
    Away,
    /// The server did not confirm in time, or the connection broke. The message may have been taken, or not.
    #[error("nats did not confirm the message in time")]
    NotConfirmed,
    /// Larger than the server takes. Nothing was sent.
    #[error("the message is larger than the {limit_bytes} bytes that nats takes")]
    TooLarge {
        /// What the server takes, headers included.
        limit_bytes: usize,
    },
    /// The server does not let us publish there.
    #[error("nats does not let us publish to this subject")]
    Refused,
    /// The subject or a header cannot be sent. Nothing was sent.
    #[error("the subject or a header is not what nats allows")]
    Invalid,
    /// Nobody listens to the subject of a request.
    #[error("nobody listens to the subject")]
    NoResponders,
    /// No reply came in time.
    #[error("no reply came in time")]
    NoReply,
}
