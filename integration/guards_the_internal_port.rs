//! The internal port where it asks who calls: by a token, by a certificate, and health for everybody.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::certificates::{Authority, Certificate, Identity};
use crate::support::gateway::{Gateway, Settings, event, eventually};
use crate::support::h2::Http2;
use crate::support::http::{self, Answer};
use crate::support::kafka::Kafka;
use crate::support::program::{Process, run, settings, settings_embedded};

const TOKEN: &str = "hidden-token-of-many-letters";
const HEALTH: [&str; 4] = ["/health", "/livez", "/readyz", "/startupz"];
/// Everything else, and paths that lead nowhere.
const GUARDED: [(&str, &str); 9] = [
    ("GET", "/"),
    ("GET", "/metrics"),
    ("POST", "/v3/messages"),
    ("POST", "/v2/messages"),
    ("GET", "/v3/sessions"),
    ("GET", "/v3/session-blacklist"),
    ("POST", "/v3/session-blacklist"),
    ("GET", "/no/such/path"),
    ("GET", "/health/../metrics"),
];

/// Asserts that an answer asks who calls, says nothing else, and lets no page read it.
fn asks(answer: &Answer) {
    answer.problem(401);
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer"), "{challenge}");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

async fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    http::request(gateway.internal(), "GET", path, headers, b"").await
}

pub async fn with_a_token(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::new(kafka).with("API_TOKEN", TOKEN)).await;
    let right = format!("Bearer {TOKEN}");
    for (method, path) in GUARDED {
        let body = event("t", "1", json!(1)).to_string();
        let body = if method == "POST" {
            body.as_bytes()
        } else {
            b""
        };
        for authorization in [
            "",
            "Bearer wrong",
            "Basic aGlkZGVuOg==",
            &right[..right.len() - 1],
        ] {
            let headers = [
                ("authorization", authorization),
                ("content-type", "application/json"),
            ];
            asks(&http::request(gateway.internal(), method, path, &headers, body).await);
        }
    }
    for path in HEALTH {
        assert_eq!(get(&gateway, path, &[]).await.status, 200, "{path}");
    }
    let headers = [
        ("authorization", right.as_str()),
        ("content-type", "application/json"),
    ];
    assert_eq!(get(&gateway, "/metrics", &headers).await.status, 200);
    get(&gateway, "/no/such/path", &headers).await.problem(404);
    let body = event("t", "2", json!(1)).to_string();
    let target = "/v3/messages";
    let answer = http::request(
        gateway.internal(),
        "POST",
        target,
        &headers,
        body.as_bytes(),
    )
    .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    // A token does not let a page of somebody else in.
    let foreign = [headers[0], ("origin", "https://evil.example")];
    let answer = get(&gateway, "/metrics", &foreign).await;
    answer.problem(403);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    // The public port has other guards.
    let public = http::request(gateway.public(), "GET", "/_rig/health", &[], b"").await;
    assert_eq!(public.status, 200);
    gateway.stop().await;
}

/// Asks the internal TLS port, over HTTP/1.1 or HTTP/2; an error where the handshake is refused.
async fn ask(
    gateway: &Gateway,
    certificate: &Certificate,
    client: Option<&Identity>,
    (path, is_http2): (&str, bool),
    headers: &[(&str, &str)],
) -> std::io::Result<Answer> {
    let socket = TcpStream::connect(gateway.internal_tls()).await?;
    let alpn: &[&str] = if is_http2 { &["h2"] } else { &["http/1.1"] };
    let mut tls = certificate.connect_as(client, socket, alpn).await?;
    if is_http2 {
        let client = Http2::over(tls).await;
        return Ok(client.request("GET", path, headers, b"").await);
    }
    // TLS 1.3 tells a client that its certificate is not taken when it reads.
    tls.write_all(&http::written("GET", path, headers, b""))
        .await?;
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer).await?;
    Ok(http::parse(&answer))
}

