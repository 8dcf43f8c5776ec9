//! A request as handlers see it.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Method, Uri, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as _;
use tokio::time::Instant;

use super::body_memory::{BodyMemory, HeldMemory};
use super::error::HttpError;
use super::peer::Peer;
use super::proxies::TrustedProxies;
use super::query::Query;
use super::received::{Received, Source, collect};
use super::reply::StreamBody;
use super::wire::Wire;

/// One request: its head, and a body that is read on demand.
#[derive(Debug)]
pub struct Request {
    /// The method; `CONNECT` and `TRACE` never reach a handler.
    pub method: Method,
    /// The target in origin form: path and query, or `*`. The authority of an absolute form was removed.
    pub uri: Uri,
    /// The header fields.
    pub headers: HeaderMap,
    /// The version of the request.
    pub version: Version,
    /// The other end of the connection: the client, or a proxy before us; see [`Request::client_address`].
    pub peer: std::net::SocketAddr,
    client: IpAddr,
    pub(super) proxies: TrustedProxies,
    has_client_certificate: bool,
    is_tls: bool,
    body: Source,
    /// Where the memory for the body comes from; `None` for one that is in memory.
    memory: Option<BodyMemory>,
    /// What the body has taken of it.
    held: Option<HeldMemory>,
    body_timeout: Duration,
    body_deadline: Instant,
    /// The connection, where the client has it for itself (HTTP/1.1).
    wire: Option<Wire>,
}

/// The time in which a body has to arrive when no listener sets it.
const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(30);

impl Request {
    /// Makes a request from memory, for tests of handlers.
    #[must_use]
    pub fn new(request: http::Request<Bytes>, peer: std::net::SocketAddr) -> Self {
        let (head, body) = request.into_parts();
        let nobody = TrustedProxies::default();
        Self::from_memory(head, body, (Peer::new(peer), &nobody))
    }

    /// Makes a request of which all is there.
    pub(super) fn from_memory(
        head: http::request::Parts,
        body: Bytes,
        from: (Peer, &TrustedProxies),
    ) -> Self {
        let body = Source::Memory(Full::new(body));
        Self::from_head(head, body, from, DEFAULT_BODY_TIMEOUT)
    }

    /// Makes a request that came in another way than over HTTP, of the client at the address `client`, whose
    /// connection has `peer` at its other end.
    ///
    /// The target has to be in origin form, and the head free of what says how a body is framed.
    #[must_use]
    pub fn from_parts(
        head: http::request::Parts,
        body: Bytes,
        client: IpAddr,
        peer: std::net::SocketAddr,
        is_tls: bool,
    ) -> Self {
        let mut request = Self::new(http::Request::from_parts(head, body), peer);
        request.client = client.to_canonical();
        request.is_tls = is_tls;
        request
    }

    /// Takes over what hyper has read; the time for the body starts now, and `memory` is for one that is read as a
    /// whole.
    pub(super) fn from_hyper(
        head: http::request::Parts,
        body: Source,
        from: (Peer, &TrustedProxies),
        body_timeout: Duration,
        memory: &BodyMemory,
    ) -> Self {
        let wire = match &body {
            Source::Http1(_, wire) => Some(wire.clone()),
            Source::Http2(_) | Source::Memory(_) | Source::Taken => None,
        };
        Self {
            wire,
            memory: Some(memory.clone()),
            ..Self::from_head(head, body, from, body_timeout)
        }
    }

    fn from_head(
        head: http::request::Parts,
        body: Source,
        (peer, proxies): (Peer, &TrustedProxies),
        body_timeout: Duration,
    ) -> Self {
        let client = proxies.client(peer.address.ip(), &head.headers);
        Self {
            method: head.method,
            uri: origin_form(head.uri),
            headers: head.headers,
            version: head.version,
            peer: peer.address,
            client,
            proxies: proxies.clone(),
            has_client_certificate: peer.has_certificate,
            is_tls: peer.is_tls,
            body,
            memory: None,
            held: None,
            body_timeout,
            body_deadline: Instant::now() + body_timeout,
            wire: None,
        }
    }

    /// Returns the path as it came: still percent-encoded, never normalised.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Returns the address of the client: that of the other end of the connection, or, where that is a trusted
    /// proxy, the one that it names in `Forwarded` or `X-Forwarded-For`. One of IPv4 is never mapped into IPv6.
    #[must_use]
    pub const fn client_address(&self) -> IpAddr {
        self.client
    }

