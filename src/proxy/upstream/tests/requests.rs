//! What a backend is sent.

use super::*;

/// Returns the lines of a head, sorted, without the trace.
fn lines(request: &str) -> Vec<&str> {
    let head = request.split("\r\n\r\n").next().unwrap();
    let mut lines: Vec<_> = head
        .split("\r\n")
        .filter(|line| !line.starts_with("traceparent: 00-") && !line.contains("forwarded"))
        .collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn the_backend_gets_its_own_host_and_nothing_about_the_clients_connection() {
    let backend = Backend::well().await;
    let asked = Asked {
        base_path: "/base",
        target: "//evil.example/%2Fa?x=1&x=2",
        headers: vec![
            ("host", "evil.example"),
            ("connection", "close, x-secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=9"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("accept", "a"),
            ("accept", "b"),
            ("via", "1.0 before"),
            ("traceparent", "spoofed"),
        ],
        added: vec![("x-added", "1")],
        ..Asked::of(&[&backend])
    };
    assert_eq!(Proxy::new().ask(&asked).await.text(), "ok");
    let host = format!("host: {}", backend.address);
    let mut expected = vec![
        "GET /base//evil.example/%2Fa?x=1&x=2 HTTP/1.1",
        "accept: a",
        "accept: b",
        "via: 1.0 before",
        "via: 1.1 sluicegate",
        "x-added: 1",
        &host,
    ];
    expected.sort_unstable();
    assert_eq!(lines(&backend.seen()[0]), expected);
    assert!(backend.seen()[0].contains("traceparent: 00-"));
}

#[tokio::test]
async fn a_configured_host_replaces_that_of_the_address() {
    let backend = Backend::well().await;
    let asked = Asked {
        added: vec![("host", "my-different-host.example")],
        ..Asked::of(&[&backend])
    };
    Proxy::new().ask(&asked).await;
    let seen = backend.seen();
    assert!(seen[0].contains("\r\nhost: my-different-host.example\r\n"));
    assert_eq!(seen[0].matches("host: ").count(), 1);
}

#[tokio::test]
async fn bodies_are_framed_by_what_they_are_and_not_by_what_the_head_says() {
    for (method, headers, body, expected) in [
        (Method::GET, vec![], "", None),
        (
            Method::DELETE,
            vec![("content-length", "0")],
            "",
            Some("content-length: 0"),
        ),
        (Method::POST, vec![], "", Some("content-length: 0")),
        (
            Method::POST,
            vec![("content-length", "99")],
            "abc",
            Some("content-length: 3"),
        ),
        (Method::GET, vec![], "abc", Some("content-length: 3")),
    ] {
        let backend = Backend::well().await;
        let asked = Asked {
            headers,
            ..Asked::with(method.clone(), &[&backend])
        };
        let answer = Proxy::new().ask_with(&asked, whole(body)).await;
        assert_eq!(answer.status, 200, "{method}");
        let seen = backend.seen();
        let (head, sent) = seen[0].split_once("\r\n\r\n").unwrap();
        let framing = head.split("\r\n").find(|line| line.contains("-length"));
        assert_eq!((framing, sent), (expected, body), "{method}");
        assert!(!head.contains("transfer-encoding"));
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_chunked_whatever_the_method() {
    for method in [Method::GET, Method::POST] {
        let backend = Backend::well().await;
        let (pieces, body) = piecewise();
        let feeding = tokio::task::spawn(async move {
            for text in ["ab", "c"] {
                pieces.send(data(text)).await.unwrap();
            }
        });
        let answer = Proxy::new()
            .ask_with(&Asked::with(method, &[&backend]), body)
            .await;
        assert_eq!(answer.status, 200);
        feeding.await.unwrap();
        let seen = backend.seen();
        assert!(
            seen[0].contains("transfer-encoding: chunked\r\n"),
            "{seen:?}"
        );
        assert!(
            seen[0].ends_with("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn trailers_go_on_over_http_1_1() {
    let backend = Backend::playing(|mut socket, _, notes| async move {
        read_until(&mut socket, b"\r\n\r\n").await.unwrap();
        let body = read_until(&mut socket, b"\r\n\r\n").await.unwrap();
        notes.0.lock().push(body);
        let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n1\r\na\r\n0\r\nx-sum: 2\r\n\r\n";
        socket.write_all(answer).await.unwrap();
    })
    .await;
    let (pieces, body) = piecewise();
    let feeding = tokio::task::spawn(async move {
        pieces.send(data("ab")).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        // What the route adds would be another one's word in the trailers.
        trailers.insert("x-internal", HeaderValue::from_static("evil"));
        pieces.send(Ok(Frame::trailers(trailers))).await.unwrap();
    });
    let asked = Asked {
        headers: vec![("trailer", "x-sum")],
        added: vec![("x-internal", "yes")],
        ..Asked::with(Method::POST, &[&backend])
    };
    let answer = Proxy::new().ask_with(&asked, body).await;
    feeding.await.unwrap();
    assert_eq!(backend.seen(), ["2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n"]);
    let (text, trailers) = answer.body.unwrap();
    assert_eq!(
        (text.as_str(), &trailers.unwrap()["x-sum"]),
        ("a", &"2".parse::<HeaderValue>().unwrap())
    );
    assert_eq!(answer.headers["trailer"], "x-sum");
}

#[tokio::test]
async fn a_request_that_goes_round_in_circles_is_stopped() {
    let backend = Backend::well().await;
    let asked = Asked {
        headers: vec![("via", "1.1 sluicegate"); 8],
        ..Asked::of(&[&backend])
    };
    let answer = Proxy::new().ask(&asked).await;
    assert_eq!((answer.status, answer.code), (508, "loop"));
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn a_target_that_could_lead_elsewhere_reaches_nobody() {
    let backend = Backend::well().await;
    let proxy = Proxy::new();
    for target in ["/../a", "/..%2fa", "*", "http://evil.example/", "/a#b"] {
        let asked = Asked {
            target,
            ..Asked::of(&[&backend])
        };
        assert_eq!(proxy.ask(&asked).await.status, 400, "{target}");
    }
    assert!(backend.seen().is_empty());
}
