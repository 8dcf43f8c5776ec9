//! Each known attack on signed tokens, at every door of a running instance: refused with a 401, and the
//! instance goes on.
//!
//! RFC 8725 and RFC 7515 name most of them; the others are what scanners try.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::doors::{Caller, Door, Shown};
use crate::support::forger::{
    assert_alive, assert_refused, claiming, encode, good, sealed, with_header,
};
use crate::support::gateway::{Gateway, Settings};
use crate::support::kafka::Kafka;
use crate::support::tokens::{SECRET, in_seconds, token};

/// How a head is refused that is too large to be read.
const TOO_LARGE: [u16; 4] = [400, 401, 414, 431];

fn nested(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

pub async fn whatever_their_algorithm_and_signature(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::guarded(kafka)).await;
    let real = token("alice", "a1");
    let (message, signature) = real.rsplit_once('.').unwrap();
    let mut forged = Vec::new();
    for alg in [
        "none", "None", "NONE", "nOnE", " none", "none\0", "", "HS", "hs256", "HS256 ",
    ] {
        let header = json!({ "typ": "JWT", "alg": alg }).to_string();
        let message = format!("{}.{}", encode(header), encode(good()));
        forged.push(("alg none, without a signature", format!("{message}.")));
        forged.push((
            "alg none, with a signature",
            format!("{message}.{signature}"),
        ));
    }
    for (attack, header) in [
        ("no alg", r#"{"typ":"JWT"}"#),
        ("alg null", r#"{"alg":null}"#),
        ("a list of alg", r#"{"alg":["HS256"]}"#),
        ("two alg, none first", r#"{"alg":"none","alg":"HS256"}"#),
        ("two alg, none last", r#"{"alg":"HS256","alg":"none"}"#),
        (
            "an encrypted token's alg",
            r#"{"alg":"dir","enc":"A128GCM"}"#,
        ),
        ("no object", r#""HS256""#),
    ] {
        let secret = SECRET.as_bytes();
        forged.push((attack, sealed(header, good(), secret, Algorithm::HS256)));
    }
    for (attack, algorithm, name) in [
        ("HS384 with the right secret", Algorithm::HS384, "HS384"),
        ("HS512 with the right secret", Algorithm::HS512, "HS512"),
        ("HS384 that says HS256", Algorithm::HS384, "HS256"),
        ("HS256 that says HS384", Algorithm::HS256, "HS384"),
        ("HS256 that says RS256", Algorithm::HS256, "RS256"),
        ("HS256 that says ES256", Algorithm::HS256, "ES256"),
    ] {
        let header = json!({ "typ": "JWT", "alg": name }).to_string();
        forged.push((attack, sealed(header, good(), SECRET.as_bytes(), algorithm)));
    }
    let mut altered = signature.to_owned().into_bytes();
    altered[10] = if altered[10] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).unwrap();
    let header = r#"{"typ":"JWT","alg":"HS256"}"#;
    for (attack, token) in [
        ("an empty signature", format!("{message}.")),
        (
            "a short signature",
            format!("{message}.{}", &signature[..8]),
        ),
        (
            "half a signature",
            format!("{message}.{}", &signature[..22]),
        ),
        ("an altered signature", format!("{message}.{altered}")),
        (
            "a signature of zeros",
            format!("{message}.{}", encode([0; 32])),
        ),
        ("a signature with more", format!("{real}AAAA")),
        ("a signature with padding", format!("{real}=")),
        (
            "a signature of the message twice",
            format!("{real}{signature}"),
        ),
        (
            "another alphabet",
            format!(
                "{message}.{}",
                STANDARD.encode([0xff; 32]).trim_end_matches('=')
            ),
        ),
        (
            "somebody else's claims",
            format!(
                "{}.{}.{signature}",
                encode(header),
                encode(good().replace("alice", "bob"))
            ),
        ),
        (
            "a foreign secret",
            sealed(
                header,
                good(),
                b"another secret of some length...",
                Algorithm::HS256,
            ),
        ),
        (
            "an empty secret",
            sealed(header, good(), b"", Algorithm::HS256),
        ),
        (
            "a weak secret",
            sealed(header, good(), b"secret", Algorithm::HS256),
        ),
        ("only a payload", encode(good())),
        ("two parts", message.to_owned()),
        ("four parts", format!("{real}.{signature}")),
        ("dots", "..".to_owned()),
        ("no token", "alice".to_owned()),
        (
            "a token as JSON",
            json!({ "payload": encode(good()), "signatures": [] }).to_string(),
        ),
    ] {
        forged.push((attack, token));
    }
    assert_refused(&gateway, &forged, &real).await;
    let refused = gateway
        .metric("sluicegate_refused_tokens_total", "algorithm")
        .await;
    assert!(refused > 10.0, "{refused}");
    gateway.stop().await;
}

pub async fn whatever_they_claim(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::guarded(kafka)).await;
    let (past, future) = (in_seconds(-1), in_seconds(3_600));
    let deep = format!(r#"{{"exp":{future},"a":{}}}"#, nested(5_000));
    let mut forged: Vec<(&str, String)> = Vec::new();
    for (attack, claims) in [
        ("no exp", json!({ "sub": "alice" }).to_string()),
        (
            "exp of text",
            json!({ "exp": future.to_string() }).to_string(),
        ),
        ("exp null", r#"{"exp":null}"#.to_owned()),
        ("exp true", r#"{"exp":true}"#.to_owned()),
        ("exp in a list", json!({ "exp": [future] }).to_string()),
        ("exp NaN", r#"{"exp":NaN}"#.to_owned()),
        ("exp infinite", r#"{"exp":1E400}"#.to_owned()),
        (
            "two exp, of which the last counts",
            format!(r#"{{"exp":{future},"exp":{past}}}"#),
        ),
        ("exp just over", json!({ "exp": past }).to_string()),
        ("exp 0", r#"{"exp":0}"#.to_owned()),
        ("exp negative", r#"{"exp":-1}"#.to_owned()),
        (
            "nbf in the future",
            json!({ "exp": future, "nbf": future }).to_string(),
        ),
        (
            "nbf of text",
            json!({ "exp": future, "nbf": "0" }).to_string(),
        ),
        ("a list", format!("[{}]", good())),
        ("a text", r#""alice""#.to_owned()),
        ("no payload", String::new()),
        ("half a payload", good()[..20].to_owned()),
        ("a payload and more", format!("{}{}", good(), good())),
        ("a deep payload", deep),
        (
            "a payload with a byte order mark",
            format!("\u{feff}{}", good()),
        ),
    ] {
        forged.push((attack, claiming(claims)));
    }
    for (attack, bytes) in [
        ("a byte that is no UTF-8", &b"\xff"[..]),
        ("an overlong slash", b"\xc0\xaf"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("a bare NUL", b"\0"),
        ("a bare line break", b"\n"),
    ] {
        let claims = [br#"{"sub":""#, bytes, br#"","exp":"#].concat();
        forged.push((
            attack,
            claiming([&claims, future.to_string().as_bytes(), b"}"].concat()),
        ));
    }
    assert_refused(&gateway, &forged, &token("alice", "a1")).await;
    gateway.stop().await;
}

/// Counts who connects to it.
async fn trap() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let caught = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&caught);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (url, caught)
}

pub async fn whatever_key_their_header_asks_for(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::guarded(kafka)).await;
    let (url, caught) = trap().await;
    let mut forged = Vec::new();
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "/etc/passwd",
        "..\\..\\secret",
        "file:///dev/null",
        &url,
        "x' UNION SELECT 'secret",
        "1; DROP TABLE keys",
        "$(touch forged)`id`",
        "a|id",
        "a\0b",
        "a\r\nb: c",
    ] {
        forged.push(("a kid", with_header(json!({ "kid": kid }))));
        let header = json!({ "alg": "HS256", "kid": kid }).to_string();
        // What the file, the query or the URL may give.
        for secret in [&b""[..], b"secret"] {
            let token = sealed(&header, good(), secret, Algorithm::HS256);
            forged.push(("a kid with a secret of its own", token));
        }
    }
    for kid in [
        json!(7),
        json!(null),
        json!(["a"]),
        json!("k".repeat(2_000)),
    ] {
        forged.push(("a kid that is no name", with_header(json!({ "kid": kid }))));
    }
    let jwk = json!({ "kty": "oct", "k": encode("secret") });
    let header = json!({ "alg": "HS256", "jwk": jwk }).to_string();
    forged.push((
        "a jwk, signed with it",
        sealed(header, good(), b"secret", Algorithm::HS256),
    ));
    for members in [
        json!({ "jku": url }),
        json!({ "jku": "file:///etc/passwd" }),
        json!({ "x5u": url }),
        json!({ "x5c": ["MIIB"] }),
        json!({ "jwk": jwk }),
    ] {
        forged.push(("a key of its own", with_header(members)));
    }
    for members in [
        json!({ "crit": ["exp"], "exp": in_seconds(60) }),
        json!({ "crit": ["unknown"], "unknown": 1 }),
        json!({ "crit": [] }),
        json!({ "crit": "b64" }),
        json!({ "b64": false, "crit": ["b64"] }),
        json!({ "b64": false }),
        json!({ "b64": true }),
    ] {
        forged.push(("what is critical", with_header(members)));
    }
    let deep = format!(r#"{{"alg":"HS256","a":{}}}"#, nested(5_000));
    let secret = SECRET.as_bytes();
    forged.push((
        "a deep header",
        sealed(deep, good(), secret, Algorithm::HS256),
    ));
    assert_refused(&gateway, &forged, &with_header(json!({ "kid": "key-1" }))).await;
    assert_eq!(
        caught.load(Ordering::Relaxed),
        0,
        "nobody was asked for a key"
    );
    gateway.stop().await;
}

pub async fn signed_with_a_public_key(kafka: &Kafka) {
    let pair = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let pem = pair.public_key_pem();
    let settings = Settings::guarded(kafka).with("JWT_SECRET_KEY", &pem);
    let gateway = Gateway::with(settings).await;
    let lines: Vec<&str> = pem.trim().lines().collect();
    let body = lines[1..lines.len() - 1].concat();
    let der = STANDARD.decode(&body).unwrap();
    // The modulus follows its length in the inner sequence: 257 bytes with the sign.
    let start = der
        .windows(4)
        .position(|four| four == [2, 0x82, 1, 1])
        .unwrap()
        + 4;
    let modulus = &der[start..start + 257];
    let secrets: [(&str, Vec<u8>); 9] = [
        ("PEM", pem.clone().into_bytes()),
        (
            "PEM without the last line break",
            pem.trim().as_bytes().to_vec(),
        ),
        ("PEM with CRLF", lines.join("\r\n").into_bytes()),
        (
            "PEM with CRLF and the last one",
            format!("{}\r\n", lines.join("\r\n")).into_bytes(),
        ),
        ("PEM on one line", lines.concat().into_bytes()),
        ("base64", body.into_bytes()),
        ("DER", der.clone()),
        ("the modulus", modulus.to_vec()),
        ("the modulus without sign", modulus[1..].to_vec()),
    ];
    let mut forged = Vec::new();
    for (form, secret) in &secrets {
        for (algorithm, name) in [
            (Algorithm::HS256, "HS256"),
            (Algorithm::HS384, "HS384"),
            (Algorithm::HS512, "HS512"),
            (Algorithm::HS256, "RS256"),
        ] {
            let header = json!({ "typ": "JWT", "alg": name }).to_string();
            forged.push((*form, sealed(header, good(), secret, algorithm)));
        }
    }
    let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
    let with_key = |algorithm: Algorithm| {
        let claims: Value = serde_json::from_str(&good()).unwrap();
        jsonwebtoken::encode(&jsonwebtoken::Header::new(algorithm), &claims, &key).unwrap()
    };
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        forged.push(("an algorithm that is not the key's", with_key(algorithm)));
    }
    assert_refused(&gateway, &forged, &with_key(Algorithm::RS256)).await;
    gateway.stop().await;
}

pub async fn that_are_too_large_or_no_text(kafka: &Kafka) {
    let gateway = Gateway::with(Settings::guarded(kafka)).await;
    let callers = [Caller::new(gateway.public()).await];
    let claims = format!(
        r#"{{"exp":{},"a":"{}"}}"#,
        in_seconds(3_600),
        "a".repeat(20_000)
    );
    let huge = claiming(claims);
    for door in Door::ALL {
        for (attack, shown) in [
            ("a huge token", Shown::bearer(&huge)),
            ("a huge token in the query", Shown::query("jwt", &huge)),
            ("a token of a megabyte", Shown::bearer("a".repeat(1 << 20))),
            ("50,000 dots", Shown::bearer(".".repeat(50_000))),
            (
                "50,000 dots in the query",
                Shown::query("jwt", &".".repeat(50_000)),
            ),
            ("bytes that are no UTF-8", Shown::bearer(b"a.\xff\xfe.c")),
            ("NUL", Shown::bearer(b"a.\0.c")),
            ("NUL in the query", Shown::query("jwt", "a.\0.c")),
            ("NUL in the cookie", Shown::cookie("a.\0.c")),
            (
                "bytes that are no UTF-8 in a sub-protocol",
                Shown::header("sec-websocket-protocol", b"bearer.\xff, cloudevents.json"),
            ),
            (
                "bytes that are no UTF-8 in the query",
                Shown::raw_query("jwt=a.%ff.c"),
            ),
        ] {
            let answer = callers[0].knock(door, &shown).await;
            let is_refused = TOO_LARGE.contains(&answer.status);
            assert!(is_refused, "{attack} at {door:?}: {answer:?}");
        }
    }
    assert_alive(&callers, &token("alice", "a1")).await;
    gateway.stop().await;
}
