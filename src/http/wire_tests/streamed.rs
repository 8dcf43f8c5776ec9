//! Answers that come bit by bit.

use std::io;

use super::scripts::{ALONE, open};
use super::*;

fn get(server: &Server, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n{CLOSING}");
    server.closes_after(request.as_bytes())
}

/// Asks for an answer behind the first one, so that it is seen whether the connection goes on.
pub(super) const CLOSING: &str = "GET /after HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

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
