//! Which backends answer: over TLS and HTTP/2, those that are well, and none in bounded time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::json;

use super::with_tls;
use crate::support::certificates::Certificate;
use crate::support::gateway::{Gateway, Settings, eventually};
use crate::support::http::{self as plain, Answer};
use crate::support::kafka::Kafka;
use crate::support::routes::{all, all_below};
use crate::support::upstream::{Upstream, echo};
use crate::support::upstream_http2::{Answered, Http2Upstream};
use crate::support::ways::{Client, Way};

async fn send(gateway: &Gateway, method: &str, target: &str, body: &[u8]) -> Answer {
    plain::request(gateway.public(), method, target, &[], body).await
}

async fn get(gateway: &Gateway, target: &str) -> Answer {
    send(gateway, "GET", target, b"").await
}

pub async fn over_tls_whom_they_can_trust(kafka: &Kafka) {
    let (known, stranger) = (Certificate::new(), Certificate::new());
    let good = Upstream::start(0, Some(known.server(&[])), echo).await;
    let with_alpn = Upstream::start(0, Some(known.server(&["http/1.1"])), echo).await;
    let unknown = Upstream::start(0, Some(stranger.server(&[])), echo).await;
    let no_tls = Upstream::echoing().await;
    let port = good.address().port();
    let apis = [
        all_below("good", "/good", &[good.url()]),
        all_below("alpn", "/alpn", &[with_alpn.url()]),
        all_below("unknown", "/unknown", &[unknown.url()]),
        all_below("name", "/name", &[format!("https://127.0.0.1:{port}")]),
        all_below(
            "plain",
            "/plain",
            &[no_tls.url().replace("http:", "https:")],
        ),
    ];
    let settings = Settings::routing(kafka, &apis);
    let authorities = known.chain();
    let settings = settings.with("PROXY_UPSTREAM_CA_FILE", authorities.to_str().unwrap());
    let gateway = Gateway::with(settings).await;
    for target in ["/good/a", "/alpn/a"] {
        let answer = send(&gateway, "POST", target, b"secret").await;
        assert_eq!((answer.status, answer.text()), (200, "secret"), "{target}");
    }
    let sent = good.one();
    assert_eq!(sent.header("host"), Some(&*format!("localhost:{port}")));
    assert_eq!(sent.header("x-forwarded-proto"), Some("http"));
    for target in ["/unknown/a", "/name/a", "/plain/a"] {
        let answer = send(&gateway, "POST", target, b"secret").await;
        assert_eq!(
            answer.problem(502),
            "The backend cannot be reached.",
            "{target}"
        );
    }
    // Nothing of the request goes to whom nobody knows.
    for upstream in [unknown, no_tls, good] {
        assert!(upstream.take().is_empty());
    }
    gateway.stop().await;
}

/// Answers with the body as it comes, and with what came of the head and behind the body.
async fn echo_http2(request: Request<Incoming>) -> Answered {
    let (head, body) = request.into_parts();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    let mut response = Response::builder().header("x-target", head.uri.to_string());
    for (name, value) in &head.headers {
        response = response.header(format!("x-got-{name}"), value);
    }
    let body = body.map_err(std::io::Error::other);
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
    response.body(body.boxed_unsync()).unwrap()
}

pub async fn over_http_2(kafka: &Kafka) {
    let certificate = Certificate::new();
    let known = Http2Upstream::answering(None, echo_http2).await;
    let tls = Some(certificate.server(&["h2", "http/1.1"]));
    let chosen = Http2Upstream::answering(tls, echo_http2).await;
    let apis = [
        all_below("known", "/known", &[known.url()]),
        all_below("chosen", "/chosen", &[chosen.url()]),
    ];
    let authorities = certificate.chain();
    let settings = Settings::routing(kafka, &apis);
    let settings = settings.with("PROXY_UPSTREAM_CA_FILE", authorities.to_str().unwrap());
    let (gateway, own) = with_tls(settings).await;
    let body: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let hostile = [
        ("connection", "close, x-a"),
        ("x-a", "1"),
        ("keep-alive", "1"),
    ];
    for (upstream, path) in [(&known, "/known/%41?a=%20"), (&chosen, "/chosen/%41?a=%20")] {
        for way in Way::ALL {
            let client = Client::new(way, &own, &gateway);
            let headers = if way.is_http2() { &[][..] } else { &hostile };
            let mut answer = client.fetch("PUT", path, headers, &body).await;
            assert_eq!(answer.status, 200, "{way:?} {path}");
            assert!(answer.whole().await.unwrap() == body, "{way:?} {path}");
            let target = upstream.url().replace("h2c:", "http:") + path;
            assert_eq!(answer.header("x-target"), Some(&*target), "{way:?}");
            for gone in [
                "host",
                "connection",
                "x-a",
                "keep-alive",
                "transfer-encoding",
            ] {
                assert_eq!(
                    answer.header(&format!("x-got-{gone}")),
                    None,
                    "{way:?} {gone}"
                );
            }
            assert_eq!(answer.header("x-got-x-forwarded-for"), Some("127.0.0.1"));
            assert_eq!(answer.header("via"), Some("2 sluicegate"));
        }
        let before = upstream.connections();
        let many = (0..100).map(async |_| get(&gateway, path).await.status);
        assert_eq!(join_all(many).await, [200; 100]);
        assert!(
            upstream.connections() < before + 10,
            "they share connections"
        );
    }
    gateway.stop().await;
}

