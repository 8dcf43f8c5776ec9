//! A client of server-sent events.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::session::{Batch, Broken, connect, refused};
use crate::support::http::{parse_head, split_head};
use crate::support::sse::Block;

/// An open stream.
#[derive(Debug)]
pub struct SseSession {
    socket: TcpStream,
    unread: Vec<u8>,
    /// Up to where `unread` has no end of a block.
    searched: usize,
}

impl SseSession {
    pub async fn open(
        address: SocketAddr,
        query: &str,
        cursor: Option<String>,
    ) -> Result<Self, Broken> {
        let mut socket = connect(address).await?;
        let mut head = format!(
            "GET /_rig/v1/connection/sse?{query} HTTP/1.1\r\nhost: checker\r\naccept: text/event-stream\r\n"
        );
        if let Some(cursor) = &cursor {
            head.push_str(&format!("last-event-id: {cursor}\r\n"));
        }
        head.push_str("\r\n");
        socket.write_all(head.as_bytes()).await?;
        let mut bytes = Vec::new();
        loop {
            if let Some((head, rest)) = split_head(&bytes) {
                let (status, _) = parse_head(&head);
                if status == 200 {
                    let unread = rest.to_vec();
                    return Ok(Self {
                        socket,
                        unread,
                        searched: 0,
                    });
                }
                return Err(refused(status, rest, cursor.as_deref()));
            }
            if socket.read_buf(&mut bytes).await? == 0 {
                return Err(Broken::Cut);
            }
        }
    }

    pub async fn next(&mut self) -> Result<Batch, Broken> {
        loop {
            let unsearched = &self.unread[self.searched..];
            if let Some(end) = unsearched.windows(2).position(|window| window == b"\n\n") {
                let bytes: Vec<u8> = self.unread.drain(..self.searched + end + 2).collect();
                self.searched = 0;
                return Self::batch(&bytes);
            }
            self.searched = self.unread.len().saturating_sub(1);
            if self.socket.read_buf(&mut self.unread).await? == 0 {
                return Err(Broken::Cut);
            }
        }
    }

    fn batch(bytes: &[u8]) -> Result<Batch, Broken> {
        let damaged = || Broken::Refused(format!("got {:?}", String::from_utf8_lossy(bytes)));
        let block = Block::parse(std::str::from_utf8(bytes).map_err(|_| damaged())?);
        let mut batch = Batch {
            cursor: block.id,
            ..Batch::default()
        };
        if let Some(data) = &block.data {
            let event = serde_json::from_str(data).map_err(|_| damaged())?;
            batch.events.push(event);
        }
        Ok(batch)
    }
}