    /// Returns whether the other end of the connection showed a certificate that was verified; only a port that
    /// asks for one gets to see any ([`Tls::verifying_clients`](super::Tls::verifying_clients)).
    #[must_use]
    pub const fn has_client_certificate(&self) -> bool {
        self.has_client_certificate
    }

    /// Returns whether the connection that it came over uses TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Says that nobody has to handle this request any longer when its client has left.
    ///
    /// The future of the handler, and then the body or the future of its [`Reply`](super::Reply), is dropped when the
    /// client resets its connection or ends its own side of it. Else the latter says only that there are no more
    /// requests. On HTTP/2, where a client that leaves resets its stream, this is so for all requests.
    ///
    /// A client that has sent more than a little behind this request is seen to leave only when it is written to.
    pub fn cancel_when_client_leaves(&self) {
        if let Some(wire) = &self.wire {
            wire.end_with_client();
        }
    }

    /// Decodes the query: `application/x-www-form-urlencoded`, in the order in which it came.
    ///
    /// # Errors
    /// 400 when a name or a value is not UTF-8 after percent-decoding.
    pub fn query(&self) -> Result<Query, HttpError> {
        Query::parse(self.uri.query().unwrap_or_default())
    }

    /// Reads the whole body. A second call returns nothing. The memory that it takes counts until the request is dropped.
    ///
    /// A `Content-Length` over the limit is refused before a byte is read, so that a client which waits for
    /// `100 Continue` sends nothing.
    ///
    /// # Errors
    /// 413 over `limit_bytes`, 415 with a content coding, 408 when the body did not arrive in time (counted from
    /// the end of the head), 400 when it ends early or is framed wrongly; 429 and 503 when the bodies of its client, or
    /// of all, take too much memory ([`BodyMemory`]). The connection is closed after the answer.
    ///
    /// # Cancel safety
    /// Not cancel safe: what was read is lost, and a second call returns nothing.
    pub async fn body(&mut self, limit_bytes: usize) -> Result<Bytes, HttpError> {
        let source = std::mem::replace(&mut self.body, Source::Taken);
        if matches!(source, Source::Taken) {
            return Ok(Bytes::new());
        }
        self.check_content_encoding()?;
        let declared = self.declared_length();
        if declared.is_some_and(|length| length > limit_bytes as u64) {
            return Err(HttpError::too_large(limit_bytes));
        }
        self.held = self.memory.as_ref().map(|memory| memory.of(self.client));
        let read = collect(source, limit_bytes, &mut self.held);
        match tokio::time::timeout_at(self.body_deadline, read).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::body_timeout()),
        }
    }

    /// Returns the memory that [`body`](Self::body) has taken, for whoever keeps the body for longer than the request.
    pub const fn take_memory(&mut self) -> Option<HeldMemory> {
        self.held.take()
    }

    /// Returns the body as it comes, with its trailers; nothing is decoded, and nothing is left for
    /// [`Request::body`].
    ///
    /// As much is read ahead as the connection's buffers hold. A client that waits for `100 Continue` gets that when the
    /// body is polled first. The length is known where the head declares it.
    ///
    /// The body fails, and is over, with [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof) where it ends early,
    /// [`InvalidData`](std::io::ErrorKind::InvalidData) where it is framed wrongly, and
    /// [`TimedOut`](std::io::ErrorKind::TimedOut) where nothing comes for the body timeout while it is polled. A body that
    /// is dropped before its end ends the connection after the answer (HTTP/1.1).
    pub fn take_body(&mut self) -> StreamBody {
        let source = std::mem::replace(&mut self.body, Source::Taken);
        Received::new(source, self.body_timeout).boxed_unsync()
    }

    /// Returns whether there may be a body; where there may not, the request ends with its head.
    #[must_use]
    pub fn has_body(&self) -> bool {
        !self.body.is_end_stream()
    }

    /// Returns the length of the body that the head declares, in bytes.
    #[must_use]
    pub fn declared_length(&self) -> Option<u64> {
        self.headers
            .get(CONTENT_LENGTH)?
            .to_str()
            .ok()?
            .parse()
            .ok()
    }

    fn check_content_encoding(&self) -> Result<(), HttpError> {
        let is_identity = |value: &http::HeaderValue| {
            value.is_empty() || value.as_bytes().eq_ignore_ascii_case(b"identity")
        };
        if self
            .headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .all(is_identity)
        {
            return Ok(());
        }
        // RFC 9110, 15.5.16: Accept-Encoding says that the coding was the reason.
        Err(
            HttpError::unsupported_media_type("Content codings of the body are not supported.")
                .with_header(
                    http::header::ACCEPT_ENCODING,
                    http::HeaderValue::from_static("identity"),
                )
                .and_close(),
        )
    }
}