/// Whatever a backend does not do, its client is told soon, and the others are served.
pub async fn or_tell_why_there_is_no_answer(kafka: &Kafka) {
    let gone = Upstream::echoing().await;
    let gone_url = gone.url();
    drop(gone);
    let silent = Upstream::playing(|mut caller| async move {
        caller.request().await;
        caller.ended().await;
    })
    .await;
    let never = Http2Upstream::answering(None, |_| std::future::pending()).await;
    let closing = Upstream::answering("").await;
    let well = Upstream::echoing().await;
    let apis = [
        all_below("gone", "/gone", &[gone_url]),
        all_below("silent", "/silent", &[silent.url()]),
        all_below("never", "/never", &[never.url()]),
        all_below("closing", "/closing", &[closing.url()]),
        all_below("well", "/well", &[well.url()]),
    ];
    let settings = Settings::routing(kafka, &apis).with("PROXY_RECV_TIMEOUT", "300");
    let (gateway, certificate) = with_tls(settings).await;
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        // More often than it takes to give up an address.
        let rounds = if way == Way::Plain { 4 } else { 1 };
        for _ in 0..rounds {
            for (target, status, text) in [
                ("/gone/a", 502, "The backend cannot be reached."),
                ("/silent/a", 504, "The backend did not answer in time."),
                ("/never/a", 504, "The backend did not answer in time."),
                (
                    "/closing/a",
                    502,
                    "The backend closed the connection before it answered.",
                ),
            ] {
                let asked = std::time::Instant::now();
                let answer = client.public("POST", target, &[], b"body").await;
                assert_eq!(answer.problem(status), text, "{way:?} {target}");
                assert!(asked.elapsed() < Duration::from_secs(5), "{way:?} {target}");
            }
            assert_eq!(
                client.public("POST", "/well/a", &[], b"x").await.text(),
                "x"
            );
        }
    }
    gateway.stop().await;
}

/// An address that is down costs nobody anything, and is used again when it is back.
pub async fn of_which_one_may_be_down(kafka: &Kafka) {
    let (one, other) = (Upstream::echoing().await, Upstream::echoing().await);
    let urls = [one.url(), other.url()];
    let mut probed = all_below("probed", "/probed", &urls);
    probed["proxy"]["health_path"] = json!("/well");
    let apis = [probed, all_below("tried", "/tried", &urls)];
    let gateway = Gateway::with(Settings::routing(kafka, &apis)).await;
    let both = ["/probed/a", "/tried/a"];
    for target in both {
        for _ in 0..10 {
            assert_eq!(get(&gateway, target).await.status, 200);
        }
    }
    assert_eq!(
        (one.take().len(), other.take().len()),
        (10, 10),
        "they take turns"
    );
    let port = other.address().port();
    drop(other);
    // The first ones may find a connection of before.
    for method in ["GET", "PUT", "DELETE", "POST", "PATCH"] {
        for target in both {
            for _ in 0..10 {
                let answer = send(&gateway, method, target, b"").await;
                assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
            }
        }
    }
    let other = Upstream::start(port, None, echo).await;
    for target in both {
        eventually("it is used again", async || {
            assert_eq!(get(&gateway, target).await.status, 200);
            other.take().iter().any(|sent| sent.target() == target)
        })
        .await;
    }
    gateway.stop().await;
}

/// What a backend may have acted on is sent again only where twice is as good as once.
pub async fn twice_only_where_that_does_no_harm(kafka: &Kafka) {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let upstream = Upstream::playing(move |mut caller| {
        let tries = Arc::clone(&counted);
        async move {
            // The first try of each request breaks, and no connection is kept.
            if caller.request().await.is_some() && tries.fetch_add(1, Ordering::SeqCst) > 0 {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                caller.write(answer).await;
            }
        }
    })
    .await;
    let gateway = Gateway::with(Settings::routing(kafka, &[all(&upstream.url())])).await;
    for (method, body, times) in [
        ("GET", "", 2),
        ("HEAD", "", 2),
        ("DELETE", "", 2),
        ("OPTIONS", "", 2),
        ("PUT", "", 2),
        ("POST", "", 1),
        ("PATCH", "", 1),
        ("PROPFIND", "", 1),
        // What was read of a body is gone.
        ("PUT", "body", 1),
        ("POST", "body", 1),
    ] {
        tries.store(0, Ordering::SeqCst);
        let answer = send(&gateway, method, "/a", body.as_bytes()).await;
        let expected = if times == 2 { 200 } else { 502 };
        assert_eq!(answer.status, expected, "{method} {body}");
        assert_eq!(upstream.take().len(), times, "{method} {body}");
    }
    gateway.stop().await;
}
