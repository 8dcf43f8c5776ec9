//! A client of server-sent events that keeps the bytes it got.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::http::{Answer, PATIENCE, parse_head, split_head};

/// How much the kernel keeps for a client that reads slowly.
const NARROW_BYTES: u32 = 32 * 1024;

/// What a stream comes over.
pub trait Link: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Link for T {}

/// One block of the stream, with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub bytes: String,
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: Option<String>,
}

impl Block {
    /// Reads a block as WHATWG HTML, 9.2.6 says.
    pub fn parse(bytes: &str) -> Self {
        let mut block = Self {
            bytes: bytes.to_owned(),
            id: None,
            event: None,
            data: None,
        };
        for line in bytes.split_terminator('\n') {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => block.id = Some(value.to_owned()),
                "event" => block.event = Some(value.to_owned()),
                "data" => match &mut block.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => block.data = Some(value.to_owned()),
                },
                _ => {}
            }
        }
        block
    }

    /// Returns whether it is an event that somebody published: no comment, no `retry:`, no cursor alone, and none of
    /// Sluicegate itself.
    pub fn is_published(&self) -> bool {
        let is_ours = |name: &str| name.starts_with("rig.");
        self.data.is_some() && !self.event.as_deref().is_some_and(is_ours)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(self.data.as_deref().expect("an event has data")).expect("JSON data")
    }
}

/// An open stream.
#[derive(Debug)]
pub struct Sse {
    socket: Box<dyn Link>,
    unread: Vec<u8>,
    pub headers: Vec<(String, String)>,
    pub last_event_id: Option<String>,
}

impl Sse {
    /// Opens a stream; panics when it is refused.
    pub async fn open(address: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Self {
        match Self::try_open(address, query, headers).await {
            Ok(stream) => stream,
            Err(answer) => panic!("refused: {} {}", answer.status, answer.text()),
        }
    }

    /// Opens a stream, or returns the answer that refuses it.
    pub async fn try_open(
        address: SocketAddr,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        let socket = TcpStream::connect(address).await.unwrap();
        Self::try_over(socket, query, headers).await
    }

    /// Opens a stream whose socket takes little that is not read.
    pub async fn open_narrow(address: SocketAddr, query: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(NARROW_BYTES).unwrap();
        let socket = socket.connect(address).await.unwrap();
        Self::try_over(socket, query, &[]).await.expect("taken")
    }

    /// Opens a stream over a connection of HTTP/1.1.
    pub async fn try_over(
        mut socket: impl Link + 'static,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        let mut head = format!("GET /_rig/v1/connection/sse?{query} HTTP/1.1\r\nhost: test\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let read_head = async {
            loop {
                if let Some((head, rest)) = split_head(&bytes) {
                    let (status, headers) = parse_head(&head);
                    return (status, headers, rest.to_vec());
                }
                assert_ne!(
                    socket.read_buf(&mut bytes).await.unwrap(),
                    0,
                    "closed without answer"
                );
            }
        };
        let (status, headers, mut unread) = tokio::time::timeout(PATIENCE, read_head)
            .await
            .expect("a head in time");
        if status != 200 {
            let length: usize = headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.parse().unwrap());
            while unread.len() < length {
                assert_ne!(socket.read_buf(&mut unread).await.unwrap(), 0);
            }
            return Err(Answer {
                status,
                headers,
                body: unread,
            });
        }
        Ok(Self::of(socket, unread, headers))
    }

    /// Reads a stream whose head has come.
    pub fn of(
        socket: impl Link + 'static,
        unread: Vec<u8>,
        headers: Vec<(String, String)>,
    ) -> Self {
        Self {
            socket: Box::new(socket),
            unread,
            headers,
            last_event_id: None,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the next block, whatever it is; `None` at the end of the stream.
    pub async fn block(&mut self) -> Option<Block> {
        let next = async {
            loop {
                if let Some(end) = self.unread.windows(2).position(|window| window == b"\n\n") {
                    let bytes: Vec<u8> = self.unread.drain(..end + 2).collect();
                    let block = Block::parse(std::str::from_utf8(&bytes).expect("UTF-8"));
                    if block.id.is_some() {
                        self.last_event_id.clone_from(&block.id);
                    }
                    return Some(block);
                }
                if self.socket.read_buf(&mut self.unread).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next)
            .await
            .expect("a block in time")
    }

    /// Reads up to the end of the stream; an error when it is not a whole one.
    pub async fn end(&mut self) -> std::io::Result<()> {
        let read = async {
            while self.socket.read_buf(&mut self.unread).await? > 0 {}
            Ok(())
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an end in time")
    }

    /// Returns the next event, without comments, `retry:` and blocks of only an id.
    pub async fn event(&mut self) -> Block {
        let next = async {
            loop {
                let block = self.block().await.expect("the stream goes on");
                if block.data.is_some() {
                    return block;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next)
            .await
            .expect("an event in time")
    }

    /// Returns the next event that is not of Sluicegate itself.
    pub async fn next(&mut self) -> Value {
        loop {
            let event = self.event().await;
            if event.is_published() {
                return event.json();
            }
        }
    }

    /// Returns the ids of the next events.
    pub async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            ids.push(self.next().await["id"].as_str().expect("an id").to_owned());
        }
        ids
    }

    /// Reads `rig.connection.create` and `rig.subscriptions_set`; returns the connection token.
    pub async fn subscribed(&mut self) -> String {
        let created = self.event().await;
        assert_eq!(created.event.as_deref(), Some("rig.connection.create"));
        let set = self.event().await;
        assert_eq!(set.event.as_deref(), Some("rig.subscriptions_set"));
        created.json()["data"]["connection_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// Asserts that no event comes for a while.
    pub async fn stays_quiet(&mut self, duration: Duration) {
        if let Ok(event) = tokio::time::timeout(duration, self.event()).await {
            panic!("an event that nobody asked for: {event:?}");
        }
    }
}
