//! Backends that answer badly: their clients are told so, and nobody else notices.

use std::time::Duration;

use crate::forwards_requests::with_tls;
use crate::support::fetch::{Cut, in_time};
use crate::support::gateway::{Gateway, Settings};
use crate::support::kafka::Kafka;
use crate::support::program::{self, Process};
use crate::support::routes::all_below;
use crate::support::upstream::{Caller, Upstream};
use crate::support::ways::{Client, Way};

/// Answers that are no answer, or two.
const MALFORMED: [&str; 34] = [
    "200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "200 OK\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "200 OK\r\ntransfer-encoding: identity\r\n\r\nok",
    "200 OK\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "200 OK\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "200 OK\r\ncontent-length: 2\r\ncontent-length: 20\r\n\r\nok",
    "200 OK\r\ncontent-length: 2, 20\r\n\r\nok",
    "200 OK\r\ncontent-length: +2\r\n\r\nok",
    "200 OK\r\ncontent-length: -2\r\n\r\nok",
    "200 OK\r\ncontent-length: 0x2\r\n\r\nok",
    "200 OK\r\ncontent-length:\r\n\r\nok",
    "200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok",
    "200 OK\r\na: b\r\n content-length: 2\r\n\r\nok",
    "200 OK\r\na b: c\r\ncontent-length: 2\r\n\r\nok",
    "200 OK\r\na: b\0c\r\ncontent-length: 2\r\n\r\nok",
    "200 OK\r\na: b\rset-cookie: evil=1\r\ncontent-length: 2\r\n\r\nok",
    "200 OK\r\n: b\r\ncontent-length: 2\r\n\r\nok",
    "200 OK\r\na\r\ncontent-length: 2\r\n\r\nok",
    "101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "101 Switching Protocols\r\n\r\n",
    "101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "099 No\r\ncontent-length: 2\r\n\r\nok",
    "1000 No\r\ncontent-length: 2\r\n\r\nok",
    "2x0 No\r\ncontent-length: 2\r\n\r\nok",
    "-200 No\r\ncontent-length: 2\r\n\r\nok",
    "\r\ncontent-length: 2\r\n\r\nok",
    "200 O\rK\r\ncontent-length: 2\r\n\r\nok",
    "200 O\0K\r\ncontent-length: 2\r\n\r\nok",
    "100 Continue\r\n\r\n",
    "103 Early Hints\r\nlink: </a>\r\n\r\n",
    "200 OK",
];

