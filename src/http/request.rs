//! A request as handlers see it.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Method, Uri, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use super::error::HttpError;
use super::peer::Peer;
use super::proxies::TrustedProxies;

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
    has_client_certificate: bool,
    body: Source,
    body_deadline: Instant,
}

#[derive(Debug)]
enum Source {
    Socket(Incoming),
    Memory(Full<Bytes>),
    Taken,
}

/// The time in which a body has to arrive when no listener sets it.
const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(30);

impl Request {
    /// Makes a request from memory, for tests of handlers.
    #[must_use]
    pub fn new(request: http::Request<Bytes>, peer: std::net::SocketAddr) -> Self {
        let (head, body) = request.into_parts();
        let proxies = TrustedProxies::default();
        let peer = Peer::new(peer);
        let body = Source::Memory(Full::new(body));
        Self::from_head(head, body, (peer, &proxies), DEFAULT_BODY_TIMEOUT)
    }

    /// Takes over what hyper has read; the time for the body starts now.
    pub(super) fn from_hyper(
        head: http::request::Parts,
        body: Incoming,
        from: (Peer, &TrustedProxies),
        body_timeout: Duration,
    ) -> Self {
        Self::from_head(head, Source::Socket(body), from, body_timeout)
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
            has_client_certificate: peer.has_certificate,
            body,
            body_deadline: Instant::now() + body_timeout,
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

    /// Decodes the query: `application/x-www-form-urlencoded`, in the order in which it came.
    ///
    /// # Errors
    /// 400 when a name or a value is not UTF-8 after percent-decoding.
    pub fn query(&self) -> Result<Query, HttpError> {
        Query::parse(self.uri.query().unwrap_or_default())
    }

    /// Reads the whole body. A second call returns nothing.
    ///
    /// A `Content-Length` over the limit is refused before a byte is read, so that a client which waits for
    /// `100 Continue` sends nothing.
    ///
    /// # Errors
    /// 413 over `limit_bytes`, 415 with a content coding, 408 when the body did not arrive in time (counted from
    /// the end of the head), 400 when it ends early or is framed wrongly. The connection is closed after the answer.
    ///
    /// # Cancel safety
    /// Not cancel safe: what was read is lost, and a second call returns nothing.
    pub async fn body(&mut self, limit_bytes: usize) -> Result<Bytes, HttpError> {
        let source = std::mem::replace(&mut self.body, Source::Taken);
        self.check_content_encoding()?;
        let declared = self.declared_length();
        if declared.is_some_and(|length| length > limit_bytes as u64) {
            return Err(HttpError::too_large(limit_bytes));
        }
        let read = async {
            match source {
                Source::Socket(body) => collect(body, limit_bytes).await,
                Source::Memory(body) => collect(body, limit_bytes).await,
                Source::Taken => Ok(Bytes::new()),
            }
        };
        match tokio::time::timeout_at(self.body_deadline, read).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::body_timeout()),
        }
    }

    fn declared_length(&self) -> Option<u64> {
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
    // `http://host?query` has no path, and an origin form must start with one.
    let target = if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("/{target}")
    };
    target.parse().unwrap_or_else(|_| Uri::from_static("/"))
}

async fn collect<B>(mut body: B, limit_bytes: usize) -> Result<Bytes, HttpError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            HttpError::bad_request(
                "incomplete_body",
                "The request body is incomplete or malformed.",
            )
            .with_cause(error)
            .and_close()
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit_bytes {
            return Err(HttpError::too_large(limit_bytes));
        }
        if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                let hint = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
                rest.reserve(data.len().saturating_add(hint).min(limit_bytes));
            }
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// The parameters of a query, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Result<Self, HttpError> {
        let decode = |part: &str| {
            let part = part.replace('+', " ");
            percent_decode_str(&part)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| {
                    HttpError::bad_request(
                        "bad_query",
                        "The query is not UTF-8 after percent-decoding.",
                    )
                })
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, HttpError>>().map(Self)
    }

    /// Returns the value of `name`; of a repeated name the last one, as RIG did.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs()
            .rev()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Returns all pairs in the order in which they came.
    pub fn pairs(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
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
