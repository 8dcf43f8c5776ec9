//! Bodies of requests that are read as they come.

use super::scripts::ALONE;
use super::streamed::CLOSING;
use super::*;

fn told(server: &Server, rest: &str) -> String {
    let answer = server.exchange(format!("POST /told HTTP/1.1\r\nHost: x\r\n{rest}").as_bytes());
    let (_, body) = answer.rsplit_once("\r\n\r\n").expect(&answer);
    body.to_owned()
}

#[test]
fn bodies_come_with_their_ends_and_their_trailers() {
    let server = Server::start(HttpLimits::default());
    for (rest, expected) in [
        ("\r\n", "false None 0 whole 0"),
        ("Content-Length: 0\r\n\r\n", "false Some(0) 0 whole 0"),
        ("Content-Length: 3\r\n\r\nabc", "true Some(3) 3 whole 0"),
        (
            "Content-Length: 3\r\nContent-Encoding: gzip\r\n\r\nabc",
            "true Some(3) 3 whole 0",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n",
            "true None 3 whole 0",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: v\r\n\r\n",
            "true None 1 whole {\"t\": \"v\"}0",
        ),
        (
            "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
            "true Some(3) 3 whole 0",
        ),
    ] {
        assert_eq!(told(&server, rest), expected, "{rest}");
    }
}

#[test]
fn a_body_that_ends_early_or_is_malformed_says_so() {
    let server = Server::start(HttpLimits::default());
    for (rest, expected) in [
        ("Content-Length: 10\r\n\r\nabc", "3 UnexpectedEof"),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
            "3 UnexpectedEof",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "3 UnexpectedEof",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
            "0 InvalidData",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
            "3 InvalidData",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n0\r\n\r\n",
            "0 InvalidData",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
            "0 InvalidData",
        ),
    ] {
        let said = told(&server, rest);
        assert!(said.contains(expected), "{rest}: {said}");
    }
}

#[test]
fn a_client_that_stops_in_the_middle_of_its_body_is_not_waited_for() {
    let server = Server::start(short());
    let request = "POST /told HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc";
    let answer = server.closes_after(request.as_bytes());
    assert!(answer.ends_with("3 TimedOut 0"), "{answer}");
    // As long as something comes, it may take as long as it likes.
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).unwrap();
    for byte in [b"d", b"e", b"f", b"g", b"h", b"i"] {
        std::thread::sleep(Duration::from_millis(60));
        stream.write_all(byte).unwrap();
    }
    read_until(&mut stream, "9 whole 0");
}

#[test]
fn a_client_that_asks_whether_to_go_on_is_told_when_the_body_is_wanted() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    let head = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut stream = server.connect();
    stream.write_all(head("/told").as_bytes()).unwrap();
    assert_eq!(
        read_until(&mut stream, "\r\n\r\n"),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"abc").unwrap();
    read_until(&mut stream, "3 whole 0");
    // Nobody wants this one.
    let answer = server.exchange(head("/scripted?steps=no").as_bytes());
    assert!(!answer.contains("100 Continue"), "{answer}");
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[test]
fn a_large_body_goes_through_in_both_directions_at_once() {
    let server = Server::start(HttpLimits::default());
    let size = 16 << 20;
    let mut stream = server.connect();
    let mut reading = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut received = Vec::new();
        reading.read_to_end(&mut received).unwrap();
        received
    });
    let head = format!("POST /relayed HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let piece: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    for _ in 0..16 {
        stream.write_all(&piece).unwrap();
    }
    let received = reader.join().unwrap();
    let body = &received[received.len() - size..];
    assert!(body.chunks(1 << 20).all(|chunk| chunk == piece));
}

/// Nothing behind the body that nobody read, or only in part, is answered unless it really is a request.
#[test]
fn the_rest_of_a_body_is_never_a_request() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    let smuggled = String::from_utf8_lossy(GET).into_owned();
    for path in ["/scripted?steps=no", "/scripted?steps=~+~+no&length=2"] {
        for padding in [0, 100, 100_000, 1_000_000] {
            let body = format!("{}{smuggled}", "x".repeat(padding));
            let length = body.len();
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            let answer = server.closes_after(format!("{head}{body}{CLOSING}").as_bytes());
            assert_eq!(status(&answer), "200", "{answer}");
            assert!(
                !answer.contains("GET /a\r\n") && !answer.ends_with("GET /a"),
                "{answer}"
            );
            let chunked = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {length:x}\r\n{body}\r\n0\r\n\r\n{CLOSING}"
            );
            let answer = server.closes_after(chunked.as_bytes());
            assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
        }
    }
}

/// A client that sends all before it reads anything gets the answer that came long before.
#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let _alone = ALONE.lock();
    let server = Server::start(HttpLimits::default());
    for size in [10, 100_000, 3_000_000] {
        let mut stream = server.connect();
        let head = format!(
            "POST /scripted?steps=no HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(&vec![b'x'; size]).unwrap();
        let answer = read_all(&mut stream);
        assert_eq!(status(&answer), "200", "{answer}");
        assert!(answer.ends_with("2\r\nno\r\n0\r\n\r\n"), "{answer}");
    }
}

/// What comes of a body after its answer is no head that is too slow.
#[test]
fn a_body_that_goes_on_after_its_answer_is_not_answered_again() {
    let server = Server::start(short());
    let mut stream = server.connect();
    let head = "POST /kept HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    read_until(&mut stream, "kept");
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(20));
        if stream.write_all(b"x").is_err() {
            break;
        }
    }
    assert_eq!(read_all(&mut stream), "");
    assert_eq!(server.refused("header_timeout"), 0);
}
