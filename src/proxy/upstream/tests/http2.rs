//! Backends that speak HTTP/2 without TLS.

use h2::Reason;
use h2::server::{self, SendResponse};

use super::*;

/// Plays `part` for each request of each connection.
async fn playing<F, Fut>(part: F) -> Backend
where
    F: Fn(http::Request<h2::RecvStream>, SendResponse<Bytes>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Backend::playing(move |socket, _, notes| serve(socket, notes, part.clone())).await
}

pub(super) async fn serve<S, F, Fut>(socket: S, notes: Notes, part: F)
where
    S: AsyncRead + tokio::io::AsyncWrite + Unpin,
    F: Fn(http::Request<h2::RecvStream>, SendResponse<Bytes>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut connection = server::handshake(socket).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (uri, headers) = (request.uri(), request.headers());
        notes.0.lock().push(format!("{uri} {headers:?}"));
        tokio::task::spawn(part(request, respond));
    }
}

pub(super) async fn echo(request: http::Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut body = request.into_body();
    let mut stream = respond
        .send_response(http::Response::new(()), false)
        .unwrap();
    while let Some(piece) = body.data().await {
        stream.send_data(piece.unwrap(), false).unwrap();
    }
    match body.trailers().await.unwrap() {
        Some(trailers) => stream.send_trailers(trailers).unwrap(),
        None => stream.send_data(Bytes::new(), true).unwrap(),
    }
}

fn asked(backend: &Backend) -> Asked {
    Asked {
        protocol: Protocol::H2c,
        ..Asked::with(Method::POST, &[backend])
    }
}

#[tokio::test]
async fn requests_share_a_connection() {
    let backend = playing(echo).await;
    let proxy = Proxy::new();
    let asked = asked(&backend);
    let asking = (0..50).map(|_| proxy.ask_with(&asked, whole("body")));
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!((answer.status, answer.text()), (200, "body"));
        assert_eq!(answer.header("via"), Some("2 sluicegate"));
    }
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn streams_that_stay_open_keep_nobody_else_out() {
    let backend = playing(|_, mut respond: SendResponse<Bytes>| async move {
        let stream = respond.send_response(http::Response::new(()), false);
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let proxy = Proxy::new();
    let asked = asked(&backend);
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(proxy.reply(&asked, whole("")).await.unwrap());
    }
    assert!(
        (2..=3).contains(&proxy.connections()),
        "{}",
        proxy.connections()
    );
}

#[tokio::test]
async fn the_authority_is_the_address_or_the_configured_host() {
    let backend = playing(echo).await;
    let proxy = Proxy::new();
    for (added, expected) in [
        (vec![], backend.address.to_string()),
        (vec![("host", "other.example")], "other.example".to_owned()),
    ] {
        let asked = Asked {
            added,
            target: "/a?b",
            headers: vec![("te", "trailers"), ("connection", "x"), ("x", "y")],
            ..asked(&backend)
        };
        assert_eq!(proxy.ask(&asked).await.status, 200);
        let seen = backend.seen().pop().unwrap();
        assert!(
            seen.starts_with(&format!("http://{expected}/a?b ")),
            "{seen}"
        );
        assert!(seen.contains("\"te\": \"trailers\""), "{seen}");
        assert!(
            !seen.contains("\"host\"") && !seen.contains("\"x\""),
            "{seen}"
        );
    }
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let backend = playing(echo).await;
    let (pieces, body) = piecewise();
    let feeding = tokio::task::spawn(async move {
        pieces.send(data("x")).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        pieces.send(Ok(Frame::trailers(trailers))).await.unwrap();
    });
    let answer = Proxy::new().ask_with(&asked(&backend), body).await;
    feeding.await.unwrap();
    let (text, trailers) = answer.body.unwrap();
    assert_eq!(text, "x");
    assert_eq!(trailers.unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_stream_that_is_reset_is_seen_to_break_off() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let backend = playing(move |_, mut respond: SendResponse<Bytes>| async move {
            let stream = respond.send_response(http::Response::new(()), false);
            let mut stream = stream.unwrap();
            stream
                .send_data(Bytes::from_static(b"half"), false)
                .unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.send_reset(reason);
        })
        .await;
        let answer = Proxy::new().ask(&asked(&backend)).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.is_err(), "{reason:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_told_to_go_is_replaced() {
    let backend = Backend::playing(|socket, _, _| async move {
        let mut connection = server::handshake(socket).await.unwrap();
        let accepted = connection.accept().await;
        let (request, respond) = accepted.unwrap().unwrap();
        connection.graceful_shutdown();
        tokio::task::spawn(echo(request, respond));
        while connection.accept().await.is_some() {}
    })
    .await;
    let proxy = Proxy::new();
    for _ in 0..5 {
        let answer = proxy.ask_with(&asked(&backend), whole("body")).await;
        assert_eq!(answer.text(), "body");
    }
    assert!(proxy.connections() >= 2);
}

#[tokio::test]
async fn a_server_of_http_1_1_is_no_backend_of_http_2() {
    let backend = Backend::answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let answer = Proxy::new().ask(&asked(&backend)).await;
    assert_eq!(answer.status, 502);
}

/// A stream that was reset was taken for a kept connection that had just ended: it was sent three times, whatever the
/// budget, and the address was never left alone.
#[tokio::test]
async fn a_backend_that_resets_streams_is_broken_and_gets_few_retries() {
    let bad = playing(|_, mut respond: SendResponse<Bytes>| async move {
        respond.send_reset(Reason::INTERNAL_ERROR);
    })
    .await;
    let well = playing(echo).await;
    let proxy = Proxy::new();
    let get = Asked {
        protocol: Protocol::H2c,
        ..Asked::of(&[&bad])
    };
    for _ in 0..50 {
        let answer = proxy.ask(&get).await;
        assert_eq!((answer.status, answer.code), (502, "upstream_broken"));
    }
    assert_eq!(bad.seen().len(), 60);
    let proxy = Proxy::new();
    let both = Asked {
        addresses: vec![bad.address.clone(), well.address.clone()],
        ..asked(&bad)
    };
    let mut refused = 0;
    for _ in 0..20 {
        refused += usize::from(proxy.ask_with(&both, whole("body")).await.status == 502);
    }
    assert_eq!((refused, proxy.metrics.proxy.upstream_paused.get()), (3, 1));
}

/// A burst was sent before the backend had said how many requests it takes, and it refused the others.
#[tokio::test]
async fn a_burst_on_a_new_connection_keeps_to_what_the_backend_takes() {
    let backend = Backend::playing(|socket, _, _| async move {
        let mut builder = server::Builder::new();
        builder.max_concurrent_streams(2);
        let mut connection = builder.handshake::<_, Bytes>(socket).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::task::spawn(echo(request, respond));
        }
    })
    .await;
    let proxy = Proxy::new();
    let asked = asked(&backend);
    let asking = (0..40).map(|_| proxy.ask_with(&asked, whole("body")));
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!((answer.status, answer.code), (200, ""));
    }
    assert_eq!(proxy.tries("answered"), 40);
}

