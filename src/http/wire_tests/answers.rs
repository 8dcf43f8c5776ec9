//! What is answered, and how it looks.

use super::*;

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
