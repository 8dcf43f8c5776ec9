//! TLS and HTTP/2: every behaviour that clients know from plain HTTP/1.1, and what belongs to these alone.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::support::certificates::Certificate;
use crate::support::gateway::{Gateway, Settings, event, eventually, keyed, query};
use crate::support::h2::{Http2, request};
use crate::support::http::PATIENCE;
use crate::support::kafka::Kafka;
use crate::support::sse::Sse;
use crate::support::ways::{Client, Way};

/// An instance with TLS ports, and its certificate.
async fn start(kafka: &Kafka) -> (Gateway, Certificate) {
    with(Settings::new(kafka)).await
}

async fn with(settings: Settings) -> (Gateway, Certificate) {
    let certificate = Certificate::new();
    let gateway = Gateway::with(certificate.on(settings)).await;
    (gateway, certificate)
}

/// Asserts that a request can be answered.
async fn answers(client: &Client<'_>) {
    let answer = client.public("GET", "/_rig/health", &[], b"").await;
    assert_eq!((answer.status, answer.text()), (200, "OK"));
}

pub async fn streams_of_events_are_the_same_every_way(kafka: &Kafka) {
    let (gateway, certificate) = start(kafka).await;
    let wanted = json!([{ "eventType": "t" }]);
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        let mut stream = client.open(&wanted, &[]).await;
        assert_eq!(
            stream.header("content-type"),
            Some("text/event-stream; charset=utf-8")
        );
        assert_eq!(
            stream.header("cache-control"),
            Some("no-cache, no-transform")
        );
        assert!(stream.header("date").is_some());
        let expected = (!way.is_http2()).then_some("close");
        assert_eq!(stream.header("connection"), expected, "{way:?}");
        assert_eq!(stream.block().await.unwrap().bytes, "retry: 3000\n\n");
        let token = stream.subscribed().await;

        let first = keyed("one", "1", json!({ "way": format!("{way:?}") }));
        client.publish(&first).await;
        let got = stream.event().await;
        assert_eq!(got.json(), first);
        let cursor = got.id.unwrap();

        let changed = client.change(&token, json!([{ "eventType": "u" }])).await;
        assert_eq!(changed.status, 204, "{way:?}");
        let set = stream.event().await;
        assert_eq!(set.event.as_deref(), Some("rig.subscriptions_set"));
        client.publish(&keyed("one", "2", json!(2))).await;
        client.publish(&event("u", "u", json!(3))).await;
        assert_eq!(stream.ids(1).await, ["u"]);

        let headers = [("last-event-id", cursor.as_str())];
        let mut again = client.open(&wanted, &headers).await;
        again.subscribed().await;
        assert_eq!(again.ids(1).await, ["2"], "{way:?}");
    }
    eventually("all are forgotten", async || {
        gateway.metric("sluicegate_connections", "sse").await < 0.5
    })
    .await;
    gateway.stop().await;
}

pub async fn websockets_are_the_same_every_way(kafka: &Kafka) {
    let (gateway, certificate) = with(Settings::new(kafka).with("SHARDS", "1")).await;
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        let mut socket = client.ws(&json!([])).await;
        assert_eq!(socket.protocol.as_deref(), Some("cloudevents.json"));
        socket.subscribed().await;
        let change = json!({ "type": "rig.subscriptions_set", "data": [{ "eventType": "t" }] });
        socket.send(Message::text(change.to_string())).await;
        assert_eq!(socket.event().await["type"], "rig.subscriptions_set");
        let text = "x".repeat(50_000);
        for id in ["1", "2"] {
            client.publish(&keyed("one", id, json!(text))).await;
        }
        assert_eq!(socket.event().await["id"], "1");
        assert_eq!(socket.event().await["id"], "2");
        socket.send(Message::Ping(b"hello".to_vec().into())).await;
        assert!(matches!(socket.message().await, Message::Pong(payload) if payload == "hello"));
        socket.send(Message::text("x".repeat(300_000))).await;
        assert_eq!(socket.close_code().await.0, 1009, "{way:?}");
    }
    eventually("all are forgotten", async || {
        gateway.metric("sluicegate_connections", "ws").await < 0.5
    })
    .await;
    gateway.stop().await;
}

