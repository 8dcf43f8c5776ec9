//! A WebSocket between a client and a backend: bytes in both directions, of which nothing is read here.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::Instant;

use super::addresses::InFlight;
use super::lasting::Until;
use crate::access::Place;
use crate::http::{Duplex, Link, StreamBody, TakeOver, TakenConnection};
use crate::telemetry::Tasks;

/// How much is read at a time, in each direction.
const BUFFER_BYTES: usize = 8 * 1024;

/// The backend's side of a WebSocket, until the client's is there.
pub(super) struct Tunnel {
    pub(super) backend: OnUpgrade,
    pub(super) held: Held,
    /// How long both sides may be silent.
    pub(super) idle: Option<Duration>,
    /// When it has to end, whatever is said.
    pub(super) until: Until,
    /// Those of what clients use, which the instance waits for at its end.
    pub(super) tasks: Tasks,
}

/// What counts a tunnel for as long as it is open.
pub(super) type Held = (InFlight, Option<Place>, Counted);

/// One more in a gauge, until this is dropped.
pub(super) struct Counted(IntGauge);

impl Counted {
    pub(super) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl TakeOver for Tunnel {
    /// Copies in both directions until both have ended, one has broken, both are silent for too long, or it is over for
    /// both.
    fn connection(self: Box<Self>, taken: TakenConnection) {
        let Self {
            backend,
            held,
            idle,
            mut until,
            tasks,
        } = *self;
        tasks.spawn("upstream.websocket", async move {
            let carrying = Box::pin(carry(backend, taken, idle));
            let carried = tokio::select! {
                carried = carrying => carried,
                over = poll_fn(|cx| until.poll(cx)) => Err(over.into()),
            };
            drop(held);
            if let Err(error) = carried {
                tracing::debug!(%error, "a WebSocket to a backend broke off");
            }
        });
    }

    /// Not for a 101, which is all that this is made for.
    fn body(self: Box<Self>) -> StreamBody {
        let text = "a WebSocket has no body";
        Empty::new()
            .map_err(|never| match never {})
            .with_trailers(async move { Some(Err(io::Error::other(text))) })
            .boxed_unsync()
    }
}

async fn carry(
    backend: OnUpgrade,
    taken: TakenConnection,
    idle: Option<Duration>,
) -> io::Result<()> {
    let backend = TokioIo::new(backend.await.map_err(io::Error::other)?);
    let first = (&*taken.head, &taken.already_read);
    match taken.link {
        Link::Socket(socket) => {
            let client = tokio::net::TcpStream::from_std(socket)?;
            copy(client, backend, first, idle).await
        }
        Link::Carried(client) => copy(client, backend, first, idle).await,
    }
}

async fn copy(
    client: impl Duplex,
    backend: TokioIo<Upgraded>,
    (head, already_read): (&[u8], &Bytes),
    idle: Option<Duration>,
) -> io::Result<()> {
    let activity = Activity::begin();
    let mut client = Watched(client, activity.clone());
    let mut backend = Watched(backend, activity.clone());
    let copying = async {
        client.write_all(head).await?;
        client.flush().await?;
        backend.write_all(already_read).await?;
        backend.flush().await?;
        let (a, b) = (&mut client, &mut backend);
        tokio::io::copy_bidirectional_with_sizes(a, b, BUFFER_BYTES, BUFFER_BYTES).await
    };
    tokio::select! {
        copied = copying => copied.map(|_| ()),
        () = activity.silence(idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// When a byte last came from either side.
#[derive(Debug, Clone)]
struct Activity {
    begun: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Activity {
    fn begin() -> Self {
        Self {
            begun: Instant::now(),
            last_ms: Arc::default(),
        }
    }

    fn note(&self) {
        let passed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(passed, Ordering::Relaxed);
    }

    /// Waits until nothing has come for as long as this; for ever without a limit.
    async fn silence(&self, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        let mut timer = pin!(tokio::time::sleep(limit));
        loop {
            timer.as_mut().await;
            let last = self.begun + Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            if last + limit <= Instant::now() {
                return;
            }
            timer.as_mut().reset(last + limit);
        }
    }
}

/// One side; what is read from it is activity.
struct Watched<S>(S, Activity);

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
        self.1.note();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
