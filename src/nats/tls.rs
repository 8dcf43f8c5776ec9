//! How TLS is spoken with the servers: with our own provider of cryptography, whatever the process has by default.

use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use super::config::NatsConfig;
use super::error::NatsConfigError;

const CA: &str = "NATS_TLS_CA_FILE";
const CERTIFICATE: &str = "NATS_TLS_CERT_FILE";
const KEY: &str = "NATS_TLS_KEY_FILE";

/// Reads the files; without authorities of their own, servers are verified by those of the system, or where there
/// are none, by those that Mozilla trusts.
///
/// # Errors
/// [`NatsConfigError`] for a file that cannot be read or has nothing of use.
pub(super) fn client_config(config: &NatsConfig) -> Result<ClientConfig, NatsConfigError> {
    let builder = trusting(&config.nats_tls_ca_file)?;
    let (certificate, key) = (&config.nats_tls_cert_file, &config.nats_tls_key_file);
    if certificate.is_empty() != key.is_empty() {
        return Err(NatsConfigError::HalfAPair);
    }
    if certificate.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let chain = certificates(CERTIFICATE, certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|source| NatsConfigError::File {
        setting: KEY,
        path: key.clone(),
        source,
    })?;
    Ok(builder.with_client_auth_cert(chain, secret)?)
}

fn trusting(
    authorities: &str,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, NatsConfigError> {
    if authorities.is_empty() {
        let native = builder()?.with_native_roots();
        return match native {
            Ok(builder) => Ok(builder),
            Err(error) => {
                tracing::info!(%error, "no certificate authorities on this system: Mozilla's are used");
                Ok(builder()?.with_webpki_roots())
            }
        };
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates(CA, authorities)? {
        roots.add(certificate)?;
    }
    Ok(builder()?.with_root_certificates(roots))
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, NatsConfigError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?)
}

fn certificates(
    setting: &'static str,
    path: &str,
) -> Result<Vec<CertificateDer<'static>>, NatsConfigError> {
    let read = |source| NatsConfigError::File {
        setting,
        path: path.to_owned(),
        source,
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(read)?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(read)?;
    if certificates.is_empty() {
        return Err(NatsConfigError::NoCertificate { setting });
    }
    Ok(certificates)
}
