//! Which address gets a request, and when one that failed gets some again.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[tokio::test]
async fn addresses_that_are_well_take_turns() {
    let backends = [
        Backend::well().await,
        Backend::well().await,
        Backend::well().await,
    ];
    let proxy = Proxy::new();
    for _ in 0..30 {
        let [a, b, c] = &backends;
        assert_eq!(proxy.ask(&Asked::of(&[a, b, c])).await.status, 200);
    }
    for backend in &backends {
        assert_eq!(backend.seen().len(), 10);
    }
}

#[tokio::test]
async fn the_address_with_the_least_to_do_gets_the_request() {
    let slow = Backend::playing(|mut socket, _, notes| async move {
        notes.read_request(&mut socket).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        socket.write_all(head).await.unwrap();
        // Its body does not come.
        socket.read_u8().await.unwrap_err();
    })
    .await;
    let quick = Backend::well().await;
    let proxy = Proxy::new();
    let asked = Asked::of(&[&slow, &quick]);
    let held = proxy.reply(&asked, whole("")).await.unwrap();
    for _ in 0..10 {
        assert_eq!(proxy.ask(&asked).await.text(), "ok");
    }
    assert_eq!((slow.seen().len(), quick.seen().len()), (1, 10));
    drop(held);
}

/// A backend that fails, by closing its connections, until it is told not to.
async fn moody(is_well: Arc<AtomicBool>) -> Backend {
    Backend::playing(move |mut socket, _, notes| {
        let is_well = Arc::clone(&is_well);
        async move {
            if is_well.load(Ordering::Relaxed) {
                while notes.read_request(&mut socket).await {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwell";
                    socket.write_all(answer).await.unwrap();
                }
            }
        }
    })
    .await
}

async fn until(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test]
async fn an_address_that_fails_is_left_alone_and_comes_back_by_itself() {
    let is_well = Arc::new(AtomicBool::new(false));
    let (moody, well) = (moody(Arc::clone(&is_well)).await, Backend::well().await);
    let proxy = Proxy::new();
    let asked = Asked::of(&[&moody, &well]);
    for _ in 0..20 {
        assert_eq!(proxy.ask(&asked).await.text(), "ok");
    }
    assert_eq!(proxy.tries("broken"), 3);
    assert_eq!(proxy.metrics.proxy.upstream_paused.get(), 1);
    is_well.store(true, Ordering::Relaxed);
    until(async || proxy.ask(&asked).await.text() == "well").await;
    assert_eq!(proxy.metrics.proxy.upstream_paused.get(), 0);
}

#[tokio::test]
async fn an_only_address_is_tried_although_it_fails() {
    let is_well = Arc::new(AtomicBool::new(false));
    let moody = moody(Arc::clone(&is_well)).await;
    let proxy = Proxy::new();
    for _ in 0..5 {
        assert_eq!(proxy.ask(&Asked::of(&[&moody])).await.status, 502);
    }
    is_well.store(true, Ordering::Relaxed);
    assert_eq!(proxy.ask(&Asked::of(&[&moody])).await.text(), "well");
}

#[tokio::test]
async fn a_probe_brings_an_address_back_without_a_request_for_it() {
    let is_well = Arc::new(AtomicBool::new(false));
    let (moody, well) = (moody(Arc::clone(&is_well)).await, Backend::well().await);
    let proxy = Proxy::new();
    let asked = Asked {
        health_path: Some("/healthz?deep=1"),
        ..Asked::of(&[&moody, &well])
    };
    for _ in 0..10 {
        assert_eq!(proxy.ask(&asked).await.text(), "ok");
    }
    assert_eq!(proxy.metrics.proxy.upstream_paused.get(), 1);
    is_well.store(true, Ordering::Relaxed);
    until(async || proxy.metrics.proxy.upstream_paused.get() == 0).await;
    let seen = moody.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].starts_with("GET /healthz?deep=1 HTTP/1.1\r\n"));
    assert!(seen[0].contains(&format!("host: {}\r\n", moody.address)));
}

#[tokio::test]
async fn an_upstream_that_no_route_uses_is_forgotten_with_its_tasks() {
    let (gone, other) = (Backend::gone().await, Backend::well().await);
    let proxy = Proxy::new();
    let asked = Asked {
        health_path: Some("/healthz"),
        ..Asked::of(&[&gone, &other])
    };
    for _ in 0..8 {
        proxy.ask(&asked).await;
    }
    assert_eq!(proxy.metrics.proxy.upstream_paused.get(), 1);
    // The sweep, the probe, and the kept connections.
    assert!(proxy.tasks.running() >= 3);
    let route = asked.call().route;
    let Target::Http(upstream) = &route.target else {
        panic!("not http");
    };
    let later = tokio::time::Instant::now() + Duration::from_secs(11);
    // A new definition with the same upstream.
    proxy.upstreams.get(upstream);
    proxy.upstreams.sweep(later);
    assert_eq!(proxy.metrics.proxy.upstream_paused.get(), 1);
    drop(route);
    proxy.upstreams.sweep(later);
    until(async || proxy.tasks.running() == 1).await;
    assert_eq!(proxy.metrics.proxy.upstream_paused.get(), 0);
}
