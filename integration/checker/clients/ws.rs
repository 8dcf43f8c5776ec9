//! A client on a WebSocket that asks for cursors.

use std::net::SocketAddr;

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::session::{Batch, Broken, connect, refused};
use crate::support::http::encode;

/// An open WebSocket.
#[derive(Debug)]
pub struct WsSession(WebSocketStream<TcpStream>);

impl WsSession {
    pub async fn open(
        address: SocketAddr,
        query: &str,
        cursor: Option<String>,
    ) -> Result<Self, Broken> {
        let socket = connect(address).await?;
        let mut url = format!("ws://{address}/_rig/v1/connection/ws?cursors=true&{query}");
        if let Some(cursor) = &cursor {
            url.push_str(&format!("&last_event_id={}", encode(cursor)));
        }
        match tokio_tungstenite::client_async(url, socket).await {
            Ok((stream, _)) => Ok(Self(stream)),
            Err(Error::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                Err(refused(answer.status().as_u16(), &body, cursor.as_deref()))
            }
            Err(_) => Err(Broken::Cut),
        }
    }

    pub async fn next(&mut self) -> Result<Batch, Broken> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    let event: Value = serde_json::from_str(text.as_str())
                        .map_err(|_| Broken::Refused(format!("got {text:?}")))?;
                    let cursor = event["rigcursor"].as_str().map(str::to_owned);
                    return Ok(Batch {
                        events: vec![event],
                        cursor,
                        is_anew: false,
                    });
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return Err(Broken::Cut),
            }
        }
    }
}
