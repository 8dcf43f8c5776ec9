//! Answers that come bit by bit, and bodies of requests that are read so.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::*;

/// A body that does what a script says: words are sent, `~` waits for 50 ms, `&` for ever, `!` fails, `+` sends
/// trailers, `*` sends 64 KiB.
pub(super) struct Scripted {
    steps: VecDeque<String>,
    length: Option<u64>,
    wait: Option<Pin<Box<tokio::time::Sleep>>>,
    _open: Open,
}

/// How many bodies and handlers there are that somebody waits for.
static OPEN: AtomicUsize = AtomicUsize::new(0);

pub(super) struct Open;

impl Open {
    pub(super) fn new() -> Self {
        OPEN.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How the bodies ended that were read.
pub(super) static ENDS: parking_lot::Mutex<Vec<String>> = parking_lot::Mutex::new(Vec::new());

/// How many bytes of large pieces the body that began last has sent.
static SENT: AtomicUsize = AtomicUsize::new(0);

pub(super) fn sent() -> usize {
    SENT.load(Ordering::SeqCst)
}

/// Held by the tests that look at [`OPEN`], and by those whose server adds to it.
pub(super) static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

pub(super) fn open() -> usize {
    OPEN.load(Ordering::SeqCst)
}

impl HttpBody for Scripted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        let Some(step) = self.steps.pop_front() else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(match step.as_str() {
            "~" => {
                self.wait = Some(Box::pin(tokio::time::sleep(Duration::from_millis(50))));
                return self.poll_frame(cx);
            }
            "&" => {
                self.steps.push_front(step);
                return Poll::Pending;
            }
            "!" => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            "+" => {
                let mut trailers = HeaderMap::new();
                trailers.insert("sum", "42".parse().unwrap());
                Frame::trailers(trailers)
            }
            "*" => {
                SENT.fetch_add(64 * 1024, Ordering::SeqCst);
                Frame::data(Bytes::from(vec![b'*'; 64 * 1024]))
            }
            word => Frame::data(Bytes::from(word.to_owned())),
        })))
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Answers as the query says: `steps` is the script, in words; `length`, `status` and `declared` (for a
/// `Content-Length` of the head alone) say the rest.
pub(super) fn scripted(request: &Request) -> Reply {
    let query = request.query().unwrap();
    let steps = query.get("steps").unwrap_or_default();
    SENT.store(0, Ordering::SeqCst);
    let body = Scripted {
        steps: steps.split_whitespace().map(str::to_owned).collect(),
        length: query.get("length").map(|text| text.parse().unwrap()),
        wait: None,
        _open: Open::new(),
    };
    let mut response = Response::new(body.boxed_unsync());
    if let Some(status) = query.get("status") {
        *response.status_mut() = status.parse().unwrap();
    }
    if let Some(declared) = query.get("declared") {
        let headers = response.headers_mut();
        headers.insert("content-length", declared.parse().unwrap());
    }
    response
        .headers_mut()
        .insert("trailer", "sum".parse().unwrap());
    Reply::Streamed(response)
}

/// Sends the body of the request back as it comes.
pub(super) fn relayed(request: &mut Request) -> Reply {
    Reply::Streamed(Response::new(request.take_body()))
}

/// Reads the body bit by bit, and tells how it ended.
pub(super) async fn told(request: &mut Request) -> Reply {
    let (has_body, declared) = (request.has_body(), request.declared_length());
    let mut body = request.take_body();
    let (mut data, mut trailers) = (BytesMut::new(), String::new());
    let end = loop {
        match body.frame().await {
            None => break "whole".to_owned(),
            Some(Err(error)) => break format!("{:?}", error.kind()),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => data.extend_from_slice(&bytes),
                Err(frame) => trailers = format!("{:?}", frame.into_trailers().unwrap()),
            },
        }
    };
    if request.path() == "/told/reset" {
        ENDS.lock().push(end.clone());
    }
    let text = format!(
        "{has_body} {declared:?} {} {end} {trailers}{}",
        data.len(),
        request.body(10).await.unwrap().len()
    );
    ok(Bytes::from(text)).into()
}

/// Waits for ever, with the body.
pub(super) async fn unread(request: &mut Request) -> Reply {
    let _body = request.take_body();
    std::future::pending().await
}

/// Waits for ever, once the body has come.
pub(super) async fn waits(request: &mut Request) -> Reply {
    request.cancel_when_client_leaves();
    let _open = Open::new();
    let read = request.body(100_000).await;
    assert!(read.is_ok() || request.path() != "/waits");
    std::future::pending().await
}

/// Answers late, and does not mind whether the client sends any more.
pub(super) async fn late(request: &Request) -> Reply {
    request.cancel_when_client_leaves();
    tokio::time::sleep(Duration::from_millis(100)).await;
    ok(Bytes::from_static(b"late")).into()
}

fn get(server: &Server, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n{CLOSING}");
    server.closes_after(request.as_bytes())
}

