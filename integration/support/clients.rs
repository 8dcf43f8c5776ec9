//! A client of events over any transport, for what has to hold on all of them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};
use tokio_tungstenite::tungstenite::{Error, http::HeaderMap};

use super::h2::{Both, Http2, request};
use super::http::{self, Answer, PATIENCE};
use super::sse::{Link, Sse};
use super::ws::Ws;

/// What a client gets its events over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Sse,
    SseOnHttp2,
    Ws,
    WsOnHttp2,
    LongPolling,
}

impl Over {
    pub const ALL: [Self; 5] = [
        Self::Sse,
        Self::SseOnHttp2,
        Self::Ws,
        Self::WsOnHttp2,
        Self::LongPolling,
    ];
    /// One of each transport.
    pub const EACH: [Self; 3] = [Self::Sse, Self::Ws, Self::LongPolling];

    /// Returns the name in paths.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sse | Self::SseOnHttp2 => "sse",
            Self::Ws | Self::WsOnHttp2 => "ws",
            Self::LongPolling => "longpolling",
        }
    }

    fn target(self, query: &str) -> String {
        format!("/_rig/v1/connection/{}?{query}", self.name())
    }

    /// Returns the answer to somebody who is refused.
    pub async fn refusal(
        self,
        address: SocketAddr,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        match Client::try_open(self, address, query, headers).await {
            Ok(_) => panic!("{self:?} opens with {query}"),
            Err(answer) => answer,
        }
    }
}

#[derive(Debug)]
enum Wire {
    Sse(Sse),
    Ws(Box<Ws>),
    /// With the headers of each poll, but for cookies.
    Poll(Vec<(String, String)>),
}

/// A client whose connection is open.
#[derive(Debug)]
pub struct Client {
    pub over: Over,
    /// Where polls go.
    pub address: SocketAddr,
    /// Its connection token.
    pub token: String,
    /// What was announced as its subscriptions, last.
    pub subscriptions: Value,
    /// Where it stands, if its transport says so in another place than its events.
    cursor: Option<String>,
    cookies: Vec<(String, String)>,
    wire: Wire,
    unread: VecDeque<Value>,
}

impl Client {
    /// Opens a connection and reads its first two events; panics when it is refused.
    pub async fn open(over: Over, address: SocketAddr, query: &str) -> Self {
        let opened = Self::try_open(over, address, query, &[]).await;
        opened.unwrap_or_else(|answer| panic!("{over:?}: {} {}", answer.status, answer.text()))
    }

    /// Opens a connection and reads its first two events, or returns the answer that refuses it, on a
    /// WebSocket without its body.
    pub async fn try_open(
        over: Over,
        address: SocketAddr,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        let wire = match over {
            Over::Sse => Wire::Sse(Sse::try_open(address, query, headers).await?),
            Over::SseOnHttp2 => Wire::Sse(sse_on_http2(address, query, headers).await?),
            Over::Ws => Wire::Ws(Box::new(ws(address, &over.target(query), headers).await?)),
            Over::WsOnHttp2 => {
                let ws = ws_on_http2(address, &over.target(query), headers).await?;
                Wire::Ws(Box::new(ws))
            }
            Over::LongPolling => {
                let owned =
                    |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
                Wire::Poll(headers.iter().map(owned).collect())
            }
        };
        let mut client = Self {
            over,
            address,
            token: String::new(),
            subscriptions: Value::Null,
            cursor: None,
            cookies: Vec::new(),
            wire,
            unread: VecDeque::new(),
        };
        if over == Over::LongPolling {
            let answer = client.poll(&over.target(query)).await;
            if answer.status != 200 {
                return Err(answer);
            }
        }
        let created = client.event().await;
        assert_eq!(created["type"], "rig.connection.create");
        client.token = created["data"]["connection_token"]
            .as_str()
            .unwrap()
            .to_owned();
        client.announced().await;
        Ok(client)
    }

    /// Returns the next event, whatever it is.
    pub async fn event(&mut self) -> Value {
        match &mut self.wire {
            Wire::Sse(sse) => sse.event().await.json(),
            Wire::Ws(ws) => ws.event().await,
            Wire::Poll(_) => {
                let deadline = tokio::time::Instant::now() + PATIENCE;
                while self.unread.is_empty() {
                    assert!(tokio::time::Instant::now() < deadline, "no event in time");
                    let answer = self.poll(&self.over.target("")).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let events = answer.json()["events"].as_array().unwrap().clone();
                    self.unread.extend(events);
                }
                self.unread.pop_front().unwrap()
            }
        }
    }

    /// Returns the subscriptions that are announced next; nothing may come before but that a token was
    /// taken.
    pub async fn announced(&mut self) -> &Value {
        let mut event = self.event().await;
        while event["type"] == "rig.session_renewed" {
            event = self.event().await;
        }
        assert_eq!(event["type"], "rig.subscriptions_set", "{event}");
        self.subscriptions = event["data"].take();
        &self.subscriptions
    }

