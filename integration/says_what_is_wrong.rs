//! The program as operators meet it: bad settings, taken ports, and the commands that check.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::certificates::Certificate;
use crate::support::gateway::Settings;
use crate::support::program::{Process, run, settings_embedded};

/// How long it may take to refuse the settings.
const AT_ONCE: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(20);

/// Asserts that the text is one line, and returns it.
fn one_line(stderr: &[u8]) -> &str {
    let text = std::str::from_utf8(stderr).unwrap();
    let line = text.strip_suffix('\n').expect("a whole line");
    assert!(
        line.starts_with("sluicegate: ") && !line.contains('\n'),
        "{text}"
    );
    line
}

pub async fn in_settings() {
    for (name, value) in [
        ("INBOUND_PORT", "many"),
        ("INBOUND_PORT", "70000"),
        ("API_BIND_ADDRESS", "nowhere"),
        ("KAFKA_BROKERS", "a b:c"),
        ("KAFKA_SOURCE_TOPICS", "a b"),
        ("KAFKA_SASL", "plain:hunter2"),
        ("KAFKA_PROPERTIES", "no.such.property=1"),
        ("KAFKA_PROPERTIES", "nonsense"),
        ("EXTRACTORS", "{"),
        ("EXTRACTORS", "/no/such/file"),
        ("OUTBOX_BYTES", "-1"),
        ("REPLAY_RING_BYTES", "1KiB"),
        ("HEARTBEAT_INTERVAL", "1ms"),
        ("SHUTDOWN_GRACE", "soon"),
        ("LOG_LEVEL", "loud"),
        ("CLUSTER_NAME", "a b"),
        ("SLUICEGATE_CONFIG", "/no/such/file"),
        ("HTTPS_CERTFILE", "cert.pem"),
        ("HTTPS_KEYFILE", "key.pem"),
        ("INBOUND_HTTPS_PORT", "70000"),
    ] {
        let output = run(&Settings::empty().with(name, value), &[], AT_ONCE).await;
        let line = one_line(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {line}");
        assert!(line.contains(name), "{name}={value}: {line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
    let output = run(&Settings::empty(), &["--no-such-flag"], AT_ONCE).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--no-such-flag"));
}

pub async fn with_certificates() {
    let (certificate, other) = (Certificate::new(), Certificate::new());
    let good = certificate.on(Settings::empty());
    for (settings, part) in [
        (
            good.clone().with("HTTPS_CERTFILE", "/no/such/cert.pem"),
            "HTTPS_CERTFILE: cannot read /no/such/cert.pem",
        ),
        (
            good.clone()
                .with("HTTPS_KEYFILE", other.key().to_str().unwrap()),
            "KeyMismatch",
        ),
        (
            good.clone()
                .with("HTTPS_KEYFILE", certificate.chain().to_str().unwrap()),
            "has no private key in PEM",
        ),
    ] {
        for arguments in [&[][..], &["check-config"]] {
            let output = run(&settings, arguments, AT_ONCE).await;
            let line = one_line(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{line}");
            assert!(line.contains(part), "{line}");
        }
    }
    let good = good.with("HTTPS_KEYFILE_PASS", "hidden");
    let output = run(&good, &["check-config"], AT_ONCE).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("https_keyfile_pass = \"(secret)\""), "{text}");
}

pub async fn with_ports() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for name in ["INBOUND_PORT", "API_HTTP_PORT", "EMBEDDED_KAFKA_PORT"] {
        let settings = settings_embedded()
            .with("INBOUND_BIND_ADDRESS", "127.0.0.1")
            .with(name, address.port().to_string());
        let output = run(&settings, &[], SOON).await;
        let line = one_line(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {line}");
        assert!(line.contains(&address.to_string()), "{name}: {line}");
        drop(std::fs::remove_dir_all(settings.get("DATA_DIR")));
    }
}

pub async fn but_never_a_secret() {
    let settings = Settings::empty()
        .with("NODE_COOKIE", "hidden-cookie-of-many-letters")
        .with("KAFKA_BROKERS", "127.0.0.1:1")
        .with("KAFKA_SASL", "plain:somebody:hidden-password")
        .with("KAFKA_SSL_KEYFILE_PASS", "hidden-pass")
        .with("KAFKA_PROPERTIES", "sasl.password=hidden-too,client.id=me")
        .with("INBOUND_PORT", "4321");
    let output = run(&settings, &["check-config"], AT_ONCE).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(output.stderr.is_empty());
    assert!(
        text.contains("inbound_port = \"4321\"  # environment variable INBOUND_PORT"),
        "{text}"
    );
    assert!(
        text.contains("api_http_port = \"4010\"  # default"),
        "{text}"
    );
    assert!(text.contains("node_cookie = \"(secret)\""), "{text}");
    assert!(!text.contains("hidden"), "{text}");
}

pub async fn to_a_health_check() {
    let settings = settings_embedded();
    let unhealthy = run(&settings, &["healthcheck"], SOON).await;
    assert_eq!(unhealthy.status.code(), Some(1));
    one_line(&unhealthy.stderr);
    let process = Process::start(&settings).await;
    let healthy = run(&settings, &["healthcheck"], SOON).await;
    assert_eq!(healthy.status.code(), Some(0));
    assert!(healthy.stderr.is_empty());
    drop(process);
    std::fs::remove_dir_all(settings.get("DATA_DIR")).unwrap();
}
