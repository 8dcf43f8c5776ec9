//! A WebSocket client.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use super::h2::{Both, Http2, request};
use super::http::PATIENCE;
use super::sse::Link;

/// An open WebSocket.
#[derive(Debug)]
pub struct Ws {
    pub socket: WebSocketStream<Box<dyn Link>>,
    pub protocol: Option<String>,
}

impl Ws {
    pub async fn open(address: SocketAddr, query: &str, protocols: Option<&str>) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        Self::over(socket, query, protocols).await
    }

    /// Opens a WebSocket over a connection of HTTP/1.1.
    pub async fn over(link: impl Link + 'static, query: &str, protocols: Option<&str>) -> Self {
        let url = format!("ws://test/_rig/v1/connection/ws?{query}");
        let mut request = url.into_client_request().unwrap();
        if let Some(protocols) = protocols {
            request
                .headers_mut()
                .insert("sec-websocket-protocol", protocols.parse().unwrap());
        }
        let link: Box<dyn Link> = Box::new(link);
        let connecting = tokio_tungstenite::client_async(request, link);
        let (socket, response) = tokio::time::timeout(PATIENCE, connecting)
            .await
            .expect("in time")
            .expect("opens");
        let protocol = response.headers().get("sec-websocket-protocol");
        let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
        Self { socket, protocol }
    }

    /// Opens a WebSocket on a stream of HTTP/2 (RFC 8441).
    pub async fn over_http2(client: &Http2, target: &str, protocols: &str) -> Self {
        let headers = [
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", protocols),
        ];
        let mut request = request("CONNECT", target, &headers);
        request
            .extensions_mut()
            .insert(h2::ext::Protocol::from_static("websocket"));
        let (response, sender) = client.send(request, false).await.unwrap();
        let response = tokio::time::timeout(PATIENCE, response)
            .await
            .expect("an answer in time")
            .unwrap();
        assert_eq!(response.status(), 200);
        let protocol = response.headers().get("sec-websocket-protocol");
        let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
        let link: Box<dyn Link> = Box::new(Both::new(sender, response));
        let socket = WebSocketStream::from_raw_socket(link, Role::Client, None).await;
        Self { socket, protocol }
    }

    /// Opens a WebSocket, or returns the status of the answer that refuses it.
    pub async fn try_open(address: SocketAddr, query: &str) -> Result<Self, u16> {
        let url = format!("ws://test/_rig/v1/connection/ws?{query}");
        let link: Box<dyn Link> = Box::new(TcpStream::connect(address).await.unwrap());
        let connecting = tokio_tungstenite::client_async(url, link);
        let opened = tokio::time::timeout(PATIENCE, connecting).await;
        match opened.expect("in time") {
            Ok((socket, _)) => Ok(Self {
                socket,
                protocol: None,
            }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// Returns the next message, whatever it is.
    pub async fn message(&mut self) -> Message {
        let next = tokio::time::timeout(PATIENCE, self.socket.next())
            .await
            .expect("in time");
        next.expect("the socket is open").expect("a message")
    }

    /// Returns the next event.
    pub async fn event(&mut self) -> Value {
        loop {
            match self.message().await {
                Message::Text(text) => return serde_json::from_str(text.as_str()).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("no event: {other:?}"),
            }
        }
    }

    /// Reads `rig.connection.create` and `rig.subscriptions_set`; returns the connection token.
    pub async fn subscribed(&mut self) -> String {
        let created = self.event().await;
        assert_eq!(created["type"], "rig.connection.create");
        assert_eq!(self.event().await["type"], "rig.subscriptions_set");
        created["data"]["connection_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    pub async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Returns the code with which the server closes, and its reason.
    pub async fn close_code(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.message().await {
                return frame
                    .map(|frame| (u16::from(frame.code), frame.reason.as_str().to_owned()))
                    .unwrap_or((1005, String::new()));
            }
        }
    }
}
