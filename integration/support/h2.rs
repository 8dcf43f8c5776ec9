//! A client of HTTP/2 that decides itself when it reads.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http::{Answer, PATIENCE};
use super::sse::{Link, Sse};

/// One connection.
#[derive(Debug, Clone)]
pub struct Http2(SendRequest<Bytes>);

impl Http2 {
    pub async fn over(link: impl Link + 'static) -> Self {
        Self::with_window(link, 65_535).await
    }

    /// A client that lets each stream send so many bytes before it reads them.
    pub async fn with_window(link: impl Link + 'static, bytes: u32) -> Self {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(bytes)
            .initial_connection_window_size(1 << 20)
            .enable_push(false);
        let (client, connection) = builder.handshake(link).await.unwrap();
        tokio::spawn(async move {
            // Tests see on their streams that the connection ended.
            let _ended = connection.await;
        });
        Self(client)
    }

    /// Returns whether the server has said that it takes WebSockets.
    pub async fn takes_websockets(&mut self) -> bool {
        self.0 = self.0.clone().ready().await.unwrap();
        self.0.is_extended_connect_protocol_enabled()
    }

    pub async fn send(
        &self,
        request: Request<()>,
        is_end: bool,
    ) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut client = self.0.clone().ready().await?;
        client.send_request(request, is_end)
    }

    pub async fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let exchange = async {
            let request = request(method, target, headers);
            let (response, mut sender) = self.send(request, body.is_empty()).await.unwrap();
            if !body.is_empty() {
                // A refusal may come before the body is sent.
                let _sent = sender.send_data(Bytes::copy_from_slice(body), true);
            }
            read(response.await.unwrap()).await
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .expect("an answer in time")
    }

    pub async fn sse(&self, query: &str, headers: &[(&str, &str)]) -> Result<Sse, u16> {
        let target = format!("/_rig/v1/connection/sse?{query}");
        let (response, sender) = self
            .send(request("GET", &target, headers), true)
            .await
            .unwrap();
        let response = tokio::time::timeout(PATIENCE, response)
            .await
            .expect("an answer in time")
            .unwrap();
        if response.status() != 200 {
            return Err(response.status().as_u16());
        }
        let headers = texts(response.headers());
        Ok(Sse::of(Both::new(sender, response), Vec::new(), headers))
    }
}

/// Reads an answer to its end.
pub async fn read(response: Response<RecvStream>) -> Answer {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(data)) = stream.data().await {
        stream.flow_control().release_capacity(data.len()).unwrap();
        body.extend_from_slice(&data);
    }
    Answer {
        status: head.status.as_u16(),
        headers: texts(&head.headers),
        body,
    }
}

pub fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("https://localhost{target}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

pub fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect()
}

/// The bytes of one stream in both directions.
#[derive(Debug)]
pub struct Both {
    sender: SendStream<Bytes>,
    receiver: RecvStream,
    unread: Bytes,
}

impl Both {
    pub fn new(sender: SendStream<Bytes>, response: Response<RecvStream>) -> Self {
        Self {
            sender,
            receiver: response.into_body(),
            unread: Bytes::new(),
        }
    }
}

impl AsyncRead for Both {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.receiver.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Some(Ok(data)) => self.unread = data,
            }
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(count));
        self.receiver
            .flow_control()
            .release_capacity(count)
            .map_err(io::Error::other)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Both {
    /// What tests send fits into the windows.
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sender
            .send_data(Bytes::copy_from_slice(bytes), false)
            .map_err(io::Error::other)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(
            self.sender
                .send_data(Bytes::new(), true)
                .map_err(io::Error::other),
        )
    }
}
