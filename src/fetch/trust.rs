//! Whom a client of TLS trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

/// Whose certificates are believed.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// The authorities of the system, which `SSL_CERT_FILE` and `SSL_CERT_DIR` can replace; where there are
    /// none, those that Mozilla trusts.
    #[default]
    System,
    /// Just these.
    Roots(RootCertStore),
}

/// Why a file has no certificate authorities.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file is not PEM, or cannot be read.
    #[error("cannot read certificates from {path}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// A certificate in it cannot be an authority.
    #[error("a certificate in {path} cannot be trusted", path = path.display())]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// There is none in it.
    #[error("there is no certificate in {path}", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Trust {
    /// Trusts just the authorities in a PEM file.
    ///
    /// # Errors
    /// [`TrustError`] when the file cannot be read, or has no certificate of an authority.
    pub fn from_file(path: &Path) -> Result<Self, TrustError> {
        let unreadable = |source| TrustError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
            let added = roots.add(certificate.map_err(unreadable)?);
            added.map_err(|source| TrustError::NotAnAuthority {
                path: path.to_owned(),
                source,
            })?;
        }
        if roots.is_empty() {
            return Err(TrustError::Empty {
                path: path.to_owned(),
            });
        }
        Ok(Self::Roots(roots))
    }

    /// Makes the settings of TLS for a client that has no certificate of its own, and offers no protocol by
    /// ALPN yet.
    #[must_use]
    pub fn into_config(self) -> ClientConfig {
        let builder = match self {
            Self::System => tls().with_native_roots().unwrap_or_else(|error| {
                tracing::info!(%error, "no certificate authorities on this system: Mozilla's are used");
                tls().with_webpki_roots()
            }),
            Self::Roots(roots) => tls().with_root_certificates(roots),
        };
        builder.with_no_client_auth()
    }
}

fn tls() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for both versions")
}
