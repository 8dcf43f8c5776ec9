//! TLS: its settings, and the handshake.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::authorities::{self, CA_FILE};
use super::certificate::Certificate;
use super::connection::{self, Shared};
use super::http2;
use super::peer::Peer;
use super::reply::Handler;
use super::tls_error::TlsError;
use crate::settings::Secret;
use crate::telemetry::Tasks;

/// Which certificate the TLS ports show. They are open when there is one.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsConfig {
    /// Certificate chain in PEM, the server's own first; opens the TLS ports beside the plain ones
    #[arg(long, value_name = "FILE")]
    pub https_certfile: Option<PathBuf>,
    /// Private key of the certificate in PEM
    #[arg(long, value_name = "FILE")]
    pub https_keyfile: Option<PathBuf>,
    /// Passphrase of the private key, where it is encrypted (PKCS #8)
    #[arg(long, value_name = "PASSPHRASE", default_value = "")]
    pub https_keyfile_pass: Secret,
    /// Certificate authorities in PEM: the internal port then asks for a client certificate of one of them, but for health; needs HTTPS_CERTFILE
    #[arg(long, value_name = "FILE")]
    pub api_client_ca_file: Option<PathBuf>,
}

/// How often the files are looked at; see [`Tls::watch`].
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How much of what was written to a client waits for its socket: one record.
const BUFFER_BYTES: usize = 16 * 1024;

impl TlsConfig {
    /// Loads the certificate and its key; `None` where none is set.
    ///
    /// # Errors
    /// [`TlsError`] that names the setting and the file: one of the two is missing, unreadable or not
    /// PEM, the passphrase is wrong, or the key is that of another certificate.
    pub fn load(&self) -> Result<Option<Tls>, TlsError> {
        let (certificates, key) = match (&self.https_certfile, &self.https_keyfile) {
            (None, None) if self.api_client_ca_file.is_some() => {
                return Err(TlsError::OnlyOne {
                    set: CA_FILE,
                    missing: "HTTPS_CERTFILE",
                });
            }
            (None, None) => return Ok(None),
            (Some(_), None) => {
                return Err(TlsError::OnlyOne {
                    set: "HTTPS_CERTFILE",
                    missing: "HTTPS_KEYFILE",
                });
            }
            (None, Some(_)) => {
                return Err(TlsError::OnlyOne {
                    set: "HTTPS_KEYFILE",
                    missing: "HTTPS_CERTFILE",
                });
            }
            (Some(certificates), Some(key)) => (certificates.clone(), key.clone()),
        };
        let certificate = Certificate::load(certificates, key, self.https_keyfile_pass.clone())?;
        Tls::new(Arc::new(certificate)).map(Some)
    }

    /// Returns how the internal port speaks TLS, with the certificate of `public`: it asks clients for theirs where
    /// there is an `API_CLIENT_CA_FILE`.
    ///
    /// # Errors
    /// [`TlsError`] that names the setting and the file: unreadable, not PEM, or no certificate authority.
    pub fn load_internal(&self, public: Option<&Tls>) -> Result<Option<Tls>, TlsError> {
        match (public, &self.api_client_ca_file) {
            (Some(tls), Some(path)) => tls.verifying_clients(path).map(Some),
            (tls, _) => Ok(tls.cloned()),
        }
    }
}

/// How TLS is spoken. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
    asks_for_certificates: bool,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Tls {
    fn new(certificate: Arc<Certificate>) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as _);
        // Without state here: whoever comes back, be it all at once, saves us the signature.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Self::speaking(config, certificate, false))
    }

    /// Shows the same certificate, and asks clients for theirs, which one of the authorities in the file at `path`
    /// has to have signed. Who shows none may connect; see [`Request::has_client_certificate`].
    ///
    /// [`Request::has_client_certificate`]: super::Request::has_client_certificate
    ///
    /// # Errors
    /// [`TlsError`] that names the file: unreadable, not PEM, or no certificate authority.
    pub fn verifying_clients(&self, path: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = authorities::verifier(path, Arc::clone(&provider))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&self.certificate) as _);
        // A session that is resumed is not verified again, and its certificate may be over.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self::speaking(config, Arc::clone(&self.certificate), true))
    }

    fn speaking(
        mut config: ServerConfig,
        certificate: Arc<Certificate>,
        asks_for_certificates: bool,
    ) -> Self {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
            asks_for_certificates,
        }
    }

    /// Returns whether clients are asked for a certificate.
    #[must_use]
    pub const fn asks_for_certificates(&self) -> bool {
        self.asks_for_certificates
    }

    /// Looks at the files every two seconds, and shows the new certificate to new connections when
    /// they have changed. Where that cannot be used, the one before stays, and the log says why.
    pub fn watch(&self, tasks: &Tasks) {
        let certificate = Arc::clone(&self.certificate);
        let stopping = tasks.stopping();
        tasks.spawn("tls.watch", async move {
            let wait = || tokio::time::sleep(CHECK_INTERVAL);
            while stopping.run_until_cancelled(wait()).await.is_some() {
                let certificate = Arc::clone(&certificate);
                let looked = tokio::task::spawn_blocking(move || certificate.reload_if_changed());
                if let Err(error) = looked.await {
                    tracing::error!(%error, "could not look at the certificate");
                }
            }
        });
    }
}

/// Serves one connection on a TLS port: the handshake, then what the client chose in it.
pub(super) async fn serve<H: Handler>(
    shared: Arc<Shared<H>>,
    tls: Tls,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let Some(stream) = shake_hands(&shared, tls, stream).await else {
        return;
    };
    let (_, session) = stream.get_ref();
    let peer = Peer {
        address: peer,
        has_certificate: session.peer_certificates().is_some(),
        is_tls: true,
    };
    if session.alpn_protocol() == Some(b"h2") {
        Box::pin(http2::serve(shared, stream, Bytes::new(), peer)).await;
    } else {
        Box::pin(connection::serve(shared, stream, peer)).await;
    }
}

/// Returns the connection when the handshake is complete, within the time for a request's head.
async fn shake_hands<H>(
    shared: &Shared<H>,
    tls: Tls,
    stream: TcpStream,
) -> Option<Box<TlsStream<TcpStream>>> {
    let accepting = tls.acceptor.accept_with(stream, |session| {
        session.set_buffer_limit(Some(BUFFER_BYTES));
    });
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(shared.limits.http_header_timeout, accepting) => accepted,
        () = shared.stopping.cancelled() => return None,
    };
    match accepted {
        Ok(Ok(stream)) => return Some(Box::new(stream)),
        Ok(Err(error)) => tracing::debug!(%error, "tls handshake failed"),
        Err(_) => tracing::debug!("tls handshake did not end in time"),
    }
    shared.meter.refused("tls_handshake");
    None
}
