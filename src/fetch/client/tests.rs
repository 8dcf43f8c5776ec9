//! The client against servers on loopback that answer well and badly.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

const LIMITS: FetchLimits = FetchLimits {
    timeout: Duration::from_secs(10),
    max_response_bytes: 1_000,
};

/// Takes `connections` one after another; each gets these bytes for its request, and is closed.
/// Returns what the clients sent.
fn serve(connections: usize, answer: &'static [u8]) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for _ in 0..connections {
            let (mut socket, _) = listener.accept().unwrap();
            requests.push(read_head(&mut socket));
            socket.write_all(answer).unwrap();
        }
        requests
    });
    (address, serving)
}

fn read_head(socket: &mut impl std::io::Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

fn nobody() -> Fetch {
    Fetch::trusting(RootCertStore::empty())
}

#[tokio::test]
async fn an_answer_comes_whole_with_its_status_and_headers() {
    let (address, serving) = serve(
        1,
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nx-a: b\r\n\r\nbody",
    );
    let url = format!("http://{address}/a?b=c");
    let answer = nobody().send(get(&url), &LIMITS).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (404, &b"body"[..])
    );
    assert_eq!(answer.headers()["x-a"], "b");
    let requests = serving.join().unwrap();
    assert!(
        requests[0].starts_with("GET /a?b=c HTTP/1.1\r\n"),
        "{requests:?}"
    );
    assert!(
        requests[0].contains(&format!("host: {address}\r\n")),
        "{requests:?}"
    );
    assert!(
        requests[0].contains("user-agent: sluicegate/"),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (address, serving) = serve(
        1,
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    );
    let url = format!("http://{address}/");
    let answer = nobody().send(get(&url), &LIMITS).await.unwrap();
    assert_eq!(answer.status().as_u16(), 302);
    assert_eq!(serving.join().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_given_up_with_and_without_a_length() {
    for head in ["content-length: 1001\r\n", "connection: close\r\n"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n{}", "x".repeat(1_001));
        let (address, serving) = serve(1, answer.leak().as_bytes());
        let refused = nobody()
            .send(get(&format!("http://{address}/")), &LIMITS)
            .await;
        let error = refused.unwrap_err();
        assert!(
            matches!(error, FetchError::TooLarge { limit: 1_000, .. }),
            "{error}"
        );
        serving.join().unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    let (address, serving) = serve(1, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    let refused = nobody()
        .send(get(&format!("http://{address}/")), &LIMITS)
        .await;
    assert!(
        matches!(refused, Err(FetchError::Cut { .. })),
        "{refused:?}"
    );
    serving.join().unwrap();
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_the_given_time_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let limits = FetchLimits {
        timeout: Duration::from_millis(50),
        ..LIMITS
    };
    let refused = nobody()
        .send(get(&format!("http://{address}/")), &limits)
        .await;
    assert!(
        matches!(refused, Err(FetchError::Timeout { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn errors_name_the_host_and_nothing_else_of_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let request = Request::get(format!("http://{address}/hidden?key=hidden"))
        .header("authorization", "hidden")
        .body(Bytes::from_static(b"hidden"))
        .unwrap();
    let error = nobody().send(request, &LIMITS).await.unwrap_err();
    let (text, debug) = (error.to_string(), format!("{error:?}"));
    assert!(
        text.starts_with(&format!("{address} could not be asked: ")),
        "{text}"
    );
    assert!(text.contains("refused"), "the cause is told: {text}");
    assert!(
        !text.contains("hidden") && !debug.contains("hidden"),
        "{debug}"
    );
}

#[tokio::test]
async fn a_request_without_a_host_is_refused() {
    let refused = nobody().send(get("/path"), &LIMITS).await;
    assert!(matches!(refused, Err(FetchError::NoHost)), "{refused:?}");
}

#[tokio::test]
async fn over_tls_only_a_trusted_server_is_asked() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    let serving = std::thread::spawn(move || {
        for _ in 0..2 {
            let (socket, _) = listener.accept().unwrap();
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, socket);
            let mut first = [0];
            if stream.read_exact(&mut first).is_ok() {
                read_head(&mut stream);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).unwrap();
            }
        }
    });
    let url = format!("https://localhost:{port}/");
    let refused = nobody().send(get(&url), &LIMITS).await;
    assert!(
        matches!(refused, Err(FetchError::NoAnswer { .. })),
        "{refused:?}"
    );
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let answer = Fetch::trusting(roots)
        .send(get(&url), &LIMITS)
        .await
        .unwrap();
    assert_eq!(&answer.body()[..], b"ok");
    serving.join().unwrap();
}
