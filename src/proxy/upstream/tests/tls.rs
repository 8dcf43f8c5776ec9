//! Backends that speak TLS.

use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A backend for `localhost`, and the file with its certificate, which is its own authority.
async fn secure(protocols: &[&[u8]]) -> (Backend, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let backend = Backend::playing(move |socket, _, notes| {
        let acceptor = acceptor.clone();
        async move {
            // A client that does not trust us ends it here.
            let Ok(mut stream) = acceptor.accept(socket).await else {
                return;
            };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                http2::serve(stream, notes, http2::echo).await;
                return;
            }
            while notes.read_request(&mut stream).await {
                let is_upgrade = notes.0.lock().last().unwrap().contains("upgrade");
                let answer: &[u8] = if is_upgrade {
                    b"HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhello"
                } else {
                    b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"
                };
                stream.write_all(answer).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    })
    .await;
    let name = format!("sluicegate-{}.pem", uuid::Uuid::new_v4());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, certificate.pem()).unwrap();
    let port = backend.address.port_u16().unwrap();
    let backend = Backend {
        address: format!("localhost:{port}").parse().unwrap(),
        ..backend
    };
    (backend, path)
}

fn trusting(path: PathBuf) -> UpstreamConfig {
    UpstreamConfig {
        proxy_upstream_ca_file: Some(path),
        ..UpstreamConfig::default()
    }
}

fn asked(backend: &Backend) -> Asked {
    Asked {
        protocol: Protocol::Https,
        ..Asked::with(Method::POST, &[backend])
    }
}

#[tokio::test]
async fn the_backend_chooses_the_version_of_http() {
    for (protocols, via) in [
        (&[b"h2".as_slice(), b"http/1.1"][..], "2 sluicegate"),
        (&[b"http/1.1".as_slice()], "1.1 sluicegate"),
        (&[], "1.1 sluicegate"),
    ] {
        let (backend, path) = secure(protocols).await;
        let proxy = Proxy::with(trusting(path.clone()));
        let asked = asked(&backend);
        let asking = (0..5).map(|_| proxy.ask_with(&asked, whole("body")));
        for answer in futures_util::future::join_all(asking).await {
            assert_eq!((answer.status, answer.text()), (200, "body"));
            assert_eq!(answer.header("via"), Some(via));
        }
        if via.starts_with('2') {
            assert_eq!(proxy.connections(), 1);
            assert!(backend.seen()[0].starts_with("https://localhost:"));
        }
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn a_backend_that_is_not_trusted_gets_nothing() {
    let (backend, path) = secure(&[]).await;
    let (_, foreign) = secure(&[]).await;
    let proxy = Proxy::with(trusting(foreign.clone()));
    let answer = proxy.ask(&asked(&backend)).await;
    assert_eq!((answer.status, answer.code), (502, "upstream_unreachable"));
    let port = backend.address.port_u16().unwrap();
    let other_name = Asked {
        addresses: vec![format!("127.0.0.1:{port}").parse().unwrap()],
        ..asked(&backend)
    };
    let proxy = Proxy::with(trusting(path.clone()));
    assert_eq!(proxy.ask(&other_name).await.status, 502);
    assert!(backend.seen().is_empty());
    for path in [path, foreign] {
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_costs_the_connect_timeout() {
    let backend = Backend::playing(|mut socket, _, _| async move {
        socket.read_to_end(&mut Vec::new()).await.ok();
    })
    .await;
    let proxy = Proxy::with(UpstreamConfig {
        proxy_connect_timeout: Duration::from_millis(100),
        ..UpstreamConfig::default()
    });
    let answer = proxy.ask(&asked(&backend)).await;
    assert_eq!((answer.status, answer.code), (502, "upstream_unreachable"));
}

#[tokio::test]
async fn a_websocket_over_tls_speaks_http_1_1_although_http_2_is_offered() {
    let (backend, path) = secure(&[b"h2", b"http/1.1"]).await;
    let proxy = Proxy::with(trusting(path.clone()));
    let asked = Asked {
        method: Method::GET,
        headers: vec![("connection", "upgrade"), ("upgrade", "websocket")],
        ..asked(&backend)
    };
    let reply = proxy.reply(&asked, whole("")).await;
    assert!(matches!(reply, Ok(Reply::TakenOver(..))), "{reply:?}");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_file_without_authorities_stops_the_start() {
    let missing = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
    let empty = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
    std::fs::write(&empty, "nothing").unwrap();
    for path in [missing, empty.clone()] {
        let shown = path.display().to_string();
        let refused = Upstreams::new(trusting(path), &Tasks::new(), &Metrics::new());
        let text = refused.unwrap_err().to_string();
        assert!(text.contains(&shown), "{text}");
    }
    std::fs::remove_file(empty).unwrap();
}
