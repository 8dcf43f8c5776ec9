//! The network between clients and instances: TCP proxies that cut connections at random bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::random::Random;

/// How much the kernel keeps on the way, so that a client that reads slowly is soon felt.
const WINDOW_BYTES: u32 = 32 * 1024;

/// A proxy before one instance. Ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    random: Mutex<Random>,
    /// How many of a hundred connections are cut after some bytes.
    percent: Mutex<usize>,
    /// The most bytes after which one is cut.
    within: usize,
    cuts: AtomicU64,
    cut_all: watch::Sender<u64>,
}

impl Proxy {
    /// Starts a proxy that cuts `percent` of the connections within so many bytes.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start(
        target: SocketAddr,
        random: Random,
        percent: usize,
        within: usize,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            random: Mutex::new(random),
            percent: Mutex::new(percent),
            within,
            cuts: AtomicU64::new(0),
            cut_all: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections that there are.
    pub fn cut_all(&self) {
        self.shared.cut_all.send_modify(|count| *count += 1);
    }

    /// Cuts no connection any more.
    pub fn calm(&self) {
        *self.shared.percent.lock() = 0;
    }

    /// Returns how many connections were cut after some bytes.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_all();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(carry(client, Arc::clone(&shared)));
            }
            // Out of descriptors, say: the client comes back.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Carries one connection until it ends or is cut.
async fn carry(mut client: TcpStream, shared: Arc<Shared>) {
    let mut cut_all = shared.cut_all.subscribe();
    let Ok(mut server) = connect(shared.target).await else {
        return;
    };
    let (limit, with_reset) = shared.plan();
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let down = async {
        let mut left = limit;
        let mut bytes = vec![0; 16 * 1024];
        while left > 0 {
            let most = bytes.len().min(left);
            match from_server.read(&mut bytes[..most]).await {
                Ok(count) if count > 0 => {
                    left -= count;
                    to_client.write_all(&bytes[..count]).await?;
                }
                end => return end.map(|_| false),
            }
        }
        Ok::<bool, io::Error>(true)
    };
    let up = tokio::io::copy(&mut from_client, &mut to_server);
    let was_cut = tokio::select! {
        ended = down => ended.unwrap_or(false),
        _ = up => false,
        _ = cut_all.changed() => false,
    };
    if was_cut {
        shared.cuts.fetch_add(1, Ordering::Relaxed);
        if with_reset {
            for socket in [&client, &server] {
                let _best_effort = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
            }
        }
    }
}

async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(WINDOW_BYTES)?;
    socket.connect(target).await
}

impl Shared {
    /// Returns after how many bytes to cut, and whether with a reset.
    fn plan(&self) -> (usize, bool) {
        let mut random = self.random.lock();
        let with_reset = random.percent(50);
        if random.percent(*self.percent.lock()) {
            (1 + random.below(self.within), with_reset)
        } else {
            (usize::MAX, with_reset)
        }
    }
}