pub async fn answers_are_the_same_every_way(kafka: &Kafka) {
    let (gateway, certificate) = start(kafka).await;
    let mut bodies: Vec<(u16, String)> = Vec::new();
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        answers(&client).await;
        for path in ["/health", "/readyz", "/livez", "/metrics", "/"] {
            assert_eq!(client.internal("GET", path).await.status, 200, "{path}");
        }
        let head = client.public("HEAD", "/_rig/health", &[], b"").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some("2"));
        let stream = "/_rig/v1/connection/sse";
        let head = client.public("HEAD", stream, &[], b"").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        let bad = format!("{stream}?subscriptions=nonsense");
        let large = vec![b'x'; 3 << 20];
        let headers = [("content-type", "application/json")];
        let answers = [
            client.public("GET", "/nothing", &[], b"").await,
            client.public("DELETE", "/_rig/health", &[], b"").await,
            client.public("TRACE", "/_rig/health", &[], b"").await,
            client.public("GET", &bad, &[], b"").await,
            client
                .public("POST", "/_rig/v1/events", &headers, b"{}")
                .await,
            client
                .public("POST", "/_rig/v1/events", &headers, &large)
                .await,
            client
                .public("GET", "/_rig/v1/connection/ws", &[], b"")
                .await,
        ];
        let all: Vec<(u16, String)> = answers
            .iter()
            .map(|answer| (answer.status, answer.text().to_owned()))
            .collect();
        let statuses: Vec<u16> = all.iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, [404, 405, 501, 400, 400, 413, 426], "{way:?}");
        if way.is_http2() {
            assert!(answers.iter().all(|answer| {
                answer.header("connection").is_none() && answer.header("upgrade").is_none()
            }));
        }
        match way {
            Way::Plain => bodies = all,
            _ => assert_eq!(all, bodies, "{way:?}"),
        }
    }
    gateway.stop().await;
}

pub async fn long_polls_are_the_same_every_way(kafka: &Kafka) {
    let (gateway, certificate) = start(kafka).await;
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        let path = "/_rig/v1/connection/longpolling";
        let wanted = query(&json!([{ "eventType": "t" }]));
        let target = format!("{path}?{wanted}");
        let mut cookies = std::collections::BTreeMap::new();
        let mut seen = Vec::new();
        while !seen.contains(&json!("1")) {
            let pieces: Vec<String> = cookies.values().cloned().collect();
            let joined = pieces.join("; ");
            let headers: Vec<(&str, &str)> = match way.is_http2() {
                // Browsers send each on its own there.
                true => pieces.iter().map(|one| ("cookie", one.as_str())).collect(),
                false if cookies.is_empty() => Vec::new(),
                false => vec![("cookie", joined.as_str())],
            };
            let answer = client.public("GET", &target, &headers, b"").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            for cookie in answer.all("set-cookie") {
                let cookie = cookie.split(';').next().unwrap();
                let name = cookie.split('=').next().unwrap();
                cookies.insert(name.to_owned(), cookie.to_owned());
            }
            let answer = answer.json();
            let events = answer["events"].as_array().into_iter().flatten();
            seen.extend(events.map(|event| event["id"].clone()));
            if seen.len() == 2 {
                client.publish(&keyed("one", "1", json!(1))).await;
            }
        }
        assert_eq!(seen.len(), 3, "{way:?}: {seen:?}");
    }
    gateway.stop().await;
}

pub async fn a_client_that_stops_reading_gets_everything_when_it_goes_on(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("OUTBOX_BYTES", "64KiB");
    let (gateway, certificate) = with(settings).await;
    let wanted = json!([{ "eventType": "t" }]);
    let mut slow: Vec<(Way, Sse)> = Vec::new();
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        let link = client.connect_narrow().await;
        let mut stream = client.open_over(link, &wanted, &[]).await;
        stream.subscribed().await;
        slow.push((way, stream));
    }
    let mut fast = gateway.subscribe(wanted).await;
    let text = "x".repeat(100_000);
    let ids: Vec<String> = (0..150).map(|id| id.to_string()).collect();
    for id in &ids {
        gateway.publish(&keyed("one", id, json!(text))).await;
    }
    assert_eq!(fast.ids(150).await, ids);
    let behind = gateway
        .metric("sluicegate_connections_behind_total", "sse")
        .await;
    assert!(behind >= 4.0, "{behind}");
    for (way, stream) in &mut slow {
        assert_eq!(stream.ids(150).await, ids, "{way:?}");
    }
    gateway.publish(&keyed("one", "last", json!(1))).await;
    for (_, stream) in &mut slow {
        assert_eq!(stream.ids(1).await, ["last"]);
    }
    gateway.stop().await;
}

