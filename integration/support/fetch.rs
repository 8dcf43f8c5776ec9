//! Requests whose answers are read bit by bit, every way in which clients come.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::h2::{Http2, request, texts};
use super::http::{PATIENCE, parse_head, split_head, written};
use super::sse::Link;
use super::ways::Client;

/// An answer of which the head is there.
#[derive(Debug)]
pub struct Fetched {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    body: Body,
    unread: Vec<u8>,
}

/// The answer ended before its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut;

#[derive(Debug)]
enum Body {
    Chunked(Box<dyn Link>),
    Sized(Box<dyn Link>, u64),
    UntilEnd(Box<dyn Link>),
    Http2(
        RecvStream,
        #[expect(dead_code, reason = "the connection stays open")] Http2,
    ),
    Over,
}

impl Client<'_> {
    /// Sends a request and reads the head of its answer.
    pub async fn fetch(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Fetched {
        let fetching = async {
            if self.way.is_http2() {
                return over_http2(self.http2().await, method, target, headers, body).await;
            }
            let mut link = self.connect().await;
            let bytes = written(method, target, headers, body);
            // A refusal may come before all is sent.
            let _written = link.write_all(&bytes).await;
            Fetched::read(link, method == "HEAD").await
        };
        in_time(fetching).await
    }
}

async fn over_http2(
    client: Http2,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Fetched {
    let request = request(method, target, headers);
    let (response, mut sender) = client.send(request, body.is_empty()).await.unwrap();
    if !body.is_empty() {
        // A refusal may come before all is sent.
        let _sent = sender.send_data(Bytes::copy_from_slice(body), true);
    }
    let (head, stream) = response.await.unwrap().into_parts();
    Fetched {
        status: head.status.as_u16(),
        headers: texts(&head.headers),
        body: Body::Http2(stream, client),
        unread: Vec::new(),
    }
}

/// Waits, but not for ever.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("in time")
}

impl Fetched {
    /// Reads the head of an answer over HTTP/1.1.
    pub async fn read(mut link: Box<dyn Link>, is_head: bool) -> Self {
        let mut unread = Vec::new();
        loop {
            if let Some((head, rest)) = split_head(&unread) {
                let (status, headers) = parse_head(&head);
                let rest = rest.to_vec();
                if status == 100 || status == 103 {
                    unread = rest;
                    continue;
                }
                let body = Body::framed(link, status, &headers, is_head);
                return Self {
                    status,
                    headers,
                    body,
                    unread: rest,
                };
            }
            let read = link.read_buf(&mut unread).await.unwrap();
            assert_ne!(
                read,
                0,
                "no whole head: {:?}",
                String::from_utf8_lossy(&unread)
            );
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let named = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let values: Vec<&str> = named.map(|(_, value)| value.as_str()).collect();
        assert!(values.len() < 2, "{name} comes once: {values:?}");
        values.first().copied()
    }

    /// Returns the next piece of the body; nothing at its end.
    pub async fn piece(&mut self) -> Result<Vec<u8>, Cut> {
        in_time(async {
            match &mut self.body {
                Body::Over => Ok(Vec::new()),
                Body::Http2(stream, _) => match stream.data().await {
                    None => Ok(Vec::new()),
                    Some(Err(_)) => Err(Cut),
                    Some(Ok(data)) => {
                        stream.flow_control().release_capacity(data.len()).unwrap();
                        Ok(data.to_vec())
                    }
                },
                Body::UntilEnd(link) => {
                    if self.unread.is_empty() {
                        // A reset is how the end of such an answer is not told.
                        link.read_buf(&mut self.unread).await.map_err(|_| Cut)?;
                    }
                    Ok(std::mem::take(&mut self.unread))
                }
                Body::Sized(_, 0) => Ok(Vec::new()),
                Body::Sized(link, left) => {
                    if self.unread.is_empty() && read_some(link, &mut self.unread).await == 0 {
                        return Err(Cut);
                    }
                    let piece = std::mem::take(&mut self.unread);
                    *left = left
                        .checked_sub(piece.len() as u64)
                        .expect("no more than it says");
                    Ok(piece)
                }
                Body::Chunked(link) => chunk(link, &mut self.unread).await,
            }
        })
        .await
    }

    /// Reads the body to its end.
    pub async fn whole(&mut self) -> Result<Vec<u8>, Cut> {
        let mut whole = Vec::new();
        loop {
            match self.piece().await? {
                piece if piece.is_empty() => return Ok(whole),
                piece => whole.extend_from_slice(&piece),
            }
        }
    }

    /// Reads up to this text.
    pub async fn until(&mut self, text: &str) -> String {
        let mut whole = Vec::new();
        while !whole.ends_with(text.as_bytes()) {
            let piece = self.piece().await.expect("more comes");
            assert!(
                !piece.is_empty(),
                "it ended with {:?}",
                String::from_utf8_lossy(&whole)
            );
            whole.extend_from_slice(&piece);
        }
        String::from_utf8(whole).unwrap()
    }

    /// Asserts that nothing more comes for a little while.
    pub async fn is_silent(&mut self) {
        let waiting = tokio::time::timeout(Duration::from_millis(200), self.piece());
        assert!(waiting.await.is_err(), "nothing comes");
    }
}

impl Body {
    fn framed(
        link: Box<dyn Link>,
        status: u16,
        headers: &[(String, String)],
        is_head: bool,
    ) -> Self {
        let value = |name: &str| {
            let found = headers
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str())
        };
        match (value("transfer-encoding"), value("content-length")) {
            _ if is_head || status == 204 || status == 304 => Self::Over,
            (Some(coding), None) => {
                assert_eq!(coding, "chunked");
                Self::Chunked(link)
            }
            (None, Some(length)) => Self::Sized(link, length.parse().unwrap()),
            (None, None) => Self::UntilEnd(link),
            both => panic!("framed twice: {both:?}"),
        }
    }
}

async fn read_some(link: &mut Box<dyn Link>, unread: &mut Vec<u8>) -> usize {
    link.read_buf(unread).await.unwrap_or(0)
}

/// Reads a chunk.
async fn chunk(link: &mut Box<dyn Link>, unread: &mut Vec<u8>) -> Result<Vec<u8>, Cut> {
    loop {
        if let Some(at) = unread.windows(2).position(|window| window == b"\r\n") {
            let size = std::str::from_utf8(&unread[..at]).unwrap();
            let size = usize::from_str_radix(size, 16).expect("a size");
            let end = at + 2 + size + 2;
            // The last one ends with the trailers, of which there are none here.
            if unread.len() >= end {
                assert_eq!(&unread[end - 2..end], b"\r\n");
                let chunk = unread[at + 2..end - 2].to_vec();
                unread.drain(..end);
                return Ok(chunk);
            }
        }
        if read_some(link, unread).await == 0 {
            return Err(Cut);
        }
    }
}
