//! The connection as a client sees it: raw bytes over real sockets.

mod answers;
mod http2;
mod http2_streams;
mod leaving;
mod patience;
mod pauses;
mod refusals;
mod relayed;
mod scripts;
mod streamed;
mod takeover;
mod tls;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;

use super::{
    Body, BodyMemory, Handler, HttpLimits, Link, Listener, Reply, Request, Serving, StreamBody,
    TakeOver, TakenConnection, Tls,
};
use crate::telemetry::{Metrics, Tasks};

/// Answers by path; what a test needs.
struct Paths;

impl Handler for Paths {
    async fn handle(&self, mut request: Request) -> Reply {
        let path = request.path().to_owned();
        match path.as_str() {
            "/echo" => match request.body(1_000).await {
                Ok(body) => ok(body).into(),
                Err(error) => error.into(),
            },
            "/refuse" => {
                let mut response = ok(Bytes::from_static(b"no"));
                *response.status_mut() = StatusCode::FORBIDDEN;
                response.into()
            }
            "/large" => ok(Bytes::from(vec![b'x'; 8 << 20])).into(),
            "/slow" => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                ok(Bytes::from_static(b"slow")).into()
            }
            "/later" => pauses::later(),
            "/never" => pauses::never(),
            "/read/later" => match request.body(1_000).await {
                Ok(body) => pauses::later_with(body),
                Err(error) => error.into(),
            },
            "/taken/later" => {
                let body = request.take_body().collect().await;
                pauses::later_with(body.map(|body| body.to_bytes()).unwrap_or_default())
            }
            "/scripted" => scripts::scripted(&request),
            "/relayed" => scripts::relayed(&mut request),
            "/told/reset" => {
                let _open = scripts::Open::new();
                scripts::told(&mut request).await
            }
            "/unread" => scripts::unread(&mut request).await,
            "/tls" => ok(Bytes::from(format!("tls: {}", request.is_tls()))).into(),
            "/told" => scripts::told(&mut request).await,
            "/waits" | "/waits/half" => scripts::waits(&mut request).await,
            "/kept" => {
                // The body is still read when the answer is out.
                let body = request.take_body();
                Tasks::new().spawn("test.reader", async move { drop(body.collect().await) });
                ok(Bytes::from_static(b"kept")).into()
            }
            "/late" => scripts::late(&request).await,
            "/late/take" => {
                scripts::late(&request).await;
                Reply::TakenOver(Response::new(()), Box::new(Taker))
            }
            "/late/later" => {
                scripts::late(&request).await;
                pauses::later()
            }
            "/take" => Reply::TakenOver(Response::new(()), Box::new(Taker)),
            path => ok(Bytes::from(format!("{} {path}", request.method))).into(),
        }
    }
}

/// Tells what it got; on HTTP/2, says a word and stays.
struct Taker;

impl TakeOver for Taker {
    fn connection(self: Box<Self>, taken: TakenConnection) {
        assert!(taken.head.starts_with(b"HTTP/1.1 200 OK\r\n"));
        let Link::Socket(mut stream) = taken.link else {
            panic!("{:?}", taken.link)
        };
        let _thread = std::thread::spawn(move || {
            stream.set_nonblocking(false).unwrap();
            write!(
                stream,
                "TAKEN[{}]",
                String::from_utf8_lossy(&taken.already_read)
            )
            .unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            write!(stream, "REST[{}]", String::from_utf8_lossy(&rest)).unwrap();
        });
    }

    fn body(self: Box<Self>) -> StreamBody {
        Body::new(Bytes::from_static(b"TAKEN"))
            .map_err(|never| match never {})
            .boxed_unsync()
    }
}

fn ok(body: Bytes) -> Response<Body> {
    Response::new(Body::new(body))
}

/// A listener in a runtime of its own.
struct Server {
    address: SocketAddr,
    tasks: Tasks,
    metrics: Metrics,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    fn start(limits: HttpLimits) -> Self {
        Self::with_tls(limits, None)
    }

    fn with_tls(limits: HttpLimits, tls: Option<Tls>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (tasks, metrics) = (Tasks::new(), Metrics::new());
        let entered = runtime.enter();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr();
        let gauge = metrics.http_body_bytes.with_label_values(&["test"]);
        let serving = Serving {
            name: "test",
            body_memory: BodyMemory::for_strangers(limits.http_max_bodies_bytes, gauge),
            limits,
            tasks: tasks.clone(),
            metrics: metrics.clone(),
            tls,
            trusted_proxies: Default::default(),
        };
        listener.serve(std::sync::Arc::new(Paths), serving);
        drop(entered);
        Self {
            address,
            tasks,
            metrics,
            runtime: Some(runtime),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends `bytes`, closes the sending side, and returns all that comes back.
    fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        read_all(&mut stream)
    }

    /// Sends `bytes` and returns all that comes back until the server closes.
    fn closes_after(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        read_all(&mut stream)
    }

    fn refused(&self, reason: &str) -> u64 {
        self.metrics.http_refused.with_label_values(&[reason]).get()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8_lossy(&received).into_owned()
}

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut received = Vec::new();
    let mut byte = [0];
    while !received.ends_with(end.as_bytes()) {
        assert_ne!(
            stream.read(&mut byte).unwrap(),
            0,
            "closed after {}",
            String::from_utf8_lossy(&received)
        );
        received.push(byte[0]);
    }
    String::from_utf8(received).unwrap()
}

fn short() -> HttpLimits {
    HttpLimits {
        http_first_byte_timeout: Duration::from_millis(200),
        http_header_timeout: Duration::from_millis(200),
        http_body_timeout: Duration::from_millis(200),
        http_idle_timeout: Duration::from_millis(200),
        http_write_timeout: Duration::from_millis(500),
        ..HttpLimits::default()
    }
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

fn wait_until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "waited in vain"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