pub async fn with_client_certificates(kafka: &Kafka) {
    let (certificate, authority) = (Certificate::new(), Authority::new());
    let settings = certificate
        .on(Settings::new(kafka))
        .with("API_CLIENT_CA_FILE", authority.file());
    let gateway = Gateway::with(settings).await;
    let known = authority.client(2100);
    for is_http2 in [false, true] {
        let answer = ask(
            &gateway,
            &certificate,
            Some(&known),
            ("/metrics", is_http2),
            &[],
        )
        .await;
        assert_eq!(answer.unwrap().status, 200);
        let answer = ask(&gateway, &certificate, None, ("/metrics", is_http2), &[]).await;
        asks(&answer.unwrap());
        for path in HEALTH {
            let answer = ask(&gateway, &certificate, None, (path, is_http2), &[]).await;
            assert_eq!(answer.unwrap().status, 200, "{path}");
        }
    }
    // A certificate of somebody else, or one that is over, ends the handshake.
    let (stranger, expired) = (Authority::new().client(2100), authority.client(2020));
    for client in [&stranger, &expired] {
        let refused = ask(
            &gateway,
            &certificate,
            Some(client),
            ("/health", false),
            &[],
        )
        .await;
        assert!(refused.is_err(), "{refused:?}");
    }
    // The plain port asks for what it cannot get, but tells how it is; the public one asks for nothing.
    asks(&get(&gateway, "/metrics", &[]).await);
    asks(&get(&gateway, "/metrics", &[("authorization", "Bearer x")]).await);
    assert_eq!(get(&gateway, "/health", &[]).await.status, 200);
    let socket = TcpStream::connect(gateway.public_tls()).await.unwrap();
    let tls = certificate.connect(socket, &["http/1.1"]).await.unwrap();
    let health = http::written("GET", "/_rig/health", &[], b"");
    assert_eq!(http::raw_over(tls, &health).await.status, 200);
    gateway.stop().await;
}

pub async fn with_either(kafka: &Kafka) {
    let (certificate, authority) = (Certificate::new(), Authority::new());
    let settings = certificate
        .on(Settings::new(kafka))
        .with("API_TOKEN", TOKEN)
        .with("API_CLIENT_CA_FILE", authority.file());
    let gateway = Gateway::with(settings).await;
    let bearer = format!("Bearer {TOKEN}");
    let with_token = [("authorization", bearer.as_str())];
    let known = authority.client(2100);
    for (client, headers, status) in [
        (None, &[][..], 401),
        (None, &with_token[..], 200),
        (Some(&known), &[], 200),
        (Some(&known), &[("authorization", "Bearer wrong")], 200),
    ] {
        let answer = ask(&gateway, &certificate, client, ("/metrics", false), headers).await;
        assert_eq!(answer.unwrap().status, status);
    }
    assert_eq!(get(&gateway, "/metrics", &with_token).await.status, 200);
    asks(&get(&gateway, "/metrics", &[]).await);
    gateway.stop().await;
}

/// Where nothing is set, nothing is asked; on loopback there is nothing to warn of.
pub async fn and_warns_where_anybody_may_come(kafka: &Kafka) {
    const WARNING: &str = "the internal port is not on loopback";
    for (address, token, warns) in [
        ("127.0.0.1", "", false),
        ("0.0.0.0", "", true),
        ("0.0.0.0", TOKEN, false),
    ] {
        let settings = settings(kafka)
            .with("INBOUND_BIND_ADDRESS", "127.0.0.1")
            .with("API_BIND_ADDRESS", address)
            .with("API_TOKEN", token);
        let process = Process::start_unready(&settings);
        process.ready().await;
        let healthy = run(&settings, &["healthcheck"], http::PATIENCE).await;
        assert_eq!(healthy.status.code(), Some(0), "{address}");
        let expected = if token.is_empty() { 200 } else { 401 };
        assert_eq!(process.status("/metrics").await, expected);
        // The warning comes before this line.
        eventually("the log is written", async || {
            process.log().contains("ready address=")
        })
        .await;
        let log = process.log();
        assert_eq!(log.contains(WARNING), warns, "{address}: {log}");
        assert!(!log.contains(TOKEN));
    }
}

pub async fn unless_its_settings_are_of_no_use() {
    let certificate = Certificate::new();
    let good = certificate.on(settings_embedded());
    let key = certificate.key();
    for (settings, part) in [
        (
            settings_embedded().with("API_CLIENT_CA_FILE", "ca.pem"),
            "API_CLIENT_CA_FILE is set, but HTTPS_CERTFILE is not",
        ),
        (
            good.clone().with("API_CLIENT_CA_FILE", "/no/such/ca.pem"),
            "API_CLIENT_CA_FILE: cannot read /no/such/ca.pem",
        ),
        (
            good.clone()
                .with("API_CLIENT_CA_FILE", key.to_str().unwrap()),
            "has no certificate in PEM",
        ),
        (
            settings_embedded().with("API_TOKEN", "hidden words"),
            "environment variable API_TOKEN: the secret is not valid: expected visible ASCII",
        ),
        (
            settings_embedded().with("TRUSTED_PROXIES", "10.0.0.0/8,proxy.example"),
            "expected addresses or networks such as 192.0.2.7 or 10.0.0.0/8, not \"proxy.example\"",
        ),
    ] {
        let output = run(&settings, &["check-config"], http::PATIENCE).await;
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(part) && !text.contains("hidden"), "{text}");
    }
    let settings = settings_embedded().with("API_TOKEN", TOKEN);
    let output = run(&settings, &["check-config"], http::PATIENCE).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("api_token = \"(secret)\"") && !text.contains("hidden"),
        "{text}"
    );
}
