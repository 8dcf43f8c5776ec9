//! New connections to backends: TCP, TLS, and the beginning of HTTP.
//!
//! # Source
//! ALPN (RFC 7301) chooses HTTP/2 on TLS.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::config::{UpstreamConfig, limit};
use super::connection::{Multiplexed, Sender};
use super::preface;
use super::request_body::RequestBody;
use super::socket::Socket;
use super::tcp::{bare, tcp};
use crate::fetch::{Trust, TrustError};
use crate::proxy::route::Protocol;
use crate::telemetry::{Metrics, Tasks};

/// How much the head of an answer may have, and how much of a body is buffered on HTTP/1.1.
const BUFFER_BYTES: usize = 64 * 1024;
/// The same on HTTP/2: for an answer, and for all answers of a connection.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const HEADER_LIST_BYTES: u32 = 64 * 1024;
/// How often a backend of HTTP/2 has to show that it lives while it owes answers, and how long it has for that.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The name has no address.
    #[error("its name cannot be looked up")]
    Name(#[source] io::Error),
    /// No address took the connection.
    #[error("it takes no connection")]
    Tcp(#[source] io::Error),
    /// TLS failed, or the certificate is not trusted.
    #[error("tls failed")]
    Tls(#[source] io::Error),
    /// It is no server of HTTP/2, or sent nonsense at once.
    #[error("http did not begin")]
    Http(#[source] hyper::Error),
    /// This process has no files, ports or memory left, which says nothing of the backend.
    #[error("there are no sockets left")]
    NoSockets(#[source] io::Error),
    /// All of it took too long.
    #[error("there was no connection within {0:?}")]
    Timeout(Duration),
    /// HTTP/2 is needed, and the backend does not speak it.
    #[error("it ended the connection before http/2 began")]
    NoHttp2,
    /// HTTP/1.1 is needed, and the backend speaks only HTTP/2.
    #[error("it does not speak http/1.1")]
    NoHttp1,
}

/// Makes connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Dialer(Arc<Parts>);

struct Parts {
    tls: TlsConnector,
    tls_http1: TlsConnector,
    http1: http1::Builder,
    http2: http2::Builder<Spawner>,
    timeout: Option<Duration>,
    tasks: Tasks,
    metrics: Metrics,
}

/// Runs the tasks that hyper makes for requests on HTTP/2.
#[derive(Clone)]
pub(super) struct Spawner(Tasks);

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let stopping = self.0.stopping();
        self.0.spawn("upstream.http2.request", async move {
            // `None` is the stop of the process.
            stopping.run_until_cancelled_owned(future).await;
        });
    }
}

impl Dialer {
    /// # Errors
    /// [`TrustError`] when the certificate authorities cannot be read.
    pub(super) fn new(
        config: &UpstreamConfig,
        tasks: Tasks,
        metrics: Metrics,
    ) -> Result<Self, TrustError> {
        let trust = match &config.proxy_upstream_ca_file {
            Some(path) => Trust::from_file(path)?,
            None => Trust::System,
        };
        let tls = trust.into_config();
        let offering = |protocols: &[&[u8]]| {
            let mut tls: ClientConfig = tls.clone();
            tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(tls))
        };
        let mut http1 = http1::Builder::new();
        http1
            .max_buf_size(BUFFER_BYTES)
            .max_header_size(BUFFER_BYTES);
        let mut http2 = http2::Builder::new(Spawner(tasks.clone()));
        http2
            .timer(TokioTimer::new())
            .initial_max_send_streams(preface::STREAMS_BEFORE)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADER_LIST_BYTES)
            .max_send_buf_size(BUFFER_BYTES)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Ok(Self(Arc::new(Parts {
            tls: offering(&[b"h2", b"http/1.1"]),
            tls_http1: offering(&[b"http/1.1"]),
            http1,
            http2,
            timeout: limit(config.proxy_connect_timeout),
            tasks,
            metrics,
        })))
    }

    /// Opens a connection on which requests follow each other, or, on HTTP/2, stand beside each other.
    ///
    /// # Errors
    /// [`DialError`]; nothing was sent then.
    pub(super) async fn dial(
        &self,
        protocol: Protocol,
        address: &Authority,
    ) -> Result<Sender, DialError> {
        let dialing = async {
            match protocol {
                Protocol::Http => self.http1(tcp(address, 80).await?, false).await,
                Protocol::H2c => self.http2(tcp(address, 80).await?).await,
                Protocol::Https => {
                    let socket = tcp(address, 443).await?;
                    let stream = tls(&self.0.tls, address, socket).await?;
                    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        self.http2(stream).await
                    } else {
                        self.http1(stream, false).await
                    }
                }
            }
        };
        self.in_time(dialing).await
    }

    /// Opens a connection of HTTP/1.1 for one request, after which it may become something else.
    ///
    /// # Errors
    /// [`DialError`]; nothing was sent then.
    pub(super) async fn dial_for_upgrade(
        &self,
        protocol: Protocol,
        address: &Authority,
    ) -> Result<Sender, DialError> {
        let dialing = async {
            match protocol {
                Protocol::Http => self.http1(tcp(address, 80).await?, true).await,
                Protocol::H2c => Err(DialError::NoHttp1),
                Protocol::Https => {
                    let socket = tcp(address, 443).await?;
                    let stream = tls(&self.0.tls_http1, address, socket).await?;
                    self.http1(stream, true).await
                }
            }
        };
        self.in_time(dialing).await
    }

    async fn in_time(
        &self,
        dialing: impl Future<Output = Result<Sender, DialError>>,
    ) -> Result<Sender, DialError> {
        // Boxed: a handshake is large, and most requests need none.
        let sender = self.within_timeout(Box::pin(dialing)).await??;
        self.0.metrics.proxy.upstream_connections.inc();
        Ok(sender)
    }

    /// Waits for something that a connection needs.
    ///
    /// # Errors
    /// [`DialError::Timeout`] when it takes longer than a connection may.
    pub(super) async fn within_timeout<T>(
        &self,
        waiting: impl Future<Output = T>,
    ) -> Result<T, DialError> {
        match self.0.timeout {
            Some(timeout) => tokio::time::timeout(timeout, waiting)
                .await
                .map_err(|_| DialError::Timeout(timeout)),
            None => Ok(waiting.await),
        }
    }

    async fn http1<S>(&self, stream: S, may_upgrade: bool) -> Result<Sender, DialError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let begun = self
            .0
            .http1
            .handshake::<_, RequestBody>(TokioIo::new(stream));
        let (sender, connection) = begun.await.map_err(DialError::Http)?;
        if may_upgrade {
            self.drive("upstream.upgrade", connection.with_upgrades());
        } else {
            self.drive("upstream.http1", connection);
        }
        Ok(Sender::Http1(sender))
    }

    async fn http2<S>(&self, stream: S) -> Result<Sender, DialError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let begun = self
            .0
            .http2
            .handshake::<_, RequestBody>(TokioIo::new(stream));
        let (sender, connection) = begun.await.map_err(DialError::Http)?;
        let mut connection = preface::settled(connection).await?;
        let multiplexed = Multiplexed::new(sender, connection.current_max_send_streams());
        let limit = multiplexed.limit();
        self.drive(
            "upstream.http2",
            poll_fn(move |cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                limit.set(connection.current_max_send_streams());
                polled
            }),
        );
        Ok(Sender::Http2(multiplexed))
    }

    /// Runs a connection until nobody needs it any more, it breaks, or the process stops.
    fn drive<F>(&self, name: &'static str, connection: F)
    where
        F: Future<Output = hyper::Result<()>> + Send + 'static,
    {
        let stopping = self.0.tasks.stopping();
        self.0.tasks.spawn(name, async move {
            if let Some(Err(error)) = stopping.run_until_cancelled_owned(connection).await {
                tracing::debug!(%error, "a connection to a backend ended with an error");
            }
        });
    }
}

async fn tls(
    connector: &TlsConnector,
    address: &Authority,
    socket: Socket,
) -> Result<tokio_rustls::client::TlsStream<Socket>, DialError> {
    let name = ServerName::try_from(bare(address.host()).to_owned());
    let name = name.map_err(|error| DialError::Tls(io::Error::other(error)))?;
    let stream = connector.connect(name, socket).await;
    stream.map_err(DialError::Tls)
}
