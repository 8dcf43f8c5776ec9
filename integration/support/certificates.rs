//! Certificates that are made for one test.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::WantsClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ConfigBuilder};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::gateway::{Settings, unique};

/// A self-signed certificate in a folder of its own, which goes with it.
#[derive(Debug)]
pub struct Certificate {
    folder: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(unique("certificate"));
        std::fs::create_dir(&folder).unwrap();
        let der = CertificateDer::from(Vec::new());
        let mut certificate = Self { folder, der };
        certificate.renew();
        certificate
    }

    /// Puts another certificate, with another key, into the same files.
    pub fn renew(&mut self) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.der = certificate.der().clone();
        std::fs::write(self.key(), key.serialize_pem()).unwrap();
        std::fs::write(self.chain(), certificate.pem()).unwrap();
    }

    pub fn chain(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    /// Returns these settings with TLS ports that show the certificate.
    pub fn on(&self, settings: Settings) -> Settings {
        settings
            .with("INBOUND_HTTPS_PORT", "0")
            .with("API_HTTPS_PORT", "0")
            .with("HTTPS_CERTFILE", self.chain().to_str().unwrap())
            .with("HTTPS_KEYFILE", self.key().to_str().unwrap())
    }

    /// Shakes hands as a client that trusts just this certificate.
    pub async fn connect(
        &self,
        socket: TcpStream,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(None, socket, alpn).await
    }

    /// The same, and shows the certificate of a client where it is asked for one.
    pub async fn connect_as(
        &self,
        client: Option<&Identity>,
        socket: TcpStream,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let config = self.trusting();
        let mut config = match client {
            None => config.with_no_client_auth(),
            Some(client) => config
                .with_client_auth_cert(vec![client.certificate.clone()], client.key.clone_key())
                .unwrap(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let connector = TlsConnector::from(Arc::new(config));
        let name = "localhost".try_into().unwrap();
        connector.connect(name, socket).await
    }

    /// Returns the settings of a client that trusts just this certificate.
    pub fn client(&self) -> ClientConfig {
        self.trusting().with_no_client_auth()
    }

    fn trusting(&self) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Who a client is, and how it shows that.
#[derive(Debug)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// An authority that vouches for clients.
#[derive(Debug)]
pub struct Authority {
    file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let file = std::env::temp_dir().join(format!("{}.pem", unique("authority")));
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, key);
        Self { file, issuer }
    }

    /// Returns the path of its certificate.
    pub fn file(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// Vouches for a client up to the end of this year.
    pub fn client(&self, last_year: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = rcgen::date_time_ymd(last_year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.file));
    }
}
