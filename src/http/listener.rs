//! Listening sockets and their accept loops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::body_memory::BodyMemory;
use super::connection::{self, Shared};
use super::http2;
use super::limits::HttpLimits;
use super::meter::Meter;
use super::peer::Peer;
use super::proxies::TrustedProxies;
use super::reply::Handler;
use super::tls::{self, Tls};
use crate::telemetry::{Limited, Metrics, Tasks};

/// A listening socket that accepts nothing yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// Why a listening socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("cannot listen on {address}: the address is in use by another process")]
    InUse {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}")]
    Failed {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What a listener needs to serve.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The value of the label `listener` in the metrics.
    pub name: &'static str,
    /// The limits of each connection.
    pub limits: HttpLimits,
    /// Runs the accept loop and the connections. When they are told to stop, nothing more is accepted, idle
    /// connections are closed, and requests in flight are answered.
    pub tasks: Tasks,
    /// Counts requests and refused connections.
    pub metrics: Metrics,
    /// How TLS is spoken; `None` for a port without.
    pub tls: Option<Tls>,
    /// Proxies that are believed when they say who their clients are.
    pub trusted_proxies: TrustedProxies,
    /// For the bodies that are read as a whole; several listeners may share it.
    pub body_memory: BodyMemory,
}

/// How many connections the kernel keeps until they are accepted.
const BACKLOG: i32 = 8_192;
/// How long the accept loop rests when there are no file descriptors left.
const REST: Duration = Duration::from_millis(100);

impl Listener {
    /// Opens a listening socket; port 0 takes any free port.
    ///
    /// # Errors
    /// [`BindError`] names the address.
    ///
    /// # Panics
    /// Outside of a tokio runtime with IO.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        open(address).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            _ => BindError::Failed { address, source },
        })
    }

    /// Returns the address, with the real port where port 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Starts to accept and to serve, on tasks of [`Serving::tasks`], until these are told to stop.
    pub fn serve<H: Handler>(self, handler: Arc<H>, serving: Serving) {
        let Serving {
            name,
            limits,
            tasks,
            metrics,
            tls,
            trusted_proxies,
            body_memory,
        } = serving;
        let meter = Meter::new(metrics, name);
        let shared = Arc::new(Shared {
            handler,
            http1: connection::builder(&limits),
            http2: http2::builder(&limits, tasks.clone(), &meter),
            tasks: tasks.clone(),
            tls,
            trusted_proxies,
            body_memory,
            limits,
            stopping: tasks.stopping(),
            meter,
        });
        tasks.spawn("http.accept", accept_all(self.socket, shared));
    }
}

fn open(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restarted process must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from_std(socket.into())?;
    let address = socket.local_addr()?;
    Ok(Listener { socket, address })
}

async fn accept_all<H: Handler>(socket: TcpListener, shared: Arc<Shared<H>>) {
    let stopping = shared.stopping.clone();
    let limited = Limited::new(Duration::from_secs(10));
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                start(&shared, stream, peer);
            }
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "a connection ended before it was accepted");
            }
            Err(error) => {
                shared.meter.refused("descriptors");
                if let Some(suppressed) = limited.admit("accept", std::time::Instant::now()) {
                    tracing::error!(%error, suppressed, "cannot accept connections; raise the limit of open files");
                }
                tokio::select! {
                    () = tokio::time::sleep(REST) => {}
                    () = stopping.cancelled() => return,
                }
            }
        }
    }
}

fn start<H: Handler>(shared: &Arc<Shared<H>>, stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    let connection = Arc::clone(shared);
    match &shared.tls {
        None => {
            let serving = connection::serve(connection, stream, Peer::new(peer));
            shared.tasks.spawn("http.connection", serving);
        }
        Some(tls) => {
            let serving = tls::serve(connection, tls.clone(), stream, peer);
            shared.tasks.spawn("https.connection", serving);
        }
    }
}

/// Whether the error says something about one connection only, so that the next one can be accepted at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let first = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        assert_ne!(first.local_addr().port(), 0);
        let error = Listener::bind(first.local_addr()).unwrap_err();
        let expected = format!(
            "cannot listen on {}: the address is in use by another process",
            first.local_addr()
        );
        assert_eq!(error.to_string(), expected);
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let address = ([192, 0, 2, 1], 0).into();
        assert!(matches!(
            Listener::bind(address),
            Err(BindError::Failed { .. })
        ));
    }

    #[test]
    fn lack_of_descriptors_is_no_matter_of_one_connection() {
        // EMFILE, ENFILE, ENOBUFS, ENOMEM
        for code in [24, 23, 105, 12] {
            assert!(
                !is_of_one_connection(&io::Error::from_raw_os_error(code)),
                "{code}"
            );
        }
        // ECONNABORTED, ECONNRESET, EINTR
        for code in [103, 104, 4] {
            assert!(
                is_of_one_connection(&io::Error::from_raw_os_error(code)),
                "{code}"
            );
        }
    }
}
