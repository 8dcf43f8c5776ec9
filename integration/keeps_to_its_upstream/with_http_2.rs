//! Attacks in frames of HTTP/2, which become HTTP/1.1 for the backend (RFC 9113, 8.2 and 10.3).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Ground;
use crate::support::fetch::in_time;
use crate::support::kafka::Kafka;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [
        length[1], length[2], length[3], kind, flags, 0, 0, 0, stream,
    ];
    [&head, payload].concat()
}

/// Writes fields as they are (RFC 7541, 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let length = u8::try_from(text.len()).unwrap();
            assert!(length < 127, "lengths of one byte");
            block.push(length);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// What becomes of a request: a status of the table of HPACK, or nothing.
async fn outcome(ground: &Ground, fields: &[(&str, &str)], body: Option<&[u8]>) -> Option<u16> {
    let mut socket = TcpStream::connect(ground.gateway.public()).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    let flags = if body.is_none() {
        END_HEADERS | END_STREAM
    } else {
        END_HEADERS
    };
    bytes.extend(frame(HEADERS, flags, 1, &block(fields)));
    if let Some(body) = body {
        bytes.extend(frame(DATA, END_STREAM, 1, body));
    }
    socket.write_all(&bytes).await.unwrap();
    in_time(async {
        loop {
            let mut head = [0; 9];
            if socket.read_exact(&mut head).await.is_err() {
                return None;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            socket.read_exact(&mut payload).await.unwrap();
            match head[3] {
                RST_STREAM | GOAWAY => return None,
                HEADERS => {
                    let statuses = [200, 204, 206, 304, 400, 404, 500];
                    // Others are literals.
                    let at = payload[0].wrapping_sub(0x88);
                    return Some(statuses.get(usize::from(at)).copied().unwrap_or(1));
                }
                _ => {}
            }
        }
    })
    .await
}

const PLAIN: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a"),
    (":authority", "a"),
];

/// Returns a plain request with these fields in place of its own, or in addition.
fn with<'a>(changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = PLAIN.into_iter().map(|(name, value)| {
        let new = changed.iter().find(|(new, _)| *new == name);
        new.copied().unwrap_or((name, value))
    });
    let is_new = |(name, _): &&(&str, &str)| !PLAIN.iter().any(|(known, _)| known == name);
    kept.chain(changed.iter().filter(is_new).copied()).collect()
}

/// What would be something else in HTTP/1.1 is not let through.
pub async fn whatever_its_fields_are(kafka: &Kafka) {
    let ground = Ground::new(kafka).await;
    assert_eq!(outcome(&ground, &PLAIN, None).await, Some(200));
    assert_eq!(ground.upstream.one().line(), "POST /a HTTP/1.1");
    for changed in [
        &[(":path", "/a HTTP/1.1\r\nhost: b\r\n\r\nGET /smuggled")][..],
        &[(":path", "/a\r\nx: y")],
        &[(":path", "/a b")],
        &[(":path", "/a\n")],
        &[(":path", "/a\0")],
        &[(":path", "//trap/a")],
        &[(":path", "/../a")],
        &[(":path", "/..%2fa")],
        &[(":path", "a")],
        &[(":path", "")],
        &[(":path", "*")],
        &[(":path", "http://trap/a")],
        &[(":path", "@trap/a")],
        &[(":method", "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\nPOST")],
        &[(":method", "PO ST")],
        &[(":method", "")],
        &[(":scheme", "http://trap/?")],
        &[(":authority", "a@trap")],
        &[(":authority", "trap/x")],
        &[(":authority", "a\r\nx: y")],
        &[("host", "trap")],
        &[("x", "a\r\nhost: trap")],
        &[("x", "a\nb")],
        &[("x", "a\rb")],
        &[("x", "a\0b")],
        &[("x\r\ny", "a")],
        &[("x y", "a")],
        &[("x:", "a")],
        &[("X", "a")],
        &[("", "a")],
        &[("transfer-encoding", "chunked")],
        &[("connection", "close")],
        &[("upgrade", "h2c")],
        &[("keep-alive", "1")],
        &[("proxy-connection", "close")],
        &[("te", "gzip")],
        &[("content-length", "5")],
        &[("content-length", "0"), ("content-length", "4")],
        &[("content-length", "+4")],
        &[("content-length", "4, 4")],
        &[(":status", "200")],
        &[(":unknown", "a")],
        &[("x", "y"), (":path", "/late")],
    ] {
        let mut fields = with(changed);
        if changed[0].0 == "x" && changed.len() == 2 {
            // A pseudo field behind others.
            fields = PLAIN
                .iter()
                .copied()
                .chain(changed.iter().copied())
                .collect();
        }
        let outcome = outcome(&ground, &fields, Some(b"body")).await;
        assert!(
            [None, Some(400), Some(404)].contains(&outcome),
            "{changed:?}: {outcome:?}"
        );
        let seen = ground.upstream.take();
        assert!(seen.is_empty(), "{changed:?}: {seen:?}");
        ground.is_clean(&format!("{changed:?}")).await;
    }
    ground.gateway.stop().await;
}

/// What is not forbidden goes on as one request, framed anew.
pub async fn whatever_its_body_is(kafka: &Kafka) {
    let ground = Ground::new(kafka).await;
    let hidden = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    for changed in [
        &[][..],
        &[("content-length", "40")],
        &[("te", "trailers")],
        &[(":scheme", "https")],
        &[(":authority", "trap:80")],
        &[("expect", "100-continue")],
    ] {
        for method in ["POST", "GET", "DELETE"] {
            let mut fields = with(changed);
            fields[0].1 = method;
            let outcome = outcome(&ground, &fields, Some(hidden)).await;
            assert_eq!(outcome, Some(200), "{method} {changed:?}");
            let sent = ground.upstream.one();
            assert_eq!(sent.line(), format!("{method} /a HTTP/1.1"), "{changed:?}");
            assert_eq!(sent.body, hidden, "{method} {changed:?}");
            let own = ground.upstream.address().to_string();
            assert_eq!(sent.header("host"), Some(&*own), "{changed:?}");
            ground.is_clean(&format!("{method} {changed:?}")).await;
        }
    }
    ground.gateway.stop().await;
}
