//! What happens when a backend cannot be reached, breaks, or is silent.

use super::*;

/// Ends each connection once it has read a request.
async fn breaking() -> Backend {
    Backend::answering("").await
}

fn impatient() -> UpstreamConfig {
    UpstreamConfig {
        proxy_recv_timeout: Duration::from_secs(1),
        proxy_connect_timeout: Duration::from_secs(5),
        ..UpstreamConfig::default()
    }
}

#[tokio::test]
async fn a_backend_that_is_away_is_a_502() {
    let proxy = Proxy::new();
    let answer = proxy.ask(&Asked::of(&[&Backend::gone().await])).await;
    assert_eq!((answer.status, answer.code), (502, "upstream_unreachable"));
    assert_eq!(proxy.tries("unreachable"), 1);
    let nowhere = Asked {
        addresses: vec!["no-such-host.invalid:80".parse().unwrap()],
        ..Asked::of(&[])
    };
    assert_eq!(proxy.ask(&nowhere).await.code, "upstream_unreachable");
}

#[tokio::test]
async fn any_request_goes_to_another_address_when_one_takes_no_connection() {
    let (gone, well) = (Backend::gone().await, Backend::well().await);
    let proxy = Proxy::new();
    for _ in 0..8 {
        let asked = Asked::with(Method::POST, &[&gone, &well]);
        let (pieces, body) = piecewise();
        let feeding = tokio::task::spawn(async move { pieces.send(data("once")).await });
        assert_eq!(proxy.ask_with(&asked, body).await.status, 200);
        feeding.await.unwrap().unwrap();
    }
    assert_eq!(well.seen().len(), 8);
    assert!(well.seen().iter().all(|request| request.contains("once")));
    // After three failures it is left alone.
    assert_eq!(proxy.tries("unreachable"), 3);
}

#[tokio::test]
async fn an_idempotent_request_is_sent_again_when_the_connection_breaks() {
    let (bad, well) = (breaking().await, Backend::well().await);
    let proxy = Proxy::new();
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let asked = Asked::with(method, &[&bad, &well]);
        for _ in 0..2 {
            assert_eq!(proxy.ask(&asked).await.status, 200);
        }
    }
    assert_eq!(well.seen().len(), 8);
    assert!(!bad.seen().is_empty());
}

#[tokio::test]
async fn a_request_that_may_have_been_acted_on_is_not_sent_again() {
    for (method, body) in [
        (Method::POST, ""),
        (Method::PATCH, ""),
        (Method::PUT, "body"),
    ] {
        let bad = breaking().await;
        let proxy = Proxy::new();
        let asked = Asked::with(method, &[&bad, &bad]);
        let answer = proxy.ask_with(&asked, whole(body)).await;
        assert_eq!((answer.status, answer.code), (502, "upstream_broken"));
        assert_eq!(bad.seen().len(), 1);
    }
}

#[tokio::test]
async fn three_tries_are_enough() {
    let bad = breaking().await;
    let proxy = Proxy::new();
    assert_eq!(proxy.ask(&Asked::of(&[&bad])).await.status, 502);
    assert_eq!((bad.seen().len(), proxy.tries("broken")), (3, 3));
}

