//! A server of HTTP/1.1 for one test.

use std::convert::Infallible;
use std::future::Future;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// A server; when it is dropped, its port and all connections are closed soon.
pub struct Served {
    stopping: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    /// Answers whoever connects.
    pub fn start<F>(
        listener: TcpListener,
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let stopping = CancellationToken::new();
        let stops = stopping.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Some(accepted) = stops.run_until_cancelled(listener.accept()).await {
                let (socket, _) = accepted.unwrap();
                let answer = answer.clone();
                let answering = service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                let serving =
                    http1::Builder::new().serve_connection(TokioIo::new(socket), answering);
                connections.spawn(async move {
                    // A client that goes away is no failure of the server.
                    let _served = serving.await;
                });
            }
            connections.shutdown().await;
        });
        Self { stopping, task }
    }

    /// Closes the port and all connections, and waits until they are closed.
    pub async fn stop(&mut self) {
        self.stopping.cancel();
        (&mut self.task).await.expect("no panic");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}
