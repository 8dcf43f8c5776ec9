//! The connection as a client sees it: raw bytes over real sockets.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};

use super::{Body, Handler, HttpLimits, Listener, Reply, Request, Serving};
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
            "/take" => Reply::TakeOver(Box::new(|taken| {
                let mut stream = taken.stream;
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
            })),
            path => ok(Bytes::from(format!("{} {path}", request.method))).into(),
        }
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
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (tasks, metrics) = (Tasks::new(), Metrics::new());
        let entered = runtime.enter();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr();
        let serving = Serving {
            name: "test",
            limits,
            tasks: tasks.clone(),
            metrics: metrics.clone(),
        };
        listener.serve(Paths, serving);
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

#[test]
fn refuses_what_could_be_understood_in_two_ways() {
    let server = Server::start(HttpLimits::default());
    let cases: [(&str, &str); 21] = [
        ("GET /a HTTP/1.1\r\n\r\n", "400"),
        ("GET /a HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "400"),
        ("GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400"),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\na",
            "400",
        ),
        (
            "POST /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        ("GET /a HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", "400"),
        ("GET /a HTTP/1.1\r\nHost: x\r\nbad\rname: y\r\n\r\n", "400"),
        ("TRACE /a HTTP/1.1\r\nHost: x\r\n\r\n", "501"),
        ("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", "501"),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\nExpect: x\r\n\r\n", "417"),
    ];
    for (request, expected) in cases {
        // A request that follows must never be answered.
        let answer = server.closes_after([request.as_bytes(), GET].concat().as_slice());
        assert_eq!(status(&answer), expected, "{request:?}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count() + answer.matches("HTTP/1.0 ").count(),
            1,
            "{request:?}: {answer}"
        );
    }
}

#[test]
fn refuses_heads_that_are_too_large() {
    let server = Server::start(HttpLimits::default());
    let large = format!(
        "GET /a HTTP/1.1\r\nHost: x\r\nLarge: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let many = format!(
        "GET /a HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "a: b\r\n".repeat(20_000)
    );
    let few = format!(
        "GET /a HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "a: b\r\n".repeat(101)
    );
    let target = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(70_000));
    for (request, expected) in [(large, "431"), (many, "431"), (few, "431"), (target, "431")] {
        assert_eq!(status(&server.closes_after(request.as_bytes())), expected);
    }
    let endless = server.closes_after(&b"GET /a HTTP/1.1\r\nEndless: ".repeat(10_000));
    assert_eq!(status(&endless), "431");
    assert_eq!(server.refused("malformed"), 5);
}

#[test]
fn answers_pipelined_requests_in_order() {
    let server = Server::start(HttpLimits::default());
    let requests = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\
                    GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = server.closes_after(requests.as_bytes());
    let at = |text| {
        answer
            .find(text)
            .unwrap_or_else(|| panic!("{text} in {answer}"))
    };
    assert!(at("slow") < at("abc") && at("abc") < at("GET /b"));
    assert!(!answer.contains("never"));
}

#[test]
fn every_cut_of_two_requests_gives_the_same_answers() {
    let server = Server::start(HttpLimits::default());
    let body = "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx";
    let text = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}\
         GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        body.len()
    );
    for cut in (1..text.len()).step_by(7) {
        let mut stream = server.connect();
        let (first, second) = text.as_bytes().split_at(cut);
        stream.write_all(first).unwrap();
        std::thread::yield_now();
        stream.write_all(second).unwrap();
        let answer = read_all(&mut stream);
        assert_eq!(
            answer.matches("HTTP/1.1 200 OK").count(),
            2,
            "cut at {cut}: {answer}"
        );
        assert!(answer.ends_with("GET /b"), "cut at {cut}: {answer}");
    }
}

