//! A backend that reads requests byte for byte, by no other code than this, and answers as it is told to.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::certificates::Certificate;
use super::sse::Link;

/// A request as its bytes were.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// The request line and the header lines, without the empty line behind them.
    pub head: String,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// What came behind a chunked body.
    pub trailers: Vec<String>,
}

impl Sent {
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    pub fn method(&self) -> &str {
        self.line().split(' ').next().unwrap_or_default()
    }

    pub fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.head.split("\r\n").skip(1);
        lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a header line");
            (name, value.trim_matches(' '))
        })
    }

    /// Returns the values of a header, in the order in which they came.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers();
        named
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// Returns the value of a header that comes once at most.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} comes once: {all:?}");
        all.first().copied()
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }
}

type Noted = Arc<Mutex<Vec<Sent>>>;

/// A backend on a port of 127.0.0.1, until it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    is_tls: bool,
    seen: Noted,
    connections: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Upstream {
    /// Plays this part on each connection.
    pub async fn playing<F, Fut>(part: F) -> Self
    where
        F: Fn(Caller) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::start(0, None, part).await
    }

    /// Plays this part on each connection, at this port (0 for any), with TLS if there is a certificate for it.
    pub async fn start<F, Fut>(port: u16, tls: Option<TlsAcceptor>, part: F) -> Self
    where
        F: Fn(Caller) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_tls = tls.is_some();
        let (seen, connections) = (Noted::default(), Arc::new(AtomicUsize::new(0)));
        let (noted, counted) = (Arc::clone(&seen), Arc::clone(&connections));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut playing = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let link: Box<dyn Link> = match &tls {
                    None => Box::new(socket),
                    Some(tls) => match tls.accept(socket).await {
                        Ok(link) => Box::new(link),
                        // Whoever does not trust us goes away.
                        Err(_) => continue,
                    },
                };
                playing.spawn(part(Caller {
                    link,
                    unread: Vec::new(),
                    notes: Arc::clone(&noted),
                }));
            }
        });
        Self {
            address,
            is_tls,
            seen,
            connections,
            _serving: serving,
        }
    }

    /// Answers each request with 200 and its own body.
    pub async fn echoing() -> Self {
        Self::playing(echo).await
    }

    /// Answers the first request of each connection with these bytes, and closes it.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::playing(move |mut caller| {
            let answer = answer.clone();
            async move {
                if caller.request().await.is_some() {
                    caller.write(&answer).await;
                }
            }
        })
        .await
    }

    pub fn url(&self) -> String {
        let scheme = if self.is_tls {
            "https://localhost"
        } else {
            "http://127.0.0.1"
        };
        format!("{scheme}:{}", self.address.port())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many connections have come.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the requests since the last call, oldest first.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.seen.lock())
    }

    /// Returns the only request since the last call.
    pub fn one(&self) -> Sent {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }
}

/// Answers each request with 200 and its own body.
pub async fn echo(mut caller: Caller) {
    while let Some(sent) = caller.request().await {
        // The length of a body that is not sent is that of another request.
        let length = match sent.method() {
            "HEAD" => 1_234,
            _ => sent.body.len(),
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nx-echo: 1\r\n\r\n");
        caller.write(&[head.as_bytes(), &sent.body].concat()).await;
    }
}

/// Who is at the other end of a connection to a backend.
#[derive(Debug)]
pub struct Caller {
    pub link: Box<dyn Link>,
    unread: Vec<u8>,
    notes: Noted,
}

impl Caller {
    /// Reads a whole request and notes it; `None` at the end of the connection.
    pub async fn request(&mut self) -> Option<Sent> {
        let mut sent = self.read_head().await?;
        if sent.is_chunked() {
            assert_eq!(sent.header("content-length"), None, "{}", sent.head);
            while let Some(chunk) = self.chunk().await? {
                sent.body.extend_from_slice(&chunk);
            }
            loop {
                match self.until(b"\r\n").await? {
                    line if line.is_empty() => break,
                    line => sent.trailers.push(line),
                }
            }
        } else {
            assert_eq!(sent.header("transfer-encoding"), None, "{}", sent.head);
            let length = sent.header("content-length").unwrap_or("0");
            sent.body = self.exactly(length.parse().unwrap()).await?;
        }
        self.notes.lock().push(sent.clone());
        Some(sent)
    }

    /// Reads the head of a request and notes it.
    pub async fn head(&mut self) -> Option<Sent> {
        let sent = self.read_head().await?;
        self.notes.lock().push(sent.clone());
        Some(sent)
    }

    async fn read_head(&mut self) -> Option<Sent> {
        let head = self.until(b"\r\n\r\n").await?;
        let is_line = |line: &str| !line.is_empty() && !line.contains(['\r', '\n', '\0']);
        assert!(head.split("\r\n").all(is_line), "{head:?}");
        Some(Sent {
            head,
            ..Sent::default()
        })
    }

    /// Reads a chunk; an inner `None` is the last one.
    pub async fn chunk(&mut self) -> Option<Option<Vec<u8>>> {
        let size = self.until(b"\r\n").await?;
        let size = usize::from_str_radix(&size, 16).expect("the size of a chunk");
        if size == 0 {
            return Some(None);
        }
        let chunk = self.exactly(size).await?;
        assert_eq!(self.exactly(2).await?, b"\r\n");
        Some(Some(chunk))
    }

    /// Reads up to these bytes, and returns what comes before them.
    async fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            let found = self
                .unread
                .windows(end.len())
                .position(|window| window == end);
            if let Some(at) = found {
                let text = self.unread.drain(..at + end.len()).take(at).collect();
                return Some(String::from_utf8(text).expect("text"));
            }
            self.more().await?;
        }
    }

    async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            self.more().await?;
        }
        Some(self.unread.drain(..count).collect())
    }

    async fn more(&mut self) -> Option<()> {
        match self.link.read_buf(&mut self.unread).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }

    /// Reads and forgets as much as there is; returns how much, 0 at the end.
    pub async fn skip(&mut self) -> usize {
        let read = match self.unread.is_empty() {
            true => self.link.read_buf(&mut self.unread).await.unwrap_or(0),
            false => self.unread.len(),
        };
        self.unread.clear();
        read
    }

    /// Waits until the other side has ended.
    pub async fn ended(&mut self) {
        while self.skip().await > 0 {}
    }

    /// Writes and returns whether the other side still takes it.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.link.write_all(bytes).await.is_ok() && self.link.flush().await.is_ok()
    }
}

impl Certificate {
    /// Returns what a server with this certificate shakes hands with.
    pub fn server(&self, alpn: &[&str]) -> TlsAcceptor {
        use rustls::pki_types::pem::PemObject as _;
        let chain = rustls::pki_types::CertificateDer::from_pem_file(self.chain()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::from_pem_file(self.key()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}
