//! A client that polls, with the cookies that a browser would keep.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::session::{Batch, Broken, connect, refused};
use crate::support::http::{Answer, encode, parse_head, split_head};

/// What a client that polls keeps over all of its polls.
#[derive(Debug, Default, Clone)]
pub struct Poll {
    /// The cookie `connection_token`.
    token: Option<String>,
    /// What follows the cursor in the cookie `last_event_id`; none before the first events.
    revision: Option<String>,
}

/// A client that polls one instance for a while.
#[derive(Debug)]
pub struct Polling {
    address: SocketAddr,
    query: String,
    cursor: Option<String>,
}

impl Polling {
    pub const fn new(address: SocketAddr, query: String, cursor: Option<String>) -> Self {
        Self {
            address,
            query,
            cursor,
        }
    }

    /// Polls once. The cookies change only when the whole answer has come.
    pub async fn next(&mut self, poll: &mut Poll) -> Result<Batch, Broken> {
        let answer = self.ask(poll).await?;
        if answer.status != 200 {
            let cursor = self.cursor.as_deref();
            return Err(refused(answer.status, &answer.body, cursor));
        }
        let damaged = || Broken::Refused(format!("got {:?}", answer.body));
        let body: Value = serde_json::from_slice(&answer.body).map_err(|_| damaged())?;
        let token = cookie(&answer, "connection_token").ok_or_else(damaged)?;
        if body == "ok" {
            let is_anew = poll.token.is_some();
            *poll = Poll {
                token: Some(token),
                revision: None,
            };
            return Ok(Batch {
                is_anew,
                ..Batch::default()
            });
        }
        let last = body["last_event_id"].as_str().ok_or_else(damaged)?;
        let (cursor, revision) = last.rsplit_once('.').ok_or_else(damaged)?;
        *poll = Poll {
            token: Some(token),
            revision: Some(revision.to_owned()),
        };
        self.cursor = Some(cursor.to_owned());
        Ok(Batch {
            events: body["events"].as_array().ok_or_else(damaged)?.clone(),
            cursor: self.cursor.clone(),
            is_anew: false,
        })
    }

    async fn ask(&self, poll: &Poll) -> Result<Answer, Broken> {
        let mut query = self.query.clone();
        if let Some(cursor) = &self.cursor {
            query.push_str(&format!("&last_event_id={}", encode(cursor)));
        }
        let mut head = format!(
            "GET /_rig/v1/connection/longpolling?{query} HTTP/1.1\r\nhost: checker\r\nconnection: close\r\n"
        );
        if let Some(token) = &poll.token {
            let last = match (&self.cursor, &poll.revision) {
                (Some(cursor), Some(revision)) => format!("{cursor}.{revision}"),
                _ => "first_event".to_owned(),
            };
            head.push_str(&format!(
                "cookie: connection_token={token}; last_event_id=\"{last}\"\r\n"
            ));
        }
        head.push_str("\r\n");
        let mut socket = connect(self.address).await?;
        socket.write_all(head.as_bytes()).await?;
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await?;
        let (head, body) = split_head(&bytes).ok_or(Broken::Cut)?;
        let (status, headers) = parse_head(&head);
        let answer = Answer {
            status,
            headers,
            body: body.to_vec(),
        };
        let length = answer.header("content-length").map(str::parse::<usize>);
        match length {
            Some(Ok(length)) if length == answer.body.len() => Ok(answer),
            _ => Err(Broken::Cut),
        }
    }
}

fn cookie(answer: &Answer, name: &str) -> Option<String> {
    let pairs = answer.all("set-cookie");
    let mut pairs = pairs.filter_map(|cookie| cookie.split(';').next()?.split_once('='));
    let found = pairs.find(|(known, _)| *known == name);
    found.map(|(_, value)| value.to_owned())
}
