//! The Kafka-compatible broker inside the process, for when no brokers are configured.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tansu_broker::broker::Broker;
use thiserror::Error;
use tokio::sync::oneshot;
use url::Url;
use uuid::Uuid;

use super::recognition::EMBEDDED_CLUSTER_ID;

/// How long the broker may take to open its storage and its port.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a request in work may take when the broker is stopped.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// The identity of the broker; fixed, since the storage belongs to it.
const CLUSTER_ID: &str = EMBEDDED_CLUSTER_ID;
const NODE_ID: i32 = 1;

/// Why the embedded broker is not running.
#[derive(Debug, Error)]
pub enum EmbeddedBrokerError {
    /// The folder for the data cannot be made.
    #[error("the data folder {path:?} of the embedded broker cannot be made")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The folder's path has a character that the storage cannot take.
    #[error(
        "the data folder {path:?} of the embedded broker must be UTF-8 without blanks and any of \"#%?<>`{{}}^|\\"
    )]
    Path {
        /// The folder.
        path: PathBuf,
    },
    /// The port cannot be opened.
    #[error(
        "the embedded broker cannot listen on {address}; set KAFKA_BROKERS to use a broker that runs there"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// No thread or runtime for the broker.
    #[error("the embedded broker's thread cannot be started")]
    Thread(#[from] io::Error),
    /// The storage cannot be opened.
    #[error("the embedded broker cannot be started with the data in {path:?}")]
    Storage {
        /// The folder.
        path: PathBuf,
        /// What the broker says.
        source: Box<tansu_broker::Error>,
    },
    /// It did not come up in time.
    #[error("the embedded broker at {address} did not answer in time")]
    Late {
        /// The address.
        address: SocketAddr,
    },
}

/// A running broker, on a thread and a runtime of its own. Dropping it stops it.
#[derive(Debug)]
pub struct EmbeddedBroker {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts a broker on `address` with its data in the folder `dir`, which is made if missing.
    ///
    /// Returns when it accepts connections. With port 0 it takes a free one. Records, topics and
    /// committed offsets survive the process, also when it is killed.
    ///
    /// # Errors
    /// [`EmbeddedBrokerError`] when the folder or the port cannot be used, or it does not come up.
    pub fn start(dir: &Path, address: SocketAddr) -> Result<Self, EmbeddedBrokerError> {
        std::fs::create_dir_all(dir).map_err(|source| EmbeddedBrokerError::Folder {
            path: dir.to_owned(),
            source,
        })?;
        let storage = storage_url(dir)?;
        let address = free_address(address)?;
        let (report, reports) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("broker")
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new().name("broker-main".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    ended = serve(storage, address) => {
                        tracing::error!(result = ?ended.as_ref().err(), "the embedded broker ended");
                        // Nobody waits any more once the broker has come up.
                        report.try_send(ended).ok();
                    }
                    // A dropped sender means stop, too.
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(STOP_LIMIT);
        })?;
        let broker = Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        };
        broker.wait_until_up(dir, &reports)?;
        Ok(broker)
    }

    /// Returns the address it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the broker and waits for its end, at most a few seconds.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that it has ended by itself.
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the embedded broker's thread panicked");
        }
    }

    fn wait_until_up(
        &self,
        dir: &Path,
        reports: &mpsc::Receiver<Result<(), tansu_broker::Error>>,
    ) -> Result<(), EmbeddedBrokerError> {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            match reports.recv_timeout(Duration::from_millis(20)) {
                Ok(Err(source)) => {
                    return Err(EmbeddedBrokerError::Storage {
                        path: dir.to_owned(),
                        source: Box::new(source),
                    });
                }
                Ok(Ok(())) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
        }
        Err(EmbeddedBrokerError::Late {
            address: self.address,
        })
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs the broker until it fails. `main` of the crate is not used: it handles signals of its own.
async fn serve(storage: Url, address: SocketAddr) -> Result<(), tansu_broker::Error> {
    let url = Url::parse(&format!("tcp://{address}"))
        .map_err(|error| tansu_broker::Error::Message(error.to_string()))?;
    let mut broker = Broker::<
        tansu_broker::coordinator::group::administrator::Controller<
            tansu_storage::StorageContainer,
        >,
        tansu_storage::StorageContainer,
    >::builder()
    .node_id(NODE_ID)
    .cluster_id(CLUSTER_ID)
    .incarnation_id(Uuid::new_v4())
    .listener(url.clone())
    .advertised_listener(url)
    .storage(storage)
    .silent(true)
    .build()
    .await?;
    broker.serve(Instant::now().into()).await
}

/// Returns the storage's URL: a path relative to the working directory unless it starts with `//`.
fn storage_url(dir: &Path) -> Result<Url, EmbeddedBrokerError> {
    let refused = || EmbeddedBrokerError::Path {
        path: dir.to_owned(),
    };
    let absolute = dir
        .canonicalize()
        .map_err(|source| EmbeddedBrokerError::Folder {
            path: dir.to_owned(),
            source,
        })?;
    let file = absolute.join("broker.db");
    let file = file.to_str().ok_or_else(refused)?;
    let url = Url::parse(&format!("sqlite:///{file}")).map_err(|_error| refused())?;
    // The storage takes the path as it is in the URL, so an escaped character would be another file.
    if url.path() == format!("/{file}") && url.query().is_none() && url.fragment().is_none() {
        Ok(url)
    } else {
        Err(refused())
    }
}

/// Finds out early, and with the true reason, whether the port can be opened.
fn free_address(address: SocketAddr) -> Result<SocketAddr, EmbeddedBrokerError> {
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|source| EmbeddedBrokerError::Listen { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_storage_is_the_folder_given_whatever_the_working_directory() {
        let dir = std::env::temp_dir().canonicalize().unwrap();
        let url = storage_url(&dir).unwrap();
        assert_eq!(url.path(), format!("/{}/broker.db", dir.display()));
    }

    #[test]
    fn a_folder_that_a_url_would_escape_is_refused() {
        let dir = std::env::temp_dir().join(format!("a b {}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let result = storage_url(&dir);
        std::fs::remove_dir(&dir).unwrap();
        assert!(
            matches!(result, Err(EmbeddedBrokerError::Path { .. })),
            "{result:?}"
        );
    }

    #[test]
    fn a_taken_port_is_named_in_the_error() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = free_address(address).unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
