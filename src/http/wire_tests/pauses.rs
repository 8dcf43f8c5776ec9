//! Responses that somebody waits for, without hyper.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// How many responses that never come are waited for.
static WAITING: AtomicUsize = AtomicUsize::new(0);

struct Waits;

impl Drop for Waits {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) fn later() -> Reply {
    Reply::Later(Box::pin(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ok(Bytes::from_static(b"later"))
    }))
}

pub(super) fn later_with(body: Bytes) -> Reply {
    Reply::Later(Box::pin(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ok(body)
    }))
}

pub(super) fn never() -> Reply {
    WAITING.fetch_add(1, Ordering::SeqCst);
    let waits = Waits;
    Reply::Later(Box::pin(async move {
        let _waits = waits;
        std::future::pending().await
    }))
}

#[test]
fn the_connection_goes_on_after_a_response_that_was_waited_for() {
    let server = Server::start(HttpLimits::default());
    let mut stream = server.connect();
    for _ in 0..3 {
        stream
            .write_all(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let answer = read_until(&mut stream, "later");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-length: 5\r\n"), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
        stream.write_all(GET).unwrap();
        read_until(&mut stream, "GET /a");
    }
}

#[test]
fn what_is_sent_meanwhile_is_answered_afterwards_in_order() {
    let server = Server::start(HttpLimits::default());
    let more = "GET /later HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
    let last =
        "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    let mut stream = server.connect();
    stream
        .write_all(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(20));
    stream
        .write_all(format!("{more}{last}").as_bytes())
        .unwrap();
    let answer = read_all(&mut stream);
    assert_eq!(answer.matches("\r\n\r\nlater").count(), 21, "{answer}");
    assert!(answer.ends_with("abc"), "{answer}");
}

#[test]
fn it_has_the_form_that_its_own_request_asks_for() {
    let server = Server::start(HttpLimits::default());
    let old = server.closes_after(b"GET /later HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n"), "{old}");
    let last = server.closes_after(b"GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(last.contains("connection: close\r\n"), "{last}");
    let head = server.exchange(b"HEAD /later HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.contains("content-length: 5\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let half_closed = server.exchange(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(half_closed.ends_with("later"), "{half_closed}");
    let with_body = b"POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let with_body = server.exchange(with_body);
    assert!(with_body.ends_with("later"), "{with_body}");
}

#[test]
fn nobody_waits_for_a_client_that_is_gone() {
    let server = Server::start(HttpLimits::default());
    let mut stream = server.connect();
    stream
        .write_all(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    wait_until(|| WAITING.load(Ordering::SeqCst) == 1);
    // Closed in an orderly way, the client might still read; a reset says that it is gone.
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
    wait_until(|| WAITING.load(Ordering::SeqCst) == 0);
}

/// What follows a body is a request of its own, whoever has read the body: never a part of it, and never anything in it.
#[test]
fn a_body_that_was_read_is_not_read_again_after_the_wait() {
    let server = Server::start(HttpLimits::default());
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    for path in ["/read/later", "/taken/later", "/later"] {
        for body in ["", "a", hidden] {
            let length = body.len();
            let asked = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            let last = "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            for parts in [
                vec![format!("{asked}{asked}{last}")],
                vec![asked.clone(), asked.clone(), last.to_owned()],
                asked
                    .repeat(2)
                    .split_inclusive("x")
                    .map(str::to_owned)
                    .chain([last.to_owned()])
                    .collect(),
            ] {
                let mut stream = server.connect();
                for part in parts {
                    stream.write_all(part.as_bytes()).unwrap();
                    std::thread::sleep(Duration::from_millis(5));
                }
                let answer = read_all(&mut stream);
                if path == "/later" {
                    // Nobody has read the body: how many more requests there are depends on how much of it has come.
                    assert!(!answer.contains("GET /hidden"), "{body:?}: {answer}");
                    continue;
                }
                let answers: Vec<&str> = answer.split("HTTP/1.1 200 OK\r\n").collect();
                assert_eq!(answers.len(), 4, "{path} {body:?}: {answer}");
                for answer in &answers[1..3] {
                    let (_, got) = answer.split_once("\r\n\r\n").unwrap();
                    assert_eq!(got, body, "{path} {body:?}: {answer}");
                }
                assert!(answer.ends_with("GET /last"), "{path} {body:?}: {answer}");
            }
        }
    }
}
