//! A certificate for one run, and clients that trust only it.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name that the certificate is for.
const NAME: &str = "localhost";

/// A certificate that signs itself; its files go with the folder of the run.
#[derive(Debug)]
pub(crate) struct Certificate {
    chain: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Certificate {
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([NAME.to_owned()])?.self_signed(&key)?;
        let written = Self {
            chain: dir.join("cert.pem").display().to_string(),
            key: dir.join("key.pem").display().to_string(),
            der: certificate.der().clone(),
        };
        std::fs::write(&written.key, key.serialize_pem())?;
        std::fs::write(&written.chain, certificate.pem())?;
        Ok(written)
    }

    /// Returns the settings of an instance that shows it.
    pub(crate) fn settings(&self) -> [(&str, &str); 2] {
        [
            ("HTTPS_CERTFILE", &self.chain),
            ("HTTPS_KEYFILE", &self.key),
        ]
    }

    /// Returns how clients shake hands that speak one protocol.
    pub(crate) fn handshakes(&self, protocol: &str) -> anyhow::Result<Handshakes> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        // Each is a client of its own, which nobody has seen before.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Handshakes(TlsConnector::from(Arc::new(config))))
    }
}

/// Shakes hands for clients. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handshakes(TlsConnector);

impl Handshakes {
    pub(crate) async fn over(&self, socket: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(NAME)?;
        Ok(self.0.connect(name, socket).await?)
    }
}
