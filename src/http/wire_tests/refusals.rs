//! What is refused, and that nothing after it is answered.

use super::*;

/// The lines after the request line of a POST, each of which deserves a 400.
const AMBIGUOUS: [&str; 15] = [
    "",
    "Host: x\r\nHost: x\r\n",
    "Host: x\r\nHost: y\r\n",
    "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Host: x\r\nTransfer-Encoding: chunked, chunked\r\n",
    "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Host: x\r\nTransfer-Encoding: gzip, chunked\r\n",
    "Host: x\r\nTransfer-Encoding: xchunked\r\n",
    "Host: x\r\nTransfer-Encoding: chunked, identity\r\n",
    "Host: x\r\nTransfer-Encoding : chunked\r\n",
    "Host: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
    "Host: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
    "Host: x\r\nContent-Length: +1\r\n",
    "Host: x\r\nContent-Length: 1, 1\r\n",
];

const OTHERS_REFUSED: [(&str, &str); 6] = [
    (
        "POST /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n",
        "400",
    ),
    ("GET /a HTTP/1.1\r\nHost: x\r\n folded: y\r\n", "400"),
    ("GET /a HTTP/1.1\r\nHost: x\r\nbad\rname: y\r\n", "400"),
    ("TRACE /a HTTP/1.1\r\nHost: x\r\n", "501"),
    ("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n", "501"),
    ("OPTIONS * HTTP/1.1\r\nHost: x\r\nExpect: x\r\n", "417"),
];

#[test]
fn refuses_what_could_be_understood_in_two_ways() {
    let server = Server::start(HttpLimits::default());
    let ambiguous = AMBIGUOUS.map(|lines| {
        (
            format!("POST /echo HTTP/1.1\r\n{lines}\r\n0\r\n\r\n"),
            "400",
        )
    });
    let others = OTHERS_REFUSED.map(|(head, status)| (format!("{head}\r\n"), status));
    for (request, expected) in ambiguous.into_iter().chain(others) {
        // A request that follows must never be answered.
        let answer = server.closes_after([request.as_bytes(), GET].concat().as_slice());
        assert_eq!(status(&answer), expected, "{request:?}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.").count(),
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
    // Counted when the connection ends, which the client may see first.
    wait_until(|| server.refused("malformed") == 5);
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
