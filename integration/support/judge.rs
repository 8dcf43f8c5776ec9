//! A server that decides who may: a real HTTP server that keeps what it was asked, and answers as it is
//! told to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How the server answers.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// With this status.
    Status(u16),
    /// With status 200, after this time.
    Slowly(Duration),
    /// With a redirect of this status to this URL.
    Redirect(u16, String),
}

/// What the server was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} comes once");
        value
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

#[derive(Debug)]
struct Shared {
    verdict: Mutex<Verdict>,
    asked: Mutex<Vec<Asked>>,
}

/// A judge on a port of 127.0.0.1, until it is dropped.
#[derive(Debug)]
pub struct Judge {
    url: String,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

impl Judge {
    /// Starts one that allows everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/may?they=1", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            verdict: Mutex::new(Verdict::Status(200)),
            asked: Mutex::default(),
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&shared)));
        Self {
            url,
            shared,
            _serving: serving,
        }
    }

    /// Where it is asked.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Decides so from now on.
    pub fn say(&self, verdict: Verdict) {
        *self.shared.verdict.lock() = verdict;
    }

    /// Returns what it was asked since the last call, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.shared.asked.lock())
    }

    /// Returns the only question since the last call.
    pub fn question(&self) -> Asked {
        let mut asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.remove(0)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| answer(Arc::clone(&shared), request));
        connections.spawn(async move {
            // The other side may break it off.
            let _ended = http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    shared.asked.lock().push(Asked {
        method: head.method,
        path: head.uri.to_string(),
        headers: head.headers,
        body,
    });
    let verdict = shared.verdict.lock().clone();
    let response = Response::builder();
    let response = match verdict {
        Verdict::Status(status) => response.status(status),
        Verdict::Slowly(after) => {
            tokio::time::sleep(after).await;
            response
        }
        Verdict::Redirect(status, to) => response.status(status).header("location", to),
    };
    Ok(response.body(Full::default()).unwrap())
}
