//! A backend of HTTP/2.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::sse::Link;

/// What such a backend answers.
pub type Answered = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// One on a port of 127.0.0.1, until it is dropped.
#[derive(Debug)]
pub struct Http2Upstream {
    address: SocketAddr,
    is_tls: bool,
    connections: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Http2Upstream {
    /// Answers so, over TLS with ALPN or to those who know beforehand.
    pub async fn answering<F, Fut>(tls: Option<TlsAcceptor>, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Answered> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_tls = tls.is_some();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let link: Box<dyn Link> = match &tls {
                    None => Box::new(socket),
                    Some(tls) => Box::new(tls.accept(socket).await.unwrap()),
                };
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, io::Error>(answered.await) }
                });
                connections.spawn(async move {
                    let server = http2::Builder::new(TokioExecutor::new());
                    // The other side may break it off.
                    let _ended = server.serve_connection(TokioIo::new(link), service).await;
                });
            }
        });
        Self {
            address,
            is_tls,
            connections,
            _serving: serving,
        }
    }

    pub fn url(&self) -> String {
        let scheme = if self.is_tls {
            "https://localhost"
        } else {
            "h2c://127.0.0.1"
        };
        format!("{scheme}:{}", self.address.port())
    }

    /// Returns how many connections have come.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
