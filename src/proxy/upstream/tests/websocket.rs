//! WebSockets between clients and backends.

use tokio::io::DuplexStream;

use super::*;
use crate::http::{Link, TakeOver, TakenConnection};
use crate::telemetry::now_ms;

const WEBSOCKET: [(&str, &str); 6] = [
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "chat"),
    ("cookie", "a=b"),
];

const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: Upgrade\r\n\
     sec-websocket-accept: x\r\nsec-websocket-protocol: chat\r\n\r\n";

/// Grants a WebSocket, says hello with the head, and echoes.
async fn echoing() -> Backend {
    Backend::playing(|mut socket, _, notes| async move {
        notes.read_request(&mut socket).await;
        socket
            .write_all(format!("{GRANTED}hello").as_bytes())
            .await
            .unwrap();
        let (mut from, mut to) = socket.split();
        tokio::io::copy(&mut from, &mut to).await.ok();
    })
    .await
}

fn asked(backend: &Backend) -> Asked {
    Asked {
        target: "/chat?room=1",
        headers: WEBSOCKET.to_vec(),
        ..Asked::of(&[backend])
    }
}

async fn open(proxy: &Proxy, backend: &Backend) -> (http::Response<()>, Box<dyn TakeOver>) {
    match proxy.reply(&asked(backend), whole("")).await {
        Ok(Reply::TakenOver(head, take_over)) => (head, take_over),
        other => panic!("no stream: {other:?}"),
    }
}

fn take(take_over: Box<dyn TakeOver>, link: Link, already_read: &'static str) {
    take_over.connection(TakenConnection {
        link,
        head: b"HEAD ".to_vec(),
        already_read: Bytes::from_static(already_read.as_bytes()),
        peer: ([192, 0, 2, 1], 1).into(),
    });
}

async fn carried(proxy: &Proxy, backend: &Backend, already_read: &'static str) -> DuplexStream {
    let (_, take_over) = open(proxy, backend).await;
    let (client, ours) = tokio::io::duplex(1024);
    take(take_over, Link::Carried(Box::new(ours)), already_read);
    client
}

async fn read(client: &mut (impl AsyncRead + Unpin), expected: &str) {
    let mut bytes = vec![0; expected.len()];
    let reading = client.read_exact(&mut bytes);
    tokio::time::timeout(PATIENCE, reading)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[tokio::test]
async fn a_websocket_goes_both_ways() {
    let (backend, proxy) = (echoing().await, Proxy::new());
    let (head, take_over) = open(&proxy, &backend).await;
    assert_eq!(head.status(), 101);
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", "x"),
        ("sec-websocket-protocol", "chat"),
        ("via", "1.1 sluicegate"),
    ] {
        assert_eq!(head.headers()[name], value);
    }
    let seen = backend.seen();
    assert!(
        seen[0].starts_with("GET /chat?room=1 HTTP/1.1\r\n"),
        "{seen:?}"
    );
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: chat",
        "cookie: a=b",
    ] {
        assert!(
            seen[0].contains(&format!("\r\n{line}\r\n")),
            "{line}: {seen:?}"
        );
    }
    let (mut client, ours) = tokio::io::duplex(1024);
    take(take_over, Link::Carried(Box::new(ours)), "early");
    read(&mut client, "HEAD helloearly").await;
    for _ in 0..3 {
        client.write_all(b"ping").await.unwrap();
        read(&mut client, "ping").await;
    }
    // Half of it ends, and what was sent before still comes.
    client.write_all(b"last").await.unwrap();
    client.shutdown().await.unwrap();
    read(&mut client, "last").await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_plain_socket_is_taken_over_too() {
    let (backend, proxy) = (echoing().await, Proxy::new());
    let (_, take_over) = open(&proxy, &backend).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    take(take_over, Link::Socket(ours.into_std().unwrap()), "");
    read(&mut client, "HEAD hello").await;
    client.write_all(b"ping").await.unwrap();
    read(&mut client, "ping").await;
}

