//! Polls that wait.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Listening, SUBSCRIBED, find};
use crate::clients::target;

/// A client with the cookies that a browser would keep, on one connection.
struct Poll {
    socket: TcpStream,
    server: SocketAddr,
    target: String,
    cookies: BTreeMap<String, String>,
}

/// Polls until the subscriptions are in force, and once more.
pub(super) async fn wait(
    socket: TcpStream,
    server: SocketAddr,
    wanted: &str,
) -> anyhow::Result<Listening> {
    let mut poll = Poll {
        socket,
        server,
        target: target("longpolling", wanted),
        cookies: BTreeMap::new(),
    };
    poll.ask().await?;
    poll.hear().await?;
    poll.ask().await?;
    let answer = poll.hear().await?;
    ensure!(find(answer.as_bytes(), SUBSCRIBED).is_some(), "{answer}");
    poll.ask().await?;
    Ok(Box::pin(async move {
        if let Err(error) = poll.go_on().await {
            eprintln!("a poll has ended: {error:#}");
        }
    }))
}

impl Poll {
    /// Polls again whenever there is an answer.
    async fn go_on(&mut self) -> anyhow::Result<()> {
        loop {
            self.hear().await?;
            self.ask().await?;
        }
    }

    async fn ask(&mut self) -> anyhow::Result<()> {
        let Self { target, server, .. } = self;
        let mut request = format!("GET {target} HTTP/1.1\r\nhost: {server}\r\n");
        if !self.cookies.is_empty() {
            let pairs = self.cookies.iter();
            let pairs: Vec<String> = pairs
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request += &format!("cookie: {}\r\n", pairs.join("; "));
        }
        request += "\r\n";
        Ok(self.socket.write_all(request.as_bytes()).await?)
    }

    /// Reads an answer and keeps its cookies; returns its body.
    async fn hear(&mut self) -> anyhow::Result<String> {
        let mut answer = Vec::new();
        loop {
            let count = self.socket.read_buf(&mut answer).await?;
            let text = String::from_utf8_lossy(&answer);
            ensure!(count > 0, "closed: {text}");
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            ensure!(head.starts_with("HTTP/1.1 200 "), "refused: {text}");
            let fields = || head.lines().filter_map(|line| line.split_once(": "));
            let named = |wanted: &'static str| {
                fields().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted))
            };
            let length = named("content-length")
                .next()
                .context("no content-length")?
                .1;
            if body.len() < length.parse()? {
                continue;
            }
            for (_, cookie) in named("set-cookie") {
                let pair = cookie
                    .split(';')
                    .next()
                    .and_then(|pair| pair.split_once('='));
                let (name, value) = pair.context("not a cookie")?;
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
            return Ok(body.to_owned());
        }
    }
}
