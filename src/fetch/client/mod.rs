//! The client that all rooms share.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::trust::Trust;
use crate::telemetry::Causes;

/// How long a connection without a request is kept.
const IDLE: Duration = Duration::from_secs(60);
/// How many connections without a request are kept for each host.
const MAX_IDLE_PER_HOST: usize = 16;
/// What servers read about who asks.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("sluicegate/", env!("CARGO_PKG_VERSION")));

/// What one exchange may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// The whole exchange, from the look-up of the name to the last byte of the answer.
    pub timeout: Duration,
    /// The largest body of an answer.
    pub max_response_bytes: usize,
}

/// Why there is no answer. The texts name the host and nothing else of the request.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL of the request has no host.
    #[error("the url has no host")]
    NoHost,
    /// The exchange did not end in time.
    #[error("{host} did not answer within {timeout:?}")]
    Timeout {
        /// Who was asked.
        host: Box<str>,
        /// The time that was given.
        timeout: Duration,
    },
    /// No connection, or the server broke the exchange off before its answer began.
    #[error("{host} could not be asked: {}", Causes(.source))]
    NoAnswer {
        /// Who was asked.
        host: Box<str>,
        /// What the client saw.
        source: hyper_util::client::legacy::Error,
    },
    /// The answer broke off.
    #[error("the answer of {host} broke off: {}", Causes(&**.source))]
    Cut {
        /// Who was asked.
        host: Box<str>,
        /// What the client saw.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The body of the answer is larger than the limit.
    #[error("the answer of {host} has more than {limit} bytes")]
    TooLarge {
        /// Who was asked.
        host: Box<str>,
        /// The limit in bytes.
        limit: usize,
    },
}

/// Sends requests over connections that it keeps. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Fetch {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Fetch {
    /// Trusts the certificate authorities of the system, which `SSL_CERT_FILE` and `SSL_CERT_DIR` can
    /// replace; where there are none, those that Mozilla trusts.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Trust::System.into_config())
    }

    /// Trusts just these certificate authorities.
    #[must_use]
    pub fn trusting(roots: RootCertStore) -> Self {
        Self::with(Trust::Roots(roots).into_config())
    }

    fn with(config: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        // The connector above decides between http and https.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .build(connector);
        Self { client }
    }

    /// Sends a request and returns the answer whole, whatever its status; redirects are answers, too.
    ///
    /// A request for which a kept connection was closed before a byte was written is sent again over a
    /// new one.
    ///
    /// # Errors
    /// [`FetchError`]: no connection, no trust, no answer in time, or one that is too large.
    ///
    /// # Cancel safety
    /// Dropping the future gives the exchange up; the server may have acted on the request.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        limits: &FetchLimits,
    ) -> Result<Response<Bytes>, FetchError> {
        let host = host(request.uri()).ok_or(FetchError::NoHost)?;
        let exchange = self.exchange(request, limits.max_response_bytes, &host);
        match tokio::time::timeout(limits.timeout, Box::pin(exchange)).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::Timeout {
                host,
                timeout: limits.timeout,
            }),
        }
    }

    async fn exchange(
        &self,
        request: Request<Bytes>,
        limit: usize,
        host: &str,
    ) -> Result<Response<Bytes>, FetchError> {
        let mut request = request.map(Full::new);
        request.headers_mut().entry(USER_AGENT).or_insert(AGENT);
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|source| FetchError::NoAnswer {
            host: host.into(),
            source,
        })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, limit).collect().await;
        match body {
            Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
            Err(source) if source.is::<LengthLimitError>() => Err(FetchError::TooLarge {
                host: host.into(),
                limit,
            }),
            Err(source) => Err(FetchError::Cut {
                host: host.into(),
                source,
            }),
        }
    }
}

impl Default for Fetch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fetch").finish_non_exhaustive()
    }
}

/// Returns the host and, where one is given, the port.
fn host(uri: &Uri) -> Option<Box<str>> {
    let authority = uri.authority()?;
    let host = authority.host();
    Some(match authority.port_u16() {
        Some(port) => format!("{host}:{port}").into_boxed_str(),
        None => host.into(),
    })
}

#[cfg(test)]
mod tests;