#[test]
fn http_1_0_is_answered_with_a_length_and_closed() {
    let server = Server::start(HttpLimits::default());
    for request in [
        "GET /a HTTP/1.0\r\n\r\n",
        "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ] {
        let answer = server.closes_after(request.as_bytes());
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-length: 6\r\n"), "{answer}");
        assert!(!answer.to_lowercase().contains("chunked"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nGET /a"), "{answer}");
    }
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let server = Server::start(HttpLimits::default());
    let answer = server.exchange(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-length: 7\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains("date: "), "{answer}");
}

#[test]
fn a_client_that_has_stopped_sending_gets_its_answer() {
    let server = Server::start(HttpLimits::default());
    assert!(
        server
            .exchange(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            .ends_with("slow")
    );
}

#[test]
fn absolute_forms_and_unknown_methods_reach_the_handler() {
    let server = Server::start(HttpLimits::default());
    for (line, expected) in [
        ("GET http://evil.example/a?b HTTP/1.1", "GET /a"),
        ("BREW /a HTTP/1.1", "BREW /a"),
        ("OPTIONS * HTTP/1.1", "OPTIONS *"),
        ("GET //x/../%2e%2e/y HTTP/1.1", "GET //x/../%2e%2e/y"),
    ] {
        let answer = server.exchange(format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
        assert!(answer.ends_with(&format!("\r\n\r\n{expected}")), "{answer}");
    }
}

#[test]
fn bodies_over_the_limit_are_refused() {
    let server = Server::start(HttpLimits::default());
    let declared =
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n";
    let answer = server.closes_after(declared.as_bytes());
    assert_eq!(status(&answer), "413", "{answer}");
    assert!(!answer.contains("100 Continue"));
    let chunk = format!("{:x}\r\n{}\r\n", 600, "x".repeat(600));
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    let answer = server.closes_after([chunked.as_bytes(), GET].concat().as_slice());
    assert_eq!(status(&answer), "413", "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    // A client that sends everything before it reads still gets the answer, and no reset before it.
    let large = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n{}",
        "x".repeat(2_000_000)
    );
    assert_eq!(status(&server.closes_after(large.as_bytes())), "413");
}

#[test]
fn good_bodies_arrive() {
    let server = Server::start(HttpLimits::default());
    let cases = [
        ("Content-Length: 3\r\n\r\nabc", "abc"),
        ("Content-Length: 0\r\n\r\n", ""),
        ("\r\n", ""),
        (
            "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nT: v\r\n\r\n",
            "abc",
        ),
        ("Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", ""),
        (
            "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
            "abc",
        ),
    ];
    for (rest, expected) in cases {
        let answer =
            server.exchange(format!("POST /echo HTTP/1.1\r\nHost: x\r\n{rest}").as_bytes());
        assert!(answer.contains("HTTP/1.1 200 OK"), "{rest}: {answer}");
        assert!(
            answer.ends_with(&format!("\r\n\r\n{expected}")),
            "{rest}: {answer}"
        );
    }
}

#[test]
fn incomplete_and_malformed_bodies_are_refused() {
    let server = Server::start(HttpLimits::default());
    for rest in [
        "Content-Length: 10\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    ] {
        let answer =
            server.exchange(format!("POST /echo HTTP/1.1\r\nHost: x\r\n{rest}").as_bytes());
        assert!(
            answer.is_empty() || status(&answer) == "400",
            "{rest}: {answer}"
        );
    }
}

#[test]
fn the_rest_of_an_unread_body_is_never_a_request() {
    let server = Server::start(HttpLimits::default());
    let smuggled = String::from_utf8_lossy(GET).into_owned();
    for padding in [0, 100, 100_000] {
        let body = format!("{}{smuggled}", "x".repeat(padding));
        let request = format!(
            "POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = server.exchange(request.as_bytes());
        assert_eq!(status(&answer), "403", "{answer}");
        assert!(!answer.contains("GET /a"), "{answer}");
    }
}

#[test]
fn slow_clients_are_closed_in_time() {
    let server = Server::start(short());
    let started = Instant::now();
    assert_eq!(server.closes_after(b""), "");
    assert_eq!(status(&server.closes_after(b"GET / HT")), "408");
    assert_eq!(
        status(
            &server.closes_after(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        ),
        "408"
    );
    let idle = server.closes_after(GET);
    assert_eq!(status(&idle), "200");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(server.refused("first_byte_timeout"), 1);
    assert_eq!(server.refused("header_timeout"), 1);
    assert_eq!(server.refused("idle_timeout"), 0);
}

#[test]
fn one_byte_at_a_time_does_not_stretch_the_limits() {
    let server = Server::start(short());
    for prefix in [
        "GET /a HTTP/1.1\r\nHost: x\r\na: ",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n",
    ] {
        let mut stream = server.connect();
        stream.write_all(prefix.as_bytes()).unwrap();
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3) && stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
            if stream.peek_ready() {
                break;
            }
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{prefix}");
    }
}

/// Looks whether an answer has come.
trait PeekReady {
    fn peek_ready(&self) -> bool;
}

impl PeekReady for TcpStream {
    fn peek_ready(&self) -> bool {
        self.set_nonblocking(true).unwrap();
        let ready = self.peek(&mut [0]).is_ok();
        self.set_nonblocking(false).unwrap();
        ready
    }
}

#[test]
fn a_client_that_takes_no_bytes_is_closed() {
    let server = Server::start(short());
    let mut stream = server.connect();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    wait_until(|| server.refused("write_timeout") == 1);
    assert!(read_all(&mut stream).len() < 8 << 20);
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

#[test]
fn a_taken_socket_follows_the_answers_before_it() {
    let server = Server::start(HttpLimits::default());
    let requests = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /take HTTP/1.1\r\nHost: x\r\n\r\nearly";
    let mut stream = server.connect();
    stream.write_all(requests).unwrap();
    let answer = read_until(&mut stream, "TAKEN[early]");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nGET /aTAKEN[early]"), "{answer}");
    stream.write_all(b"late").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream), "REST[late]");
    wait_until(|| server.tasks.running() == 1);
}

#[test]
fn a_large_answer_is_whole_before_the_socket_is_taken() {
    let server = Server::start(HttpLimits::default());
    let mut stream = server.connect();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\nGET /take HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    // The kernel's buffers are far smaller than the answer: the takeover has to wait for the reader.
    std::thread::sleep(Duration::from_millis(200));
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read_all(&mut stream);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"));
    assert_eq!(body.len(), (8 << 20) + "TAKEN[]REST[]".len());
    assert!(body.ends_with("xTAKEN[]REST[]"));
}

#[test]
fn a_kept_alive_connection_can_be_taken() {
    let server = Server::start(HttpLimits::default());
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(GET).unwrap();
        assert!(read_until(&mut stream, "GET /a").starts_with("HTTP/1.1 200 OK"));
    }
    stream
        .write_all(
            b"GET /take HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        )
        .unwrap();
    assert_eq!(read_until(&mut stream, "]"), "TAKEN[]");
    assert_eq!(
        server
            .metrics
            .http_requests
            .with_label_values(&["test", "2xx"])
            .get(),
        3
    );
    assert_eq!(
        server
            .metrics
            .http_requests
            .with_label_values(&["test", "stream"])
            .get(),
        1
    );
}

#[test]
fn a_client_that_leaves_before_the_takeover_leaves_nothing_behind() {
    let server = Server::start(HttpLimits::default());
    for requests in [
        &b"GET /large HTTP/1.1\r\nHost: x\r\n\r\nGET /take HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"GET /take HTTP/1.1\r\nHost: x",
        b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut stream = server.connect();
        stream.write_all(requests).unwrap();
        wait_until(|| server.tasks.running() == 2);
        drop(stream);
        wait_until(|| server.tasks.running() == 1);
    }
}

#[test]
fn a_stop_answers_what_is_in_flight_and_closes_the_rest() {
    let server = Server::start(HttpLimits::default());
    let [mut silent, mut idle, mut partial, mut busy] = std::array::from_fn(|_| server.connect());
    idle.write_all(GET).unwrap();
    read_until(&mut idle, "GET /a");
    partial.write_all(b"GET /a HT").unwrap();
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    wait_until(|| server.tasks.running() == 5);
    std::thread::sleep(Duration::from_millis(50));
    let started = Instant::now();
    server
        .runtime
        .as_ref()
        .unwrap()
        .block_on(server.tasks.stop());
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(read_all(&mut silent), "");
    assert_eq!(read_all(&mut idle), "");
    assert_eq!(read_all(&mut partial), "");
    assert!(read_all(&mut busy).ends_with("slow"));
    assert!(TcpStream::connect(server.address).is_err());
}

#[test]
fn many_connections_at_once_are_served() {
    let server = Server::start(HttpLimits::default());
    let mut streams: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(GET).unwrap();
    }
    for stream in &mut streams {
        read_until(stream, "GET /a");
    }
    assert_eq!(
        server
            .metrics
            .http_requests
            .with_label_values(&["test", "2xx"])
            .get(),
        200
    );
}
