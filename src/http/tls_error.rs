//! Why there is no TLS: settings and files that are of no use.

use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// TLS needs a certificate and its key.
    #[error("{set} is set, but {missing} is not; TLS needs both")]
    OnlyOne {
        /// The setting that is there.
        set: &'static str,
        /// The other one.
        missing: &'static str,
    },
    /// A file cannot be read.
    #[error("{setting}: cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// Which setting names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file has nothing of use.
    #[error("{setting}: {path} has no {expected} in PEM", path = path.display())]
    Empty {
        /// Which setting names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should have.
        expected: &'static str,
    },
    /// A file is broken.
    #[error("{setting}: {path} is not PEM: {source}", path = path.display())]
    NotPem {
        /// Which setting names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: pem::Error,
    },
    /// The key is encrypted in the way of old.
    #[error(
        "HTTPS_KEYFILE: {path} is encrypted in the traditional format; convert it: openssl pkcs8 -topk8 -in {path} -out key.pem",
        path = path.display()
    )]
    OldEncryption {
        /// The file.
        path: PathBuf,
    },
    /// The key is encrypted, and there is no passphrase.
    #[error("HTTPS_KEYFILE: {path} is encrypted; set HTTPS_KEYFILE_PASS", path = path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// The key cannot be decrypted.
    #[error("HTTPS_KEYFILE_PASS: cannot decrypt {path}: {source}", path = path.display())]
    NotDecrypted {
        /// The file.
        path: PathBuf,
        /// What went wrong; the passphrase, most often.
        source: pkcs8::Error,
    },
    /// The certificate and the key are of no use together.
    #[error(
        "HTTPS_CERTFILE {certificates} with HTTPS_KEYFILE {key}: {source}",
        certificates = certificates.display(),
        key = key.display()
    )]
    Refused {
        /// The file of the certificate.
        certificates: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why, such as a key of another certificate.
        source: rustls::Error,
    },
    /// The cryptography library does not work.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
    /// Something that is to verify clients is of no use for that.
    #[error("API_CLIENT_CA_FILE: {path} cannot verify clients: {source}", path = path.display())]
    BadAuthority {
        /// The file of the authorities.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// No client can be verified.
    #[error("API_CLIENT_CA_FILE: {0}")]
    NoVerifier(#[from] rustls::server::VerifierBuilderError),
}