/// Asks for an answer behind the first one, so that it is seen whether the connection goes on.
const CLOSING: &str = "GET /after HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Splits an answer into its head and the bytes of its body, without those of the answer to [`CLOSING`].
fn parts(answer: &str) -> (&str, &str) {
    let (head, rest) = answer.split_once("\r\n\r\n").expect(answer);
    let (body, after) = rest.split_once("HTTP/1.1 200 OK").expect(answer);
    assert!(after.ends_with("\r\n\r\nGET /after"), "{answer}");
    (head, body)
}

#[test]
fn bodies_are_framed_by_what_is_known_of_their_length() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    let cases = [
        (
            "steps=ab+~+cd",
            "transfer-encoding: chunked",
            "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n",
        ),
        ("steps=", "transfer-encoding: chunked", "0\r\n\r\n"),
        ("steps=ab+~+cd&length=4", "content-length: 4", "abcd"),
        ("steps=ab+~+cd&declared=4", "content-length: 4", "abcd"),
        (
            "steps=ab+~+cd&declared=9&length=4",
            "content-length: 4",
            "abcd",
        ),
        ("steps=&length=0", "content-length: 0", ""),
        (
            "steps=ab+%2B",
            "transfer-encoding: chunked",
            "2\r\nab\r\n0\r\nsum: 42\r\n\r\n",
        ),
        ("steps=&status=304", "304", ""),
        ("steps=ab&status=304&length=2", "304", ""),
        ("steps=ab&status=204&length=2", "204", ""),
    ];
    for (query, field, expected) in cases {
        let answer = get(&server, &format!("/scripted?{query}"));
        let (head, body) = parts(&answer);
        assert!(head.contains(field), "{query}: {head}");
        assert_eq!(
            head.matches("content-length").count() + head.matches("chunked").count(),
            usize::from(!field.starts_with(char::is_numeric)),
            "{query}: {head}"
        );
        assert_eq!(body, expected, "{query}");
    }
}

#[test]
fn a_client_of_http_1_0_gets_the_bytes_and_the_end_of_the_connection() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    let whole = server.closes_after(b"GET /scripted?steps=ab+~+cd HTTP/1.0\r\n\r\n");
    assert!(whole.starts_with("HTTP/1.0 200 OK\r\n"), "{whole}");
    assert!(!whole.contains("chunked"), "{whole}");
    assert!(whole.ends_with("\r\n\r\nabcd"), "{whole}");
}

#[test]
fn an_answer_to_head_ends_with_its_head() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    for (query, length) in [
        ("steps=ab&declared=1000", Some("content-length: 1000\r\n")),
        (
            "steps=&declared=1000&length=0",
            Some("content-length: 1000\r\n"),
        ),
        ("steps=ab&length=2", Some("content-length: 2\r\n")),
        ("steps=&length=0", None),
        ("steps=ab", None),
    ] {
        let request = format!("HEAD /scripted?{query} HTTP/1.1\r\nHost: x\r\n\r\n{CLOSING}");
        let answer = server.closes_after(request.as_bytes());
        let (head, body) = parts(&answer);
        assert_eq!(body, "", "{query}");
        match length {
            Some(length) => assert!(format!("{head}\r\n").contains(length), "{head}"),
            None => assert!(!head.contains("content-length"), "{query}: {head}"),
        }
    }
}

#[test]
fn trailers_go_only_to_those_who_accept_them() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    let request = format!("GET /scripted?steps=ab+%2B HTTP/1.1\r\nHost: x\r\n\r\n{CLOSING}");
    let answer = server.closes_after(request.as_bytes());
    assert_eq!(parts(&answer).1, "2\r\nab\r\n0\r\n\r\n");
}