/// Reduces an absolute form to its path and query: we are the origin server, whatever name we were called.
fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    // `http://host?query` has no path, and an origin form must start with one; `*` of HTTP/2 is none.
    let target = if target.starts_with('/') || target == "*" {
        target.to_owned()
    } else {
        format!("/{target}")
    };
    target.parse().unwrap_or_else(|_| Uri::from_static("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str) -> Request {
        let request = http::Request::builder()
            .uri(uri)
            .body(Bytes::new())
            .unwrap();
        Request::new(request, ([127, 0, 0, 1], 1).into())
    }

    #[test]
    fn queries_are_decoded() {
        let cases: [(&str, &[(&str, &str)]); 8] = [
            ("/", &[]),
            ("/?", &[]),
            ("/?a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("/?a+b=c%20d+e%2B", &[("a b", "c d e+")]),
            ("/?a&b=&=c&&", &[("a", ""), ("b", ""), ("", "c")]),
            ("/?a=b=c", &[("a", "b=c")]),
            (
                "/?j=%5B%7B%22x%22%3A%22%C3%A4%22%7D%5D",
                &[("j", "[{\"x\":\"ä\"}]")],
            ),
            ("/?a=%zz%4", &[("a", "%zz%4")]),
        ];
        for (uri, expected) in cases {
            let query = request(uri).query().unwrap();
            assert_eq!(query.pairs().collect::<Vec<_>>(), expected, "{uri}");
        }
    }

    #[test]
    fn queries_that_are_not_utf_8_are_refused() {
        for uri in ["/?a=%C0%A0", "/?%ff=1", "/?a=%ED%A0%80"] {
            assert_eq!(request(uri).query().unwrap_err().status(), 400, "{uri}");
        }
    }

    #[test]
    fn of_a_repeated_parameter_the_last_one_counts() {
        let query = request("/?jwt=a&x=1&jwt=b").query().unwrap();
        assert_eq!(query.get("jwt"), Some("b"));
        assert_eq!(query.get("y"), None);
    }

    #[test]
    fn absolute_forms_lose_their_authority() {
        for (uri, expected) in [
            ("/a?b", "/a?b"),
            ("http://evil.example/a?b", "/a?b"),
            ("http://evil.example", "/"),
            ("http://evil.example?b", "/?b"),
            ("*", "*"),
            ("//a/b", "//a/b"),
        ] {
            assert_eq!(request(uri).uri.to_string(), expected, "{uri}");
        }
    }

    fn with_body(headers: &[(&str, &str)], body: &'static str) -> Request {
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Request::new(
            request.body(Bytes::from_static(body.as_bytes())).unwrap(),
            ([127, 0, 0, 1], 1).into(),
        )
    }

    #[tokio::test]
    async fn bodies_are_limited_and_not_decoded() {
        assert_eq!(with_body(&[], "abc").body(3).await.unwrap(), "abc");
        assert_eq!(
            with_body(&[("content-encoding", "identity")], "abc")
                .body(3)
                .await
                .unwrap(),
            "abc"
        );
        assert_eq!(
            with_body(&[], "abcd").body(3).await.unwrap_err().status(),
            413
        );
        assert_eq!(
            with_body(&[("content-length", "4")], "")
                .body(3)
                .await
                .unwrap_err()
                .status(),
            413
        );
        assert_eq!(
            with_body(&[("content-encoding", "gzip")], "abc")
                .body(3)
                .await
                .unwrap_err()
                .status(),
            415
        );
        let mut request = with_body(&[], "abc");
        assert_eq!(request.body(3).await.unwrap(), "abc");
        assert_eq!(request.body(3).await.unwrap(), "");
    }
}