pub async fn a_client_that_takes_no_byte_is_closed(kafka: &Kafka) {
    let settings = Settings::new(kafka)
        .with("OUTBOX_BYTES", "64KiB")
        .with("HEARTBEAT_INTERVAL", "300ms")
        .with("WRITE_TIMEOUT", "2s");
    let (gateway, certificate) = with(settings).await;
    let wanted = json!([{ "eventType": "t" }]);
    let mut stalled = Vec::new();
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        let link = client.connect_narrow().await;
        stalled.push((way, client.open_over(link, &wanted, &[]).await));
    }
    let text = "x".repeat(100_000);
    for id in 0..150 {
        let event = keyed("one", &id.to_string(), json!(text));
        gateway.publish(&event).await;
    }
    eventually("all are closed", async || {
        let closed = "sluicegate_connections_closed_total";
        gateway.metric(closed, "stalled").await > 3.5
    })
    .await;
    for (way, stream) in &mut stalled {
        // Without TLS, the end of a broken stream looks like any other.
        let end = stream.end().await;
        assert!(end.is_err() || *way == Way::Plain, "{way:?}");
    }
    gateway.stop().await;
}

pub async fn a_hundred_streams_share_a_connection(kafka: &Kafka) {
    let (gateway, certificate) = start(kafka).await;
    let client = Client::new(Way::Http2OverTls, &certificate, &gateway);
    let shared = client.http2().await;
    let opening = (0..100).map(async |number| {
        let wanted = query(&json!([{ "eventType": format!("t{}", number % 10) }]));
        let mut stream = shared.sse(&wanted, &[]).await.unwrap();
        stream.subscribed().await;
        stream
    });
    let mut streams = join_all(opening).await;
    for number in 0..10 {
        let id = number.to_string();
        gateway
            .publish(&event(&format!("t{number}"), &id, json!(1)))
            .await;
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        assert_eq!(stream.ids(1).await, [(number % 10).to_string()]);
    }
    // A stream that the client resets is forgotten, and the others go on.
    streams.truncate(50);
    eventually("half of them are forgotten", async || {
        (gateway.metric("sluicegate_connections", "sse").await - 50.0).abs() < 0.5
    })
    .await;
    gateway.publish(&event("t0", "again", json!(1))).await;
    assert_eq!(streams[0].ids(1).await, ["again"]);
    drop((shared, streams));
    eventually("all are forgotten", async || {
        gateway.metric("sluicegate_connections", "sse").await < 0.5
    })
    .await;
    gateway.stop().await;
}

pub async fn a_shutdown_ends_every_stream_whole(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("SHUTDOWN_GRACE", "3s");
    let (gateway, certificate) = with(settings).await;
    let wanted = json!([{ "eventType": "t" }]);
    let (mut streams, mut sockets) = (Vec::new(), Vec::new());
    for way in Way::ALL {
        let client = Client::new(way, &certificate, &gateway);
        streams.push((way, client.open(&wanted, &[]).await));
        let mut socket = client.ws(&wanted).await;
        socket.subscribed().await;
        sockets.push((way, socket));
    }
    let stopping = tokio::spawn(gateway.stop());
    for (way, stream) in &mut streams {
        assert_eq!(
            stream.end().await.map_err(|error| error.to_string()),
            Ok(()),
            "{way:?}"
        );
    }
    for (way, socket) in &mut sockets {
        assert_eq!(socket.close_code().await.0, 1001, "{way:?}");
    }
    drop((streams, sockets));
    tokio::time::timeout(Duration::from_secs(15), stopping)
        .await
        .expect("in time")
        .unwrap();
}

pub async fn a_new_certificate_is_shown_and_no_connection_is_cut(kafka: &Kafka) {
    let (gateway, mut certificate) = start(kafka).await;
    let wanted = json!([{ "eventType": "t" }]);
    let client = Client::new(Way::Tls, &certificate, &gateway);
    let mut stream = client.open(&wanted, &[]).await;
    stream.subscribed().await;
    certificate.renew();
    eventually("the new certificate is shown", async || {
        let socket = TcpStream::connect(gateway.public_tls()).await.unwrap();
        certificate.connect(socket, &["h2"]).await.is_ok()
    })
    .await;
    // What cannot be used is not shown.
    std::fs::write(certificate.key(), "nonsense").unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let client = Client::new(Way::Http2OverTls, &certificate, &gateway);
    client.publish(&event("t", "1", json!(1))).await;
    assert_eq!(stream.ids(1).await, ["1"]);
    gateway.stop().await;
}