/// All of them were cut in the first moment of the grace, and their clients came back at once.
#[tokio::test]
async fn a_websocket_ends_with_the_process_at_its_moment_of_the_grace() {
    for (grace, goes_on) in [(GRACE, true), (Duration::ZERO, false)] {
        let backend = echoing().await;
        let proxy = Proxy::stopping_within(grace, UpstreamConfig::default());
        let mut client = carried(&proxy, &backend, "").await;
        read(&mut client, "HEAD hello").await;
        let mut stop = std::pin::pin!(proxy.public.stop());
        if goes_on {
            assert!(futures_util::poll!(&mut stop).is_pending());
            for _ in 0..10 {
                client.write_all(b"ping").await.unwrap();
                read(&mut client, "ping").await;
            }
            assert!(futures_util::poll!(&mut stop).is_pending());
        } else {
            tokio::time::timeout(PATIENCE, stop).await.unwrap();
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
    }
}

/// They went on for as long as somebody said something, whatever had become of the session.
#[tokio::test]
async fn a_websocket_ends_with_the_token_that_it_was_opened_with() {
    let (backend, proxy) = (echoing().await, Proxy::new());
    let stay = proxy.stays.begin(&[], now_ms() + 500);
    let asked = asked(&backend);
    let opened = proxy.reply_during(Some(stay), &asked, whole(""));
    let Ok(Reply::TakenOver(_, take_over)) = opened.await else {
        panic!("no stream");
    };
    let (mut client, ours) = tokio::io::duplex(1024);
    take(take_over, Link::Carried(Box::new(ours)), "");
    read(&mut client, "HEAD hello").await;
    let talking =
        async { while client.write_all(b"x").await.is_ok() && client.read_u8().await.is_ok() {} };
    tokio::time::timeout(PATIENCE, talking).await.unwrap();
    assert_eq!(proxy.metrics.proxy.upstream_tunnels.get(), 0);
}

/// The limits of connections did not know them.
#[tokio::test]
async fn websockets_are_counted_among_the_connections_of_a_client() {
    let (backend, proxy) = (echoing().await, Proxy::new());
    let tunnels = || proxy.metrics.proxy.upstream_tunnels.get();
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(carried(&proxy, &backend, "").await);
    }
    assert_eq!(tunnels(), 3);
    let refused = proxy.ask(&asked(&backend)).await;
    assert_eq!(
        (refused.status, refused.code),
        (429, "too_many_connections")
    );
    assert_eq!(backend.seen().len(), 3);
    // Requests that are none are not counted.
    let plain = Backend::well().await;
    assert_eq!(proxy.ask(&Asked::of(&[&plain])).await.status, 200);
    open.pop();
    let gone = async {
        while tunnels() == 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    carried(&proxy, &backend, "").await;
}

#[tokio::test]
async fn a_websocket_on_which_nobody_says_anything_is_closed() {
    let backend = echoing().await;
    let proxy = Proxy::with(UpstreamConfig {
        proxy_websocket_idle_timeout: Duration::from_secs(1),
        ..UpstreamConfig::default()
    });
    let mut client = carried(&proxy, &backend, "").await;
    read(&mut client, "HEAD hello").await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.write_all(b"x").await.unwrap();
        read(&mut client, "x").await;
    }
    let end = tokio::time::timeout(PATIENCE, client.read(&mut [0])).await;
    assert_eq!(end.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_client_that_vanishes_ends_the_backends_side() {
    let (told, mut ended) = tokio::sync::mpsc::channel(1);
    let backend = Backend::playing(move |mut socket, _, notes| {
        let told = told.clone();
        async move {
            notes.read_request(&mut socket).await;
            socket.write_all(GRANTED.as_bytes()).await.unwrap();
            assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
            told.send(()).await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::new();
    drop(carried(&proxy, &backend, "").await);
    tokio::time::timeout(PATIENCE, ended.recv()).await.unwrap();
    // One that is gone before it was answered.
    drop(open(&proxy, &backend).await);
    tokio::time::timeout(PATIENCE, ended.recv()).await.unwrap();
}

#[tokio::test]
async fn a_refusal_of_a_websocket_is_an_answer() {
    let backend = Backend::answering(
        "HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 4\r\n\r\ntext",
    )
    .await;
    let answer = Proxy::new().ask(&asked(&backend)).await;
    assert_eq!((answer.status, answer.text()), (426, "text"));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
}

#[tokio::test]
async fn a_switch_to_something_else_is_refused() {
    for hostile in [
        "upgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        "upgrade: websocket\r\n\r\n",
        "connection: upgrade\r\n\r\n",
    ] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{hostile}");
        let backend = Backend::answering(answer).await;
        let answer = Proxy::new().ask(&asked(&backend)).await;
        assert_eq!((answer.status, answer.code), (502, "bad_upstream_answer"));
    }
}

#[tokio::test]
async fn a_backend_of_http_2_alone_has_no_websockets() {
    let backend = Backend::well().await;
    let asked = Asked {
        protocol: Protocol::H2c,
        ..asked(&backend)
    };
    assert_eq!(Proxy::new().ask(&asked).await.status, 501);
    assert!(backend.seen().is_empty());
}
