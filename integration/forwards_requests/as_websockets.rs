//! WebSockets between clients and backends.

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::{WebSocketStream, tungstenite};

use super::{told, with_tls};
use crate::support::certificates::Certificate;
use crate::support::fetch::{Cut, in_time};
use crate::support::gateway::{Gateway, Settings, eventually};
use crate::support::h2::request;
use crate::support::kafka::Kafka;
use crate::support::routes::{all, all_below};
use crate::support::sessions::end;
use crate::support::sse::Link;
use crate::support::tokens::token;
use crate::support::upstream::{Caller, Upstream};
use crate::support::ways::{Client, Way};
use crate::support::ws::Ws;

/// What the backend saw: the target of a handshake, or how the client closed.
type Seen = mpsc::UnboundedSender<String>;

fn describe(frame: Option<&CloseFrame>) -> String {
    frame.map_or_else(
        || "none".to_owned(),
        |frame| format!("{} {}", u16::from(frame.code), frame.reason),
    )
}

/// Takes the second of the sub-protocols that are offered, greets, and echoes until it is told to close.
async fn chat(caller: Caller, seen: Seen) {
    let noted = seen.clone();
    #[expect(clippy::result_large_err, reason = "what the library asks for")]
    let choose = move |request: &Request, mut response: Response| {
        let offered = request.headers().get("sec-websocket-protocol");
        let offered = offered.map_or("", |offered| offered.to_str().unwrap());
        if let Some(second) = offered.split(", ").nth(1) {
            let second = HeaderValue::from_str(second).unwrap();
            response
                .headers_mut()
                .insert("sec-websocket-protocol", second);
        }
        noted.send(request.uri().to_string()).unwrap();
        Ok(response)
    };
    let accepting = tokio_tungstenite::accept_hdr_async(caller.link, choose);
    let mut socket = accepting.await.expect("a handshake");
    socket.send(Message::text("welcome")).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text.as_str() == "go" => {
                let code = CloseCode::from(4001);
                let frame = CloseFrame {
                    code,
                    reason: "gone".into(),
                };
                socket.close(Some(frame)).await.unwrap();
            }
            Message::Text(_) | Message::Binary(_) => socket.send(message).await.unwrap(),
            Message::Close(frame) => seen.send(describe(frame.as_ref())).unwrap(),
            _ => {}
        }
    }
}

/// Opens a WebSocket the way that the client goes.
async fn open(client: &Client<'_>, target: &str) -> Ws {
    let protocols = "chat.v1, chat.v2";
    if !client.way.is_http2() {
        let url = format!("ws://test{target}");
        let mut request = url.into_client_request().unwrap();
        let value = HeaderValue::from_static(protocols);
        request
            .headers_mut()
            .insert("sec-websocket-protocol", value);
        let link: Box<dyn Link> = client.connect().await;
        let (socket, response) = tokio_tungstenite::client_async(request, link)
            .await
            .unwrap();
        let protocol = response.headers().get("sec-websocket-protocol");
        let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
        return Ws { socket, protocol };
    }
    let http2 = client.http2_with_websockets().await;
    Ws::over_http2(&http2, target, protocols).await
}

pub async fn in_both_directions(kafka: &Kafka) {
    let (seen, mut saw) = mpsc::unbounded_channel();
    let tls = Certificate::new();
    let noted = seen.clone();
    let plain = Upstream::playing(move |caller| chat(caller, noted.clone())).await;
    let acceptor = Some(tls.server(&["h2", "http/1.1"]));
    let secure = Upstream::start(0, acceptor, move |caller| chat(caller, seen.clone())).await;
    let apis = [
        all_below("plain", "/plain", &[plain.url()]),
        all_below("secure", "/secure", &[secure.url()]),
    ];
    let settings = Settings::routing(kafka, &apis);
    let authorities = tls.chain();
    let settings = settings.with("PROXY_UPSTREAM_CA_FILE", authorities.to_str().unwrap());
    let (gateway, certificate) = with_tls(settings).await;
    for way in Way::ALL {
        for path in ["/plain/chat", "/secure/chat"] {
            let target = format!("{path}?room=%41");
            let client = Client::new(way, &certificate, &gateway);
            let mut socket = in_time(open(&client, &target)).await;
            assert_eq!(socket.protocol.as_deref(), Some("chat.v2"), "{way:?}");
            assert_eq!(saw.recv().await.unwrap(), target, "{way:?}");
            assert_eq!(socket.message().await, Message::text("welcome"), "{way:?}");
            // What HTTP/2 clients send at once here has to fit into their windows.
            for size in [0, 1, 125, 126, 60_000] {
                let binary = Message::binary(vec![b'\n'; size]);
                socket.send(binary.clone()).await;
                assert_eq!(socket.message().await, binary, "{way:?} {size}");
            }
            socket.send(Message::text("grüße")).await;
            assert_eq!(socket.message().await, Message::text("grüße"), "{way:?}");
            socket.send(Message::Ping("p".into())).await;
            assert_eq!(socket.message().await, Message::Pong("p".into()), "{way:?}");
            // The backend closes.
            socket.send(Message::text("go")).await;
            assert_eq!(
                socket.close_code().await,
                (4001, "gone".to_owned()),
                "{way:?}"
            );
            assert!(
                in_time(socket.socket.next())
                    .await
                    .is_none_or(|end| end.is_err())
            );
            assert_eq!(in_time(saw.recv()).await.unwrap(), "4001 gone", "{way:?}");
            // The client closes.
            let mut socket = in_time(open(&client, &target)).await;
            saw.recv().await.unwrap();
            assert_eq!(socket.message().await, Message::text("welcome"), "{way:?}");
            let frame = CloseFrame {
                code: CloseCode::from(3009),
                reason: "bye".into(),
            };
            socket.send(Message::Close(Some(frame))).await;
            assert_eq!(in_time(saw.recv()).await.unwrap(), "3009 bye", "{way:?}");
            assert_eq!(socket.close_code().await.0, 3009, "{way:?}");
        }
    }
    gateway.stop().await;
}