pub async fn a_handshake_that_does_not_end_is_closed(kafka: &Kafka) {
    let settings = Settings::new(kafka).with("HTTP_HEADER_TIMEOUT", "500ms");
    let (gateway, certificate) = with(settings).await;
    let client_hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc];
    let http = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    for bytes in [&b""[..], &client_hello[..1], &client_hello, http] {
        let mut socket = TcpStream::connect(gateway.public_tls()).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = socket.read_to_end(&mut answer);
        let _closed = tokio::time::timeout(PATIENCE, read).await.expect("closed");
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    eventually("they are counted", async || {
        let refused = "sluicegate_http_refused_connections_total";
        gateway.metric(refused, "tls_handshake").await > 3.5
    })
    .await;
    answers(&Client::new(Way::Tls, &certificate, &gateway)).await;
    gateway.stop().await;
}

pub async fn a_flood_of_resets_ends_its_connection_alone(kafka: &Kafka) {
    let (gateway, certificate) = start(kafka).await;
    let other = Client::new(Way::Http2OverTls, &certificate, &gateway);
    let mut stream = other.open(&json!([{ "eventType": "t" }]), &[]).await;
    stream.subscribed().await;
    for way in [Way::Http2, Way::Http2OverTls] {
        let flooding = Client::new(way, &certificate, &gateway).http2().await;
        let ended = flood(&flooding).await;
        assert!(ended.is_go_away() || ended.is_io(), "{way:?}: {ended:?}");
        let health = other.public("GET", "/_rig/health", &[], b"").await;
        assert_eq!(health.status, 200);
    }
    gateway.publish(&event("t", "1", json!(1))).await;
    assert_eq!(stream.ids(1).await, ["1"]);
    eventually("the flood is over", async || {
        gateway.metric("sluicegate_connections", "sse").await < 1.5
    })
    .await;
    gateway.stop().await;
}

/// Opens streams and resets them at once, until the server has enough.
async fn flood(client: &Http2) -> h2::Error {
    let target = "/_rig/v1/connection/sse";
    for _ in 0..50_000 {
        match client.send(request("GET", target, &[]), true).await {
            Ok((_, mut sender)) => sender.send_reset(h2::Reason::CANCEL),
            Err(error) => return error,
        }
        tokio::task::yield_now().await;
    }
    panic!("nobody stopped the flood");
}

pub async fn a_request_that_two_could_read_in_two_ways_is_refused(kafka: &Kafka) {
    let (gateway, certificate) = start(kafka).await;
    let client = Client::new(Way::Http2, &certificate, &gateway);
    let connection = client.http2().await;
    let health = "/_rig/health";
    let many: Vec<(String, String)> = (0..200)
        .map(|n| (format!("x-{n}"), "y".to_owned()))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    for (headers, status) in [
        (&[("host", "localhost")][..], 200),
        (&[("host", "other")], 400),
        (&[("host", "localhost"), ("host", "other")], 400),
        (&[("expect", "magic")], 417),
        (&many, 431),
    ] {
        let answer = connection.request("GET", health, headers, b"").await;
        assert_eq!(answer.status, status, "{headers:?}");
    }
    let websocket_elsewhere = {
        let mut request = request("CONNECT", health, &[("sec-websocket-version", "13")]);
        request
            .extensions_mut()
            .insert(h2::ext::Protocol::from_static("websocket"));
        let (response, _sender) = connection.send(request, false).await.unwrap();
        response.await.unwrap().status()
    };
    assert_eq!(websocket_elsewhere, 501);
    // The preface in pieces, as a network may deliver it.
    let mut socket = TcpStream::connect(gateway.public()).await.unwrap();
    socket.set_nodelay(true).unwrap();
    for piece in [
        &b"PRI * HT"[..],
        b"TP/2.0\r\n\r\n",
        b"SM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ] {
        socket.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut frame = [0; 9];
    socket.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the server's SETTINGS: {frame:?}");
    gateway.stop().await;
}
