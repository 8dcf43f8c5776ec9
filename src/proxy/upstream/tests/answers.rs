//! What a client gets of an answer.

use super::*;

#[tokio::test]
async fn an_answer_goes_on_as_it_came_but_for_what_is_about_the_connection() {
    let backend = Backend::answering(
        "HTTP/1.1 404 Nothing Here\r\ncontent-length: 4\r\nset-cookie: a=1\r\nconnection: close, x-hop\r\n\
         x-hop: 1\r\nset-cookie: b=2\r\ndate: yesterday\r\nalt-svc: h3=\":443\"\r\nserver: x\r\n\r\nbody",
    )
    .await;
    let answer = Proxy::new().ask(&Asked::of(&[&backend])).await;
    assert_eq!((answer.status, answer.text()), (404, "body"));
    let mut found: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "content-length: 4",
            "date: yesterday",
            "server: x",
            "set-cookie: a=1",
            "set-cookie: b=2",
            "via: 1.1 sluicegate",
        ]
    );
}

#[tokio::test]
async fn answers_without_a_body_say_how_long_it_would_be() {
    for (method, answer, status, length) in [
        (
            Method::HEAD,
            "200 OK\r\ncontent-length: 1000",
            200,
            Some("1000"),
        ),
        (
            Method::HEAD,
            "200 OK\r\ntransfer-encoding: chunked",
            200,
            None,
        ),
        (
            Method::GET,
            "304 Not Modified\r\ncontent-length: 1000",
            304,
            Some("1000"),
        ),
        (
            Method::GET,
            "204 No Content\r\ncontent-length: 0",
            204,
            None,
        ),
    ] {
        let backend = Backend::answering(format!("HTTP/1.1 {answer}\r\n\r\n")).await;
        let answer = Proxy::new().ask(&Asked::with(method, &[&backend])).await;
        assert_eq!((answer.status, answer.text()), (status, ""));
        assert_eq!(answer.header("content-length"), length);
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_comes_whole() {
    let backend = Backend::answering("HTTP/1.0 200 OK\r\n\r\nbody").await;
    let answer = Proxy::new().ask(&Asked::of(&[&backend])).await;
    assert_eq!((answer.status, answer.text()), (200, "body"));
    assert_eq!(answer.header("via"), Some("1.0 sluicegate"));
}

#[tokio::test]
async fn interim_answers_are_not_the_answer() {
    let backend = Backend::answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let answer = Proxy::new().ask(&Asked::of(&[&backend])).await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_eq!(answer.header("link"), None);
}

#[tokio::test]
async fn answers_that_could_be_read_in_two_ways_are_refused() {
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(256 * 1024));
    let crowded = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    for hostile in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "junk junk junk junk\r\n\r\n",
        "<html>",
        &endless,
        &crowded,
    ] {
        let backend = Backend::answering(hostile.to_owned()).await;
        let answer = Proxy::new().ask(&Asked::of(&[&backend])).await;
        let shown = hostile.get(..100).unwrap_or(hostile);
        assert_eq!(answer.status, 502, "{shown:?}");
        assert_eq!(answer.code, "bad_upstream_answer", "{shown:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    for broken in [
        "content-length: 9\r\n\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n9\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "transfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let backend = Backend::answering(format!("HTTP/1.1 200 OK\r\n{broken}")).await;
        let answer = Proxy::new().ask(&Asked::of(&[&backend])).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.is_err(), "{broken:?}");
    }
}

#[tokio::test]
async fn what_follows_an_answer_on_its_connection_is_nobodys_answer() {
    let backend = Backend::playing(|mut socket, number, notes| async move {
        while notes.read_request(&mut socket).await {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
            );
            socket.write_all(answer.as_bytes()).await.ok();
        }
    })
    .await;
    let proxy = Proxy::new();
    for number in 0..5 {
        let answer = proxy.ask(&Asked::of(&[&backend])).await;
        assert_eq!(answer.text(), number.to_string());
    }
}