    /// Returns the ids of the next events that are not of Sluicegate itself, up to the one with the id
    /// `last`.
    pub async fn ids_up_to(&mut self, last: &str) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.last().is_none_or(|id| id != last) {
            let event = self.event().await;
            if !event["type"].as_str().unwrap().starts_with("rig.") {
                ids.push(event["id"].as_str().unwrap().to_owned());
            }
        }
        ids
    }

    /// Asks for other subscriptions at any instance.
    pub async fn put(
        &self,
        address: SocketAddr,
        subscriptions: &Value,
        token: Option<&str>,
    ) -> Answer {
        let target = format!(
            "/_rig/v1/connection/{}/{}/subscriptions",
            self.over.name(),
            self.token
        );
        let body = json!({ "subscriptions": subscriptions }).to_string();
        let bearer = format!("Bearer {}", token.unwrap_or_default());
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(token.map(|_| ("authorization", bearer.as_str())));
        http::request(address, "PUT", &target, &headers, body.as_bytes()).await
    }

    /// Says something on a WebSocket.
    pub async fn say(&mut self, kind: &str, data: &Value) {
        let Wire::Ws(ws) = &mut self.wire else {
            panic!("{:?} is no WebSocket", self.over);
        };
        let text = json!({ "type": kind, "data": data }).to_string();
        ws.send(Message::text(text)).await;
    }

    /// Returns where the client of a stream of server-sent events or of polls stands.
    pub fn last_event_id(&self) -> Option<&str> {
        match &self.wire {
            Wire::Sse(sse) => sse.last_event_id.as_deref(),
            Wire::Ws(_) => None,
            Wire::Poll(_) => self.cursor.as_deref(),
        }
    }

    async fn poll(&mut self, target: &str) -> Answer {
        let Wire::Poll(headers) = &self.wire else {
            panic!("{:?} does not poll", self.over);
        };
        let pairs = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let mut cookies: Vec<String> = pairs.collect();
        let mut all: Vec<(&str, &str)> = Vec::new();
        for (name, value) in headers {
            match name.as_str() {
                "cookie" => cookies.push(value.clone()),
                name => all.push((name, value)),
            }
        }
        let cookies = cookies.join("; ");
        if !cookies.is_empty() {
            all.push(("cookie", &cookies));
        }
        let answer = http::request(self.address, "GET", target, &all, b"").await;
        for cookie in answer.all("set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        if answer.status == 200 {
            let last = answer.json()["last_event_id"].as_str().map(str::to_owned);
            self.cursor = last.or_else(|| self.cursor.take());
        }
        answer
    }
}

async fn sse_on_http2(
    address: SocketAddr,
    query: &str,
    headers: &[(&str, &str)],
) -> Result<Sse, Answer> {
    let client = Http2::over(TcpStream::connect(address).await.unwrap()).await;
    match client.sse(query, headers).await {
        Ok(stream) => Ok(stream),
        // The same once more, for the body of the answer.
        Err(_) => Err(client
            .request("GET", &Over::Sse.target(query), headers, b"")
            .await),
    }
}

async fn ws(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Result<Ws, Answer> {
    let mut request = format!("ws://test{target}").into_client_request().unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let link: Box<dyn Link> = Box::new(TcpStream::connect(address).await.unwrap());
    let connecting = tokio_tungstenite::client_async(request, link);
    match tokio::time::timeout(PATIENCE, connecting)
        .await
        .expect("in time")
    {
        Ok((socket, response)) => Ok(Ws {
            socket,
            protocol: text(response.headers(), "sec-websocket-protocol"),
        }),
        Err(Error::Http(response)) => Err(refused(response.status().as_u16(), response.headers())),
        Err(error) => panic!("no answer: {error}"),
    }
}

async fn ws_on_http2(
    address: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<Ws, Answer> {
    let mut client = Http2::over(TcpStream::connect(address).await.unwrap()).await;
    // Its settings have come with the first answer.
    let health = client.request("GET", "/_rig/health", &[], b"").await;
    assert_eq!(health.status, 200);
    assert!(client.takes_websockets().await);
    let mut request = request("CONNECT", target, &[("sec-websocket-version", "13")]);
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let websocket = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(websocket);
    let (response, sender) = client.send(request, false).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, response).await;
    let response = answer.expect("an answer in time").unwrap();
    if response.status() != 200 {
        return Err(refused(response.status().as_u16(), response.headers()));
    }
    let protocol = text(response.headers(), "sec-websocket-protocol");
    let link: Box<dyn Link> = Box::new(Both::new(sender, response));
    let socket = WebSocketStream::from_raw_socket(link, Role::Client, None).await;
    Ok(Ws { socket, protocol })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(value.to_str().unwrap().to_owned())
}

fn refused(status: u16, headers: &HeaderMap) -> Answer {
    let texts = headers.iter();
    let texts = texts.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    Answer {
        status,
        headers: texts.collect(),
        body: Vec::new(),
    }
}
