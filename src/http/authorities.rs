//! Who may vouch for clients: the certificate authorities of the internal port.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::certificate::read_certificates;
use super::tls_error::TlsError;

/// The setting that names the file.
pub(super) const CA_FILE: &str = "API_CLIENT_CA_FILE";

/// Returns what verifies the certificate of a client, where it shows one; a client without one is let through, so
/// that a request can be told what it lacks.
pub(super) fn verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut authorities = RootCertStore::empty();
    for certificate in read_certificates(CA_FILE, path)? {
        let added = authorities.add(certificate);
        added.map_err(|source| TlsError::BadAuthority {
            path: path.to_owned(),
            source,
        })?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(authorities.into(), provider);
    Ok(verifier.allow_unauthenticated().build()?)
}
