//! A small HTTP/1.1 client over a plain socket: one request, one connection, bytes as they come.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long anything in a test may take.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self
            .headers
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// Asserts that this is a problem document (RFC 9457) with `status`, and returns its detail.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        problem["detail"]
            .as_str()
            .expect("a problem has a detail")
            .to_owned()
    }
}

/// Sends one request and reads its answer to the end.
pub async fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    raw(address, &written(method, target, headers, body)).await
}

/// Returns the bytes of a request.
pub fn written(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// Sends these bytes and reads one answer.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    raw_over(TcpStream::connect(address).await.unwrap(), bytes).await
}

/// Sends these bytes over a connection and reads one answer.
pub async fn raw_over(mut socket: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Answer {
    let exchange = async {
        // The server may refuse before it has read all; what it answers counts.
        let _written = socket.write_all(bytes).await;
        let mut answer = Vec::new();
        let _read = socket.read_to_end(&mut answer).await;
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, exchange)
        .await
        .expect("an answer in time");
    parse(&answer)
}

/// Reads an answer that is whole.
pub fn parse(bytes: &[u8]) -> Answer {
    let (head, body) = split_head(bytes)
        .unwrap_or_else(|| panic!("no whole answer: {:?}", String::from_utf8_lossy(bytes)));
    let (status, headers) = parse_head(&head);
    if status == 100 {
        return parse(body);
    }
    Answer {
        status,
        headers,
        body: body.to_vec(),
    }
}

/// Splits an answer into the text of its head and what follows.
pub fn split_head(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).expect("the head is text");
    Some((head, &bytes[end + 4..]))
}

/// Returns the status and the headers of a head.
pub fn parse_head(head: &str) -> (u16, Vec<(String, String)>) {
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .expect("a status line");
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    (status.parse().expect("a status"), headers)
}

/// Percent-encodes a query value.
pub fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