#[test]
fn an_answer_that_breaks_off_cannot_be_taken_for_a_whole_one() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    for (query, expected) in [
        ("steps=ab+!", "2\r\nab\r\n"),
        ("steps=!", ""),
        ("steps=ab+~+!", "2\r\nab\r\n"),
        ("steps=ab+!&length=4", "ab"),
        ("steps=ab+!&declared=4", "ab"),
        ("steps=ab+~&declared=4", "ab"),
    ] {
        let answer = get(&server, &format!("/scripted?{query}"));
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert_eq!(body, expected, "{query}");
    }
    // Here the end of the connection would be the end of the answer: it is reset.
    let mut stream = server.connect();
    stream
        .write_all(b"GET /scripted?steps=ab+~+! HTTP/1.0\r\n\r\n")
        .unwrap();
    let mut received = Vec::new();
    let error = stream.read_to_end(&mut received).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_quiet_backend_is_no_idle_client() {
    let _alone = ALONE.lock();
    let server = Server::start(short());
    // Three times the idle timeout, without a byte.
    let quiet = "~+".repeat(12);
    let answer = get(&server, &format!("/scripted?steps=ab+{quiet}cd"));
    let (head, body) = parts(&answer);
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(body, "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n");
    // Afterwards the connection is idle again, and closed as such.
    let mut stream = server.connect();
    stream
        .write_all(b"GET /scripted?steps=ab HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert!(read_all(&mut stream).ends_with("0\r\n\r\n"));
}

#[test]
fn a_client_that_takes_no_bytes_of_a_stream_is_closed() {
    let _alone = ALONE.lock();
    let server = Server::start(short());
    let mut stream = server.connect();
    let steps = "*+".repeat(500);
    let request = format!("GET /scripted?steps={steps}%26 HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    wait_until(|| server.refused("write_timeout") == 1);
    wait_until(|| open() == 0);
    assert!(read_all(&mut stream).len() < 500 * 64 * 1024);
}

#[test]
fn a_stop_lets_a_stream_end() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    let mut stream = server.connect();
    stream
        .write_all(b"GET /scripted?steps=ab+~+~+~+cd HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    read_until(&mut stream, "ab\r\n");
    let runtime = server.runtime.as_ref().unwrap();
    runtime.block_on(server.tasks.stop());
    assert_eq!(read_all(&mut stream), "2\r\ncd\r\n0\r\n\r\n");
}

#[test]
fn a_stream_ends_when_its_client_leaves() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    for leave in [close as fn(TcpStream), reset, half_close] {
        let mut stream = server.connect();
        stream
            .write_all(b"GET /scripted?steps=ab+%26 HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        read_until(&mut stream, "ab\r\n");
        assert_eq!(open(), 1);
        leave(stream);
        wait_until(|| open() == 0);
    }
}

fn close(stream: TcpStream) {
    drop(stream);
}

fn reset(stream: TcpStream) {
    let options = socket2::SockRef::from(&stream);
    options.set_linger(Some(Duration::ZERO)).unwrap();
}

/// Ends the sending side, and waits for the answer, which does not come.
fn half_close(mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream), "");
}

#[test]
fn a_handler_that_wants_to_is_dropped_when_its_client_leaves() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    let body = "x".repeat(50_000);
    let requests = [
        "GET /waits HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        format!("POST /waits HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n{body}"),
        "POST /waits HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
            .to_owned(),
        // A request behind it, of which nothing is read as a part of anything else.
        "GET /waits HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ];
    for request in requests {
        for leave in [close as fn(TcpStream), reset, half_close] {
            let mut stream = server.connect();
            stream.write_all(request.as_bytes()).unwrap();
            wait_until(|| open() == 1);
            leave(stream);
            wait_until(|| open() == 0);
        }
    }
    // One that has sent only a part of its body.
    let mut stream = server.connect();
    let half = "POST /waits/half HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab";
    stream.write_all(half.as_bytes()).unwrap();
    wait_until(|| open() == 1);
    reset(stream);
    wait_until(|| open() == 0);
}

#[test]
fn what_is_sent_while_the_client_is_watched_is_answered_in_order() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    let posts = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc".repeat(3);
    let many = "GET /late HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5);
    for (first, behind, expected) in [
        ("/late", posts.as_str(), "late"),
        ("/late", many.as_str(), "late"),
        (
            "/scripted?steps=ab+~+~+cd",
            posts.as_str(),
            "cd\r\n0\r\n\r\n",
        ),
        ("/scripted?steps=ab+~+~+cd&length=4", many.as_str(), "abcd"),
    ] {
        let mut stream = server.connect();
        let request = format!("GET {first} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        // In two pieces, of which the first one is read ahead.
        let (one, other) = behind.split_at(30);
        stream.write_all(one.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(other.as_bytes()).unwrap();
        stream.write_all(CLOSING.as_bytes()).unwrap();
        let answer = read_all(&mut stream);
        let answers = 2 + behind.matches("HTTP/1.1").count();
        assert_eq!(
            answer.matches("HTTP/1.1 200 OK").count(),
            answers,
            "{answer}"
        );
        let end = answer.find(expected).expect(&answer) + expected.len();
        assert!(answer[end..].starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("GET /after"), "{answer}");
    }
}

#[test]
fn what_was_read_ahead_goes_with_the_connection() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    let mut stream = server.connect();
    stream
        .write_all(b"GET /late/take HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(20));
    stream.write_all(b"early").unwrap();
    let answer = read_until(&mut stream, "]");
    assert!(answer.ends_with("TAKEN[early]"), "{answer}");
    drop(stream);
    let mut stream = server.connect();
    stream
        .write_all(b"GET /late/later HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(20));
    stream.write_all(CLOSING.as_bytes()).unwrap();
    let answer = read_all(&mut stream);
    assert!(answer.contains("\r\n\r\nlaterHTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("GET /after"), "{answer}");
}

#[test]
fn somebody_who_waits_may_be_forgotten_when_the_client_ends_its_side() {
    let server = Server::start(HttpLimits::default());
    let mut stream = server.connect();
    stream
        .write_all(b"GET /late/later HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream), "");
}