#[tokio::test]
async fn what_a_backend_says_it_did_not_begin_with_is_sent_again() {
    // It refuses the first request.
    let first = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let refusing = playing(move |request, mut respond: SendResponse<Bytes>| {
        let is_first = first.swap(false, std::sync::atomic::Ordering::Relaxed);
        async move {
            if is_first {
                respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                echo(request, respond).await;
            }
        }
    })
    .await;
    let proxy = Proxy::new();
    let answer = proxy.ask(&asked(&refusing)).await;
    assert_eq!((answer.status, refusing.seen().len()), (200, 2));
    assert_eq!((proxy.tries("refused"), proxy.connections()), (1, 1));
    // It goes away, and takes no request on the first connection.
    let leaving = Backend::playing(|mut socket, number, notes| async move {
        if number > 0 {
            return serve(socket, notes, echo).await;
        }
        // SETTINGS; its acknowledgement follows when the client's are there.
        socket
            .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        let mut preface = [0; 24];
        socket.read_exact(&mut preface).await.unwrap();
        loop {
            let mut head = [0; 9];
            socket.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            socket.read_exact(&mut payload).await.unwrap();
            // HEADERS: the answer is a GOAWAY, and 0 is the last request that is taken.
            if head[3] == 1 {
                let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                socket.write_all(&goaway).await.unwrap();
                break;
            }
        }
        while socket.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let proxy = Proxy::new();
    assert_eq!(proxy.ask(&asked(&leaving)).await.status, 200);
    assert_eq!((proxy.tries("not_sent"), proxy.connections()), (1, 2));
}

#[tokio::test]
async fn a_backend_that_does_not_begin_http_2_costs_the_connect_timeout() {
    let backend = Backend::playing(|mut socket, _, _| async move {
        while socket.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let proxy = Proxy::with(UpstreamConfig {
        proxy_connect_timeout: Duration::from_millis(100),
        ..UpstreamConfig::default()
    });
    let answer = proxy.ask(&asked(&backend)).await;
    assert_eq!((answer.status, answer.code), (502, "upstream_unreachable"));
}
