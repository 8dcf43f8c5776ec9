//! Sessions as an operator ends them, and what their clients see then.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::Message;

use super::gateway::query;
use super::http::{self, PATIENCE};
use super::sse::Sse;
use super::ws::Ws;

/// Returns the query of a client that wants the events of type `t` and shows a token.
pub fn asking(token: &str) -> String {
    format!("{}&jwt={token}", query(&json!([{ "eventType": "t" }])))
}

/// Ends a session for ten minutes; returns the status of the answer.
pub async fn end(internal: SocketAddr, session: &str) -> u16 {
    let body = json!({ "sessionId": session, "validityInSeconds": 600 }).to_string();
    let headers = [("content-type", "application/json")];
    let target = "/v3/session-blacklist";
    let answer = http::request(internal, "POST", target, &headers, body.as_bytes());
    answer.await.status
}

/// Returns the status that somebody with a token gets who wants a stream.
pub async fn status(public: SocketAddr, token: &str) -> u16 {
    let target = format!("/_rig/v1/connection/sse?{}", asking(token));
    http::request(public, "HEAD", &target, &[], b"")
        .await
        .status
}

impl Sse {
    /// Reads a stream to its end; returns the types of its events.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut types = Vec::new();
        let read = async {
            while let Some(block) = self.block().await {
                types.extend(block.event);
            }
        };
        // Heartbeats would have it go on for ever.
        let ended = tokio::time::timeout(PATIENCE, read).await;
        assert!(ended.is_ok(), "the stream does not end: {types:?}");
        types
    }

    /// Asserts that nothing comes any more but the word that the session was ended.
    pub async fn is_killed(&mut self) {
        assert_eq!(self.rest().await, ["rig.session_killed"]);
    }
}

impl Ws {
    /// Asserts that nothing comes any more but the word that the session was ended.
    pub async fn is_killed(&mut self) {
        assert_eq!(self.event().await["type"], "rig.session_killed");
        assert_eq!(self.close_code().await.0, 4001);
    }

    /// Reads to the close of the server; returns its code.
    pub async fn last_words(&mut self) -> u16 {
        let read = async {
            loop {
                match self.message().await {
                    Message::Close(frame) => return frame.map_or(1005, |frame| frame.code.into()),
                    Message::Text(text) => assert!(!text.contains(r#""type":"t""#), "{text}"),
                    _ => {}
                }
            }
        };
        let closed = tokio::time::timeout(PATIENCE, read).await;
        closed.expect("the WebSocket closes")
    }
}

/// Returns whether the answer to a poll says that the session was ended.
pub fn says_killed(answer: &Value) -> bool {
    answer["events"]
        .as_array()
        .is_some_and(|events| events.iter().any(|one| one["type"] == "rig.session_killed"))
}