#[tokio::test]
async fn retries_are_few_when_everything_breaks() {
    let bad = breaking().await;
    let proxy = Proxy::new();
    for _ in 0..20 {
        assert_eq!(proxy.ask(&Asked::of(&[&bad])).await.status, 502);
    }
    // Ten from the reserve.
    assert_eq!(bad.seen().len(), 30);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_costs_no_request() {
    let backend = Backend::playing(|mut socket, _, notes| async move {
        notes.read_request(&mut socket).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        socket.write_all(answer).await.unwrap();
    })
    .await;
    let proxy = Proxy::new();
    for _ in 0..20 {
        let answer = proxy.ask(&Asked::with(Method::POST, &[&backend])).await;
        assert_eq!(answer.status, 200);
        // The end of the connection is there once it can be read.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(backend.seen().len(), 20);
}

#[tokio::test]
async fn connections_are_used_again() {
    let backend = Backend::well().await;
    let proxy = Proxy::new();
    for _ in 0..20 {
        assert_eq!(proxy.ask(&Asked::of(&[&backend])).await.text(), "ok");
    }
    assert!(proxy.connections() <= 2, "{}", proxy.connections());
}

#[tokio::test]
async fn a_silent_backend_is_a_504_and_is_asked_once() {
    let silent = Backend::playing(|mut socket, _, notes| async move {
        notes.read_request(&mut socket).await;
        notes.read_request(&mut socket).await;
    })
    .await;
    for (number, (method, body)) in (1..).zip([(Method::GET, ""), (Method::POST, "body")]) {
        let proxy = Proxy::with(impatient());
        let asked = Asked::with(method, &[&silent, &silent]);
        let answer = proxy.ask_with(&asked, whole(body)).await;
        assert_eq!((answer.status, answer.code), (504, "upstream_timeout"));
        assert_eq!((silent.seen().len(), proxy.tries("timeout")), (number, 1));
    }
}

#[tokio::test]
async fn a_client_that_sends_slowly_is_not_taken_for_a_silent_backend() {
    let backend = Backend::well().await;
    let (pieces, body) = piecewise();
    let feeding = tokio::task::spawn(async move {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            pieces.send(data("x")).await.unwrap();
        }
    });
    let asked = Asked::with(Method::POST, &[&backend]);
    let answer = Proxy::with(impatient()).ask_with(&asked, body).await;
    feeding.await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_request_body_that_breaks_off_is_the_clients_fault() {
    for (kind, status) in [
        (io::ErrorKind::UnexpectedEof, 400),
        (io::ErrorKind::TimedOut, 408),
    ] {
        let backend = Backend::playing(|mut socket, _, _| async move {
            let mut all = Vec::new();
            socket.read_to_end(&mut all).await.ok();
            assert!(
                !all.ends_with(b"0\r\n\r\n"),
                "the backend takes it for whole"
            );
        })
        .await;
        let (pieces, body) = piecewise();
        let feeding = tokio::task::spawn(async move {
            pieces.send(data("half")).await.unwrap();
            pieces.send(Err(kind.into())).await.unwrap();
        });
        let proxy = Proxy::new();
        let asked = Asked::with(Method::PUT, &[&backend]);
        let answer = proxy.ask_with(&asked, body).await;
        feeding.await.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(proxy.tries("request_body"), 1);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_back() {
    let (told, mut closed) = tokio::sync::mpsc::channel(1);
    let backend = Backend::playing(move |mut socket, _, notes| {
        let told = told.clone();
        async move {
            notes.read_request(&mut socket).await;
            told.send(()).await.unwrap();
            // The end of the connection.
            socket.read_u8().await.unwrap_err();
            told.send(()).await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::new();
    let asked = Asked::of(&[&backend]);
    let asking = proxy.reply(&asked, whole(""));
    tokio::select! {
        reply = asking => panic!("answered: {reply:?}"),
        _ = closed.recv() => {}
    }
    tokio::time::timeout(PATIENCE, closed.recv())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn nobody_waits_longer_for_a_connection_because_others_do() {
    // A server of TLS that never speaks.
    let silent = Backend::playing(|mut socket, _, _| async move {
        socket.read_to_end(&mut Vec::new()).await.ok();
    })
    .await;
    let proxy = Proxy::with(UpstreamConfig {
        proxy_connect_timeout: Duration::from_millis(500),
        ..UpstreamConfig::default()
    });
    let asked = Asked {
        protocol: Protocol::Https,
        ..Asked::of(&[&silent])
    };
    let begun = std::time::Instant::now();
    let asking = (0..50).map(|_| proxy.ask(&asked));
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!((answer.status, answer.code), (502, "upstream_unreachable"));
    }
    // One after another, it would be 25 seconds.
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_connection_that_the_backend_will_close_soon_is_not_kept() {
    let backend = Backend::playing(|mut socket, _, notes| async move {
        while notes.read_request(&mut socket).await {
            let answer = b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 2\r\n\r\nok";
            socket.write_all(answer).await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::new();
    for _ in 0..3 {
        let answer = proxy.ask(&Asked::of(&[&backend])).await;
        assert_eq!(answer.header("keep-alive"), None);
    }
    assert_eq!(proxy.connections(), 3);
}

/// One that was silent could have all the connections and the memory of the instance.
#[tokio::test]
async fn a_backend_with_as_many_requests_as_it_may_have_gets_no_more() {
    let silent = Backend::playing(|mut socket, number, notes| async move {
        notes.read_request(&mut socket).await;
        if number == 0 {
            // An answer that has begun, and does not end.
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
            socket.write_all(head).await.unwrap();
        }
        std::future::pending::<()>().await;
    })
    .await;
    let well = Backend::well().await;
    let proxy = Proxy::with(UpstreamConfig {
        proxy_max_requests_per_backend: 2,
        ..impatient()
    });
    let asked = Asked::of(&[&silent]);
    let answering = proxy.reply(&asked, whole("")).await.unwrap();
    let mut waiting = std::pin::pin!(proxy.ask(&asked));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    for _ in 0..5 {
        let busy = proxy.ask(&asked).await;
        assert_eq!((busy.status, busy.code), (503, "backend_busy"));
        assert_eq!(proxy.ask(&Asked::of(&[&well])).await.status, 200);
    }
    assert_eq!(proxy.tries("busy"), 5);
    assert_eq!(waiting.await.status, 504);
    let mut next = std::pin::pin!(proxy.ask(&asked));
    assert!(futures_util::poll!(&mut next).is_pending());
    assert_eq!(proxy.ask(&asked).await.code, "backend_busy");
    drop(answering);
    assert_eq!(proxy.ask(&asked).await.status, 504);
    assert_eq!(next.await.status, 504);
    // Nobody counts where there is no limit.
    let proxy = Proxy::with(UpstreamConfig {
        proxy_max_requests_per_backend: 0,
        ..impatient()
    });
    assert_eq!(proxy.ask(&Asked::of(&[&well])).await.status, 200);
}
