//! The same over TLS.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::scripts::{ALONE, open};
use super::*;
use crate::http::{Tls, TlsConfig};

/// A certificate for `localhost`, in files that are removed again.
struct Certificate {
    folder: PathBuf,
    der: CertificateDer<'static>,
}

fn next() -> usize {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(1, Ordering::SeqCst)
}

impl Certificate {
    fn new() -> Self {
        let name = format!("sluicegate-wire-{}-{}", std::process::id(), next());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        let der = certificate.der().clone();
        Self { folder, der }
    }

    fn load(&self) -> Tls {
        let config = TlsConfig {
            https_certfile: Some(self.folder.join("cert.pem")),
            https_keyfile: Some(self.folder.join("key.pem")),
            ..TlsConfig::default()
        };
        config.load().unwrap().unwrap()
    }

    fn connect(&self, server: &Server) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(session, server.connect())
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

type Client = StreamOwned<ClientConnection, TcpStream>;

fn read_until(stream: &mut Client, end: &str) -> String {
    let mut received = Vec::new();
    let mut byte = [0];
    while !received.ends_with(end.as_bytes()) {
        stream.read_exact(&mut byte).unwrap();
        received.push(byte[0]);
    }
    String::from_utf8(received).unwrap()
}

fn vanish(client: Client) {
    drop(client);
}

fn say_goodbye(mut client: Client) {
    client.conn.send_close_notify();
    client.flush().unwrap();
    // It still listens.
    let mut rest = Vec::new();
    if client.read_to_end(&mut rest).is_ok() {
        assert!(rest.is_empty());
    }
}

fn reset(client: Client) {
    let options = socket2::SockRef::from(&client.sock);
    options.set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

#[test]
fn over_tls_all_is_as_without() {
    let _alone = ALONE.lock();
    let certificate = Certificate::new();
    let server = Server::with_tls(HttpLimits::default(), Some(certificate.load()));
    let mut client = certificate.connect(&server);
    client
        .write_all(b"GET /scripted?steps=ab+~+~+cd HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(20));
    // Behind it, while the client is watched.
    let behind = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n";
    let body = "y".repeat(300);
    client
        .write_all(format!("{behind}{body}").as_bytes())
        .unwrap();
    client
        .write_all(b"GET /tls HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let answer = read_until(&mut client, "\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    read_until(&mut client, &format!("\r\n\r\n{body}"));
    read_until(&mut client, "\r\n\r\ntls: true");
    let plain = Server::start(HttpLimits::default());
    let answer = plain.exchange(b"GET /tls HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.ends_with("tls: false"), "{answer}");
}

#[test]
fn over_tls_too_a_request_ends_when_its_client_leaves() {
    let _alone = ALONE.lock();
    let certificate = Certificate::new();
    let server = Server::with_tls(HttpLimits::default(), Some(certificate.load()));
    for leave in [vanish as fn(Client), say_goodbye, reset] {
        for target in ["/waits", "/scripted?steps=ab+%26"] {
            let mut client = certificate.connect(&server);
            let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
            client.write_all(request.as_bytes()).unwrap();
            wait_until(|| open() == 1);
            if target != "/waits" {
                read_until(&mut client, "ab\r\n");
            }
            leave(client);
            wait_until(|| open() == 0);
        }
    }
}

#[test]
fn over_tls_too_an_answer_that_breaks_off_cannot_be_taken_for_a_whole_one() {
    let _alone = ALONE.lock();
    let certificate = Certificate::new();
    let server = Server::with_tls(HttpLimits::default(), Some(certificate.load()));
    let mut client = certificate.connect(&server);
    client
        .write_all(b"GET /scripted?steps=ab+! HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut received = String::new();
    client.read_to_string(&mut received).unwrap();
    assert!(received.ends_with("\r\n\r\n2\r\nab\r\n"), "{received}");
    // Without a length, only a goodbye would say that this is all.
    let mut client = certificate.connect(&server);
    client
        .write_all(b"GET /scripted?steps=ab+~+! HTTP/1.0\r\n\r\n")
        .unwrap();
    assert!(client.read_to_string(&mut received).is_err());
}
