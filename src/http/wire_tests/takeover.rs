//! Connections that become streams.

use super::*;

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
