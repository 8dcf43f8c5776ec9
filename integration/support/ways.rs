//! The ways in which a client can reach an instance: with and without TLS, over HTTP/1.1 and HTTP/2.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};

use super::certificates::Certificate;
use super::gateway::{Gateway, query};
use super::h2::Http2;
use super::http::{self, Answer};
use super::sse::{Link, Sse};
use super::ws::Ws;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Plain,
    Tls,
    Http2,
    Http2OverTls,
}

impl Way {
    pub const ALL: [Self; 4] = [Self::Plain, Self::Tls, Self::Http2, Self::Http2OverTls];

    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2OverTls)
    }

    pub fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Http2OverTls)
    }
}

/// A client that goes one way.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    pub way: Way,
    certificate: &'a Certificate,
    public: SocketAddr,
    internal: SocketAddr,
}

impl<'a> Client<'a> {
    pub fn new(way: Way, certificate: &'a Certificate, gateway: &Gateway) -> Self {
        let (public, internal) = match way.has_tls() {
            true => (gateway.public_tls(), gateway.internal_tls()),
            false => (gateway.public(), gateway.internal()),
        };
        Self {
            way,
            certificate,
            public,
            internal,
        }
    }

    /// Opens a connection to the public port.
    pub async fn connect(&self) -> Box<dyn Link> {
        self.over(TcpStream::connect(self.public).await.unwrap())
            .await
    }

    /// The same, where the kernel keeps little that is not read.
    pub async fn connect_narrow(&self) -> Box<dyn Link> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        self.over(socket.connect(self.public).await.unwrap()).await
    }

    async fn over(&self, socket: TcpStream) -> Box<dyn Link> {
        let alpn: &[&str] = match self.way {
            Way::Plain | Way::Http2 => return Box::new(socket),
            Way::Tls => &["http/1.1"],
            Way::Http2OverTls => &["h2", "http/1.1"],
        };
        let tls = self.certificate.connect(socket, alpn).await.unwrap();
        let chosen = tls.get_ref().1.alpn_protocol();
        assert_eq!(chosen, alpn.first().map(|name| name.as_bytes()));
        Box::new(tls)
    }

    pub async fn http2(&self) -> Http2 {
        Http2::over(self.connect().await).await
    }

    pub async fn public(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.request(self.public, method, target, headers, body)
            .await
    }

    pub async fn internal(&self, method: &str, target: &str) -> Answer {
        self.request(self.internal, method, target, &[], b"").await
    }

    async fn request(
        &self,
        address: SocketAddr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let link = self.over(TcpStream::connect(address).await.unwrap()).await;
        if self.way.is_http2() {
            let client = Http2::over(link).await;
            client.request(method, target, headers, body).await
        } else {
            http::raw_over(link, &http::written(method, target, headers, body)).await
        }
    }

    pub async fn publish(&self, event: &Value) {
        let headers = [("content-type", "application/cloudevents+json")];
        let body = event.to_string();
        let answer = self
            .public("POST", "/_rig/v1/events", &headers, body.as_bytes())
            .await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }

    pub async fn change(&self, token: &str, subscriptions: Value) -> Answer {
        let target = format!("/_rig/v1/connection/sse/{token}/subscriptions");
        let body = json!({ "subscriptions": subscriptions }).to_string();
        let headers = [("content-type", "application/json")];
        self.public("PUT", &target, &headers, body.as_bytes()).await
    }

    /// Opens a stream on a connection of its own, and does not read from it.
    pub async fn open(&self, subscriptions: &Value, headers: &[(&str, &str)]) -> Sse {
        self.open_over(self.connect().await, subscriptions, headers)
            .await
    }

    pub async fn open_over(
        &self,
        link: Box<dyn Link>,
        subscriptions: &Value,
        headers: &[(&str, &str)],
    ) -> Sse {
        let query = query(subscriptions);
        if self.way.is_http2() {
            let client = Http2::over(link).await;
            client.sse(&query, headers).await.expect("taken")
        } else {
            let opened = Sse::try_over(link, &query, headers).await;
            opened.unwrap_or_else(|answer| panic!("refused: {}", answer.status))
        }
    }

    pub async fn ws(&self, subscriptions: &Value) -> Ws {
        self.ws_asking(&query(subscriptions)).await
    }

    /// Opens a WebSocket with this query.
    pub async fn ws_asking(&self, query: &str) -> Ws {
        if !self.way.is_http2() {
            return Ws::over(self.connect().await, query, Some("cloudevents.json")).await;
        }
        let client = self.http2_with_websockets().await;
        let target = format!("/_rig/v1/connection/ws?{query}");
        Ws::over_http2(&client, &target, "cloudevents.json").await
    }

    /// Connects over HTTP/2, and waits until the instance has said that it takes WebSockets (RFC 8441).
    pub async fn http2_with_websockets(&self) -> Http2 {
        let mut client = self.http2().await;
        let health = client.request("GET", "/_rig/health", &[], b"").await;
        assert_eq!(health.status, 200);
        assert!(client.takes_websockets().await);
        client
    }
}
