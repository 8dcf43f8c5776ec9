//! Clients that send a request, read its answer whole, and send the next one, over connections that are kept.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::sheet::{Faults, part};
use crate::tally::part_of;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked, and how the answer is told from another one's.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// The body of the request with this number.
    pub(crate) body: fn(u64) -> Bytes,
    /// Whether this is the body of the answer to that request.
    pub(crate) is_answer: fn(u64, &[u8]) -> bool,
}

/// Connections of HTTP/1.1 to one server, each with one request at a time.
#[derive(Debug)]
pub(crate) struct Askers {
    server: SocketAddr,
    senders: Vec<SendRequest<Full<Bytes>>>,
}

/// What came of the requests of some seconds.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    latencies_us: Vec<u32>,
    elapsed: Duration,
    pub(crate) faults: Faults,
}

impl Asked {
    pub(crate) const fn count(&self) -> u64 {
        self.latencies_us.len() as u64
    }

    pub(crate) fn per_second(&self) -> f64 {
        part(self.count(), self.elapsed.as_secs_f64())
    }

    /// Returns the time that the given part of all answers took at most.
    pub(crate) fn latency(&mut self, part: f64) -> Duration {
        part_of(&mut self.latencies_us, part).unwrap_or_default()
    }

    fn add(&mut self, other: Self) {
        self.latencies_us.extend(other.latencies_us);
        self.faults += other.faults;
    }
}

impl Askers {
    /// Opens so many connections; needs a local set.
    pub(crate) async fn open(server: SocketAddr, count: u32) -> anyhow::Result<Self> {
        let mut senders = Vec::new();
        for _ in 0..count {
            let socket = TcpStream::connect(server).await?;
            socket.set_nodelay(true)?;
            let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
            tokio::task::spawn_local(async move {
                // The request that it fails in says so.
                drop(connection.await);
            });
            senders.push(sender);
        }
        Ok(Self { server, senders })
    }

    /// Asks on all connections for so long.
    pub(crate) async fn ask(&mut self, question: &Question, duration: Duration) -> Asked {
        let began = Instant::now();
        let (server, number) = (self.server, Cell::new(0));
        let asking = self
            .senders
            .iter_mut()
            .map(|sender| ask_on(sender, server, question, &number, began + duration));
        let mut asked = Asked::default();
        for of_one in join_all(asking).await {
            asked.add(of_one);
        }
        asked.elapsed = began.elapsed();
        asked
    }
}

async fn ask_on(
    sender: &mut SendRequest<Full<Bytes>>,
    server: SocketAddr,
    question: &Question,
    number: &Cell<u64>,
    until: Instant,
) -> Asked {
    let mut asked = Asked::default();
    loop {
        let began = Instant::now();
        if began >= until {
            return asked;
        }
        let own = number.replace(number.get() + 1);
        let exchange = exchange(sender, server, question, own);
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(Ok(body)) if (question.is_answer)(own, &body) => {
                let took_us = began.elapsed().as_micros();
                asked
                    .latencies_us
                    .push(u32::try_from(took_us).unwrap_or(u32::MAX));
            }
            Ok(Ok(_)) => asked.faults.foreign += 1,
            Ok(Err(error)) => {
                eprintln!("a request failed: {error:#}");
                asked.faults.closed += 1;
                return asked;
            }
            Err(_elapsed) => {
                asked.faults.lost += 1;
                return asked;
            }
        }
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    server: SocketAddr,
    question: &Question,
    number: u64,
) -> anyhow::Result<Bytes> {
    let body = (question.body)(number);
    let mut request = Request::builder()
        .method(&question.method)
        .uri(question.path)
        .header(HOST, server.to_string());
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    sender.ready().await.context("the connection is closed")?;
    let answer = sender.send_request(request.body(Full::new(body))?).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    ensure!(
        status == StatusCode::OK,
        "{status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(body)
}