/// Other bytes in place of an answer.
const JUNK: [&str; 6] = [
    "\0\0\0\0\r\n\r\n",
    "<html>no</html>",
    "HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "ICY 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

/// Answers well below `/good`, else with the malformed answer of this number.
async fn misbehave(mut caller: Caller) {
    while let Some(sent) = caller.request().await {
        let number: Option<usize> = sent.target().rsplit('/').next().unwrap().parse().ok();
        let bad = number.map(|number| match MALFORMED.get(number) {
            Some(answer) => format!("HTTP/1.1 {answer}"),
            None => JUNK[number - MALFORMED.len()].to_owned(),
        });
        match bad {
            Some(bad) => {
                caller.write(bad.as_bytes()).await;
                return;
            }
            None => {
                caller
                    .write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood")
                    .await
            }
        };
    }
}

async fn is_well(client: &Client<'_>, what: &str) {
    let answer = client.public("GET", "/good", &[], b"").await;
    assert_eq!(
        (answer.status, answer.text()),
        (200, "good"),
        "after {what:?}"
    );
}

/// What others could read otherwise, or not at all, is not passed on.
pub async fn that_is_malformed(kafka: &Kafka) {
    let upstream = Upstream::playing(misbehave).await;
    let settings = Settings::routing(kafka, &[all_below("a", "", &[upstream.url()])]);
    let (gateway, certificate) = with_tls(settings).await;
    for way in [Way::Plain, Way::Http2] {
        let client = Client::new(way, &certificate, &gateway);
        for (number, bad) in MALFORMED.iter().chain(&JUNK).enumerate() {
            let answer = client.public("POST", &format!("/{number}"), &[], b"").await;
            assert_eq!(answer.status, 502, "{way:?} {bad:?}: {}", answer.text());
            assert_eq!(answer.header("set-cookie"), None, "{bad:?}");
            is_well(&client, bad).await;
        }
    }
    gateway.stop().await;
}

/// What comes behind an answer, at once or later, is not the answer to anybody's next request.
pub async fn beyond_its_end(kafka: &Kafka) {
    const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-evil: 1\r\n\r\nevil";
    /// What answers, and whether the evil comes later.
    const ANSWERS: [(&str, &str, bool); 10] = [
        ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nok", false),
        ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nok", true),
        ("GET", "200 OK\r\ncontent-length: 0\r\n\r\n", false),
        (
            "GET",
            "200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            false,
        ),
        (
            "GET",
            "200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            true,
        ),
        ("GET", "204 No Content\r\ncontent-length: 52\r\n\r\n", false),
        (
            "GET",
            "304 Not Modified\r\ncontent-length: 52\r\n\r\n",
            false,
        ),
        ("HEAD", "200 OK\r\ncontent-length: 52\r\n\r\n", false),
        ("HEAD", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n", true),
        (
            "GET",
            "200 OK\r\ncontent-length: 2\r\n\r\nok\r\n\r\n",
            false,
        ),
    ];
    let (closed, mut closes) = tokio::sync::mpsc::channel(1);
    let upstream = Upstream::playing(move |mut caller| {
        let closed = closed.clone();
        async move {
            while let Some(sent) = caller.request().await {
                let number: Option<usize> = sent.target()[1..].parse().ok();
                let Some(number) = number else {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";
                    caller.write(answer).await;
                    continue;
                };
                let (_, answer, is_later) = ANSWERS[number];
                caller.write(format!("HTTP/1.1 {answer}").as_bytes()).await;
                if is_later {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                caller.write(EVIL.as_bytes()).await;
                // Nobody asks anything more of such a backend on this connection.
                let next = caller.request().await;
                closed.send(next.is_none()).await.unwrap();
            }
        }
    })
    .await;
    let settings = Settings::routing(kafka, &[all_below("a", "", &[upstream.url()])]);
    let (gateway, certificate) = with_tls(settings).await;
    for way in [Way::Plain, Way::Http2] {
        let client = Client::new(way, &certificate, &gateway);
        for (number, (method, bad, _)) in ANSWERS.iter().enumerate() {
            let mut answer = client.fetch(method, &format!("/{number}"), &[], b"").await;
            assert_ne!(answer.status, 502, "{way:?} {bad:?}");
            assert_eq!(answer.header("x-evil"), None, "{way:?} {bad:?}");
            let body = answer.whole().await.unwrap();
            assert!(
                [&b""[..], b"ok"].contains(&&*body),
                "{way:?} {bad:?}: {body:?}"
            );
            assert!(in_time(closes.recv()).await.unwrap(), "{way:?} {bad:?}");
            for _ in 0..3 {
                is_well(&client, bad).await;
            }
        }
    }
    gateway.stop().await;
}

/// An answer that nobody has asked for yet is nobody's.
pub async fn before_it_is_asked(kafka: &Kafka) {
    let upstream = Upstream::playing(|mut caller| async move {
        caller
            .write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly")
            .await;
        if caller.head().await.is_some() {
            caller
                .write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
                .await;
        }
        caller.ended().await;
    })
    .await;
    let well = Upstream::echoing().await;
    let apis = [
        all_below("early", "/early", &[upstream.url()]),
        all_below("well", "", &[well.url()]),
    ];
    let gateway = Gateway::with(Settings::routing(kafka, &apis)).await;
    for _ in 0..10 {
        let target = "/early/a";
        let answer =
            crate::support::http::request(gateway.public(), "POST", target, &[], b"").await;
        // Whether it came before the request did, both ends may see differently.
        assert!([200, 502].contains(&answer.status), "{}", answer.status);
        assert_ne!(answer.body, b"late");
        let answer = crate::support::http::request(gateway.public(), "POST", "/a", &[], b"x").await;
        assert_eq!(answer.text(), "x");
    }
    gateway.stop().await;
}

/// What never ends is ended, and takes no memory.
pub async fn without_end(kafka: &Kafka) {
    let upstream = Upstream::playing(|mut caller| async move {
        let Some(sent) = caller.request().await else {
            return;
        };
        let (begin, more) = match &sent.target()[1..] {
            "header" => ("HTTP/1.1 200 OK\r\nx: ", "y".repeat(1 << 16)),
            "headers" => ("HTTP/1.1 200 OK\r\n", "x: y\r\n".repeat(10_000)),
            "reason" => ("HTTP/1.1 200 ", "y".repeat(1 << 16)),
            "interim" => (
                "",
                "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(1_000),
            ),
            "continue" => ("", "HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000)),
            "extension" => (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;",
                "y".repeat(1 << 16),
            ),
            "trailers" => (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
                "x: y\r\n".repeat(10_000),
            ),
            other => panic!("{other}"),
        };
        caller.write(begin.as_bytes()).await;
        // Until nobody takes it any more.
        while caller.write(more.as_bytes()).await {}
    })
    .await;
    let well = Upstream::echoing().await;
    let apis = [
        all_below("well", "/well", &[well.url()]),
        all_below("a", "", &[upstream.url()]),
    ];
    let settings = program::settings(kafka)
        .with("PROXY_CONFIG_FILE", serde_json::json!(apis).to_string())
        .with("PROXY_RECV_TIMEOUT", "1000");
    let process = Process::start(&settings).await;
    let send = async |target: &str| {
        let socket = tokio::net::TcpStream::connect(process.public)
            .await
            .unwrap();
        let bytes = crate::support::http::written("POST", target, &[], b"");
        let mut socket: Box<dyn crate::support::sse::Link> = Box::new(socket);
        tokio::io::AsyncWriteExt::write_all(&mut socket, &bytes)
            .await
            .unwrap();
        in_time(crate::support::fetch::Fetched::read(socket, false)).await
    };
    assert_eq!(send("/well/a").await.status, 200);
    let before = process.resident_bytes();
    for (target, statuses) in [
        ("/header", &[502][..]),
        ("/headers", &[502]),
        ("/reason", &[502]),
        ("/interim", &[502, 504]),
        ("/continue", &[502, 504]),
        ("/extension", &[200]),
        ("/trailers", &[200]),
    ] {
        let mut answer = send(target).await;
        assert!(
            statuses.contains(&answer.status),
            "{target}: {}",
            answer.status
        );
        if answer.status == 200 {
            assert_eq!(answer.whole().await, Err(Cut), "{target}");
        }
        assert_eq!(send("/well/a").await.status, 200, "after {target}");
    }
    let grown = process.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "it takes {} KiB more", grown / 1024);
}
