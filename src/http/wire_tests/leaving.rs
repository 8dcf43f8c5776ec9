//! Clients that leave while their request is handled, and those that send more meanwhile.

use super::scripts::{ALONE, open};
use super::streamed::CLOSING;
use super::*;

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
    drop(stream);
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
        assert!(
            answer.split_at(end).1.starts_with("HTTP/1.1 200 OK"),
            "{answer}"
        );
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