/// A backend that takes no WebSocket answers as on any other request.
pub async fn unless_the_backend_refuses(kafka: &Kafka) {
    let upstream =
        Upstream::answering("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nx-why: a\r\n\r\nno")
            .await;
    let (gateway, certificate) = with_tls(Settings::routing(kafka, &[all(&upstream.url())])).await;
    let handshake = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut answer = told(&gateway, handshake.as_bytes()).await;
    assert_eq!((answer.status, answer.header("x-why")), (403, Some("a")));
    assert_eq!(answer.whole().await.unwrap(), b"no");
    let sent = upstream.one();
    assert_eq!(sent.header("upgrade"), Some("websocket"));
    assert_eq!(
        sent.header("sec-websocket-key"),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    let client = Client::new(Way::Http2, &certificate, &gateway);
    let http2 = client.http2_with_websockets().await;
    let mut request = request("CONNECT", "/chat", &[("sec-websocket-version", "13")]);
    let protocol = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    let (response, _sender) = http2.send(request, false).await.unwrap();
    let answer = crate::support::h2::read(in_time(response).await.unwrap()).await;
    assert_eq!((answer.status, answer.text()), (403, "no"));
    assert_eq!(upstream.one().header("upgrade"), Some("websocket"));
    gateway.stop().await;
}

/// Opens a WebSocket with a token.
async fn open_as(
    gateway: &Gateway,
    token: &str,
) -> Result<WebSocketStream<TcpStream>, tungstenite::Error> {
    let mut request = "ws://test/chat/room".into_client_request().unwrap();
    let bearer = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    request.headers_mut().insert("authorization", bearer);
    let socket = TcpStream::connect(gateway.public()).await.unwrap();
    let opened = tokio_tungstenite::client_async(request, socket).await;
    opened.map(|(socket, _)| socket)
}

async fn ends(mut socket: WebSocketStream<TcpStream>) {
    let end = async { while let Some(Ok(_)) = socket.next().await {} };
    in_time(end).await;
}

/// An operator who ends a session ends what it has open at backends, too; whoever else is there stays.
pub async fn until_their_session_ends(kafka: &Kafka) {
    let (seen, _saw) = mpsc::unbounded_channel();
    let upstream = Upstream::playing(move |caller| chat(caller, seen.clone())).await;
    let events = Upstream::playing(|mut caller| async move {
        caller.head().await;
        caller
            .write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n")
            .await;
        caller.ended().await;
    })
    .await;
    let mut apis = [
        all_below("chat", "/chat", &[upstream.url()]),
        all_below("events", "/events", &[events.url()]),
    ];
    for api in &mut apis {
        api["auth_type"] = json!("jwt");
        for endpoint in api["version_data"]["default"]["endpoints"]
            .as_array_mut()
            .unwrap()
        {
            endpoint["secured"] = json!(true);
        }
    }
    let settings = Settings::routing(kafka, &apis)
        .with_tokens()
        .with("MAX_CONNECTIONS_PER_SESSION", "2");
    let (gateway, certificate) = with_tls(settings).await;
    let (alice, bob) = (token("alice", "a1"), token("bob", "b1"));
    let one = open_as(&gateway, &alice).await.unwrap();
    let two = open_as(&gateway, &alice).await.unwrap();
    let mut other = open_as(&gateway, &bob).await.unwrap();
    assert!(open_as(&gateway, &alice).await.is_err());
    let tunnels = async || gateway.metric("sluicegate_upstream_tunnels", "").await;
    eventually("they are counted", async || tunnels().await == 3.0).await;
    let bearer = format!("Bearer {alice}");
    let client = Client::new(Way::Plain, &certificate, &gateway);
    let headers = [("authorization", bearer.as_str())];
    let mut stream = client.fetch("GET", "/events/a", &headers, b"").await;
    assert_eq!(stream.until("\n\n").await, "data: 1\n\n");
    assert_eq!(end(gateway.internal(), "a1").await, 201);
    tokio::join!(ends(one), ends(two));
    assert_eq!(in_time(stream.whole()).await, Err(Cut));
    eventually("one is left", async || tunnels().await == 1.0).await;
    other.send(Message::text("still")).await.unwrap();
    for expected in ["welcome", "still"] {
        let said = in_time(other.next()).await.unwrap().unwrap();
        assert_eq!(said, Message::text(expected));
    }
    gateway.stop().await;
}
