//! Refuses requests whose end, or whose target, could be understood in two ways.
//!
//! hyper 1.12 accepts a request without `Host` or with two, takes `chunked, chunked` for chunked, and removes
//! `Content-Length` beside `Transfer-Encoding` before anyone can see it. Hence [`HeadWatch`], which looks at the
//! bytes themselves.

use http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, StatusCode, Version};

use super::error::HttpError;

/// Remembers the heads of the requests that hyper has read and not yet handed out.
#[derive(Debug, Default)]
pub(super) struct HeadWatch {
    /// Bytes of a body that are still to come.
    skip: u64,
    /// Set after a chunked request: the connection ends with it, so nothing after it is a head.
    is_over: bool,
    /// The end of a chunked body has not come yet.
    is_chunked_open: bool,
    unclaimed: Vec<u8>,
}

/// The framing fields of one head, as they were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Framing {
    content_lengths: usize,
    transfer_encodings: usize,
}

impl Framing {
    /// Whether the body is chunked, so that the connection has to be closed after the response.
    pub(super) const fn is_chunked(self) -> bool {
        self.transfer_encodings > 0
    }
}

impl HeadWatch {
    /// Notes bytes that were read from the socket, and returns whether some are those of a head.
    pub(super) fn record(&mut self, read: &[u8]) -> bool {
        if self.is_over {
            return false;
        }
        let skipped = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(read.len());
        self.skip = self.skip.saturating_sub(skipped as u64);
        self.unclaimed
            .extend_from_slice(read.get(skipped..).unwrap_or_default());
        skipped < read.len()
    }

    /// Notes that hyper has come to the end of a body.
    pub(super) const fn end_body(&mut self) {
        self.is_chunked_open = false;
    }

    /// Returns whether more of a body has to come.
    pub(super) const fn expects_body(&self) -> bool {
        self.skip > 0 || self.is_chunked_open
    }

    /// Takes the head of the request that hyper hands out now; `body_bytes` is its `Content-Length`.
    pub(super) fn take_head(&mut self, body_bytes: u64) -> Framing {
        let (framing, head_bytes) = scan(&self.unclaimed);
        self.is_over = framing.is_chunked();
        self.is_chunked_open = framing.is_chunked();
        let after_head = self.unclaimed.len().saturating_sub(head_bytes);
        let body_here = usize::try_from(body_bytes)
            .unwrap_or(usize::MAX)
            .min(after_head);
        self.skip = body_bytes.saturating_sub(body_here as u64);
        let rest = self
            .unclaimed
            .get(head_bytes.saturating_add(body_here)..)
            .unwrap_or_default();
        // A new vector, so that an idle connection keeps no memory.
        self.unclaimed = if self.is_over {
            Vec::new()
        } else {
            rest.to_vec()
        };
        framing
    }
}

/// Returns the framing fields of the head at the start of `bytes`, and the length of the head.
fn scan(bytes: &[u8]) -> (Framing, usize) {
    let mut framing = Framing::default();
    let mut length = 0;
    let mut is_before_request_line = true;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        length += line.len();
        let line = line.trim_ascii_end();
        if line.is_empty() {
            // RFC 9112, 2.2: empty lines before the request line are ignored.
            if is_before_request_line {
                continue;
            } else {
                break;
            }
        }
        is_before_request_line = false;
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if name.eq_ignore_ascii_case(b"content-length") {
            framing.content_lengths += 1;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            framing.transfer_encodings += 1;
        }
    }
    (framing, length)
}

/// Checks what hyper does not.
///
/// # Errors
/// 400 for a disputable length, target or host, 417 for an unknown expectation, 501 for `CONNECT` and `TRACE`; all of
/// them close the connection.
pub(super) fn check(head: &Parts, framing: Framing) -> Result<(), HttpError> {
    check_length(head, framing)?;
    check_target(head)?;
    check_host(head)?;
    check_demands(head)
}

/// Checks what is asked for, in whatever version of HTTP.
///
/// # Errors
/// As [`check`].
pub(super) fn check_demands(head: &Parts) -> Result<(), HttpError> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        let text = "This server neither tunnels nor echoes requests.";
        return Err(
            HttpError::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", text).and_close(),
        );
    }
    // RFC 9110, 10.1.1: an expectation that is not 100-continue cannot be met.
    if head
        .headers
        .get_all(EXPECT)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        let text = "The expectation is not supported.";
        return Err(
            HttpError::new(StatusCode::EXPECTATION_FAILED, "expectation_failed", text).and_close(),
        );
    }
    Ok(())
}

fn check_length(head: &Parts, framing: Framing) -> Result<(), HttpError> {
    let codings: Vec<_> = head.headers.get_all(TRANSFER_ENCODING).iter().collect();
    let is_plain_chunked =
        matches!(codings.as_slice(), [one] if one.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let problem = if framing.is_chunked() && framing.content_lengths > 0 {
        "Content-Length and Transfer-Encoding exclude each other."
    } else if framing.content_lengths > 1 {
        "Content-Length must be given once."
    } else if !codings.is_empty() && !is_plain_chunked {
        "The only transfer coding supported is one \"chunked\"."
    } else {
        return Ok(());
    };
    Err(HttpError::bad_request("ambiguous_length", problem).and_close())
}

/// RFC 9112, 3.2.3: a host alone is a target of `CONNECT` only.
fn check_target(head: &Parts) -> Result<(), HttpError> {
    let is_host = head.uri.scheme().is_none() && head.uri.authority().is_some();
    if is_host && head.method != Method::CONNECT {
        let text = "The target of the request is not a path.";
        return Err(HttpError::bad_request("bad_target", text).and_close());
    }
    Ok(())
}

pub(super) fn check_host(head: &Parts) -> Result<(), HttpError> {
    let hosts: Vec<_> = head.headers.get_all(HOST).iter().collect();
    let problem = match hosts.as_slice() {
        [] if head.version < Version::HTTP_11 => return Ok(()),
        // RFC 9112, 3.2: an HTTP/1.1 request without Host, with two, or with an invalid one is a 400.
        [] => "The Host header is missing.",
        [host] if host.is_empty() => return Ok(()),
        [host] => match host.to_str().map(str::parse::<http::uri::Authority>) {
            Ok(Ok(authority)) if !authority.as_str().contains('@') => return Ok(()),
            _ => "The Host header is not a host.",
        },
        _ => "There is more than one Host header.",
    };
    Err(HttpError::bad_request("bad_host", problem).and_close())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(content_lengths: usize, transfer_encodings: usize) -> Framing {
        Framing {
            content_lengths,
            transfer_encodings,
        }
    }

    #[test]
    fn heads_are_found_whatever_the_cuts() {
        let stream = b"\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nHost:GET / HTTP/1.1\nHOST: content-length:\n\nGET";
        for cut in 0..stream.len() {
            let mut watch = HeadWatch::default();
            let (first, second) = stream.split_at(cut);
            watch.record(first);
            let head = b"\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n".len();
            if cut < head {
                watch.record(second);
            }
            assert_eq!(watch.take_head(5), framing(1, 0), "cut at {cut}");
            if cut >= head {
                watch.record(second);
            }
            assert_eq!(watch.take_head(0), framing(0, 0), "cut at {cut}");
            assert_eq!(watch.unclaimed, b"GET", "cut at {cut}");
        }
    }

    #[test]
    fn a_long_body_is_skipped_without_being_kept() {
        let mut watch = HeadWatch::default();
        watch.record(b"POST / HTTP/1.1\r\ncontent-LENGTH: 1000\r\n\r\n0123456789");
        assert_eq!(watch.take_head(1_000), framing(1, 0));
        for _ in 0..99 {
            watch.record(b"0123456789");
            assert_eq!(watch.unclaimed.capacity(), 0);
        }
        watch.record(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length:5\r\n\r\n");
        assert_eq!(watch.take_head(0), framing(1, 1));
        watch.record(b"GET / HTTP/1.1\r\n\r\n");
        assert!(watch.unclaimed.is_empty());
    }

    fn refusal(
        version: Version,
        method: &str,
        headers: &[(&'static str, &str)],
        framing: Framing,
    ) -> Option<u16> {
        let mut request = http::Request::builder()
            .method(method)
            .uri("/")
            .version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        check(&head, framing)
            .err()
            .map(|error| error.status().as_u16())
    }

    const SOUND: Framing = Framing {
        content_lengths: 0,
        transfer_encodings: 0,
    };
    const CHUNKED: Framing = Framing {
        content_lengths: 0,
        transfer_encodings: 1,
    };

    /// Header lines, the framing that was seen, and the status of the refusal.
    type Case<'a> = (&'a [(&'static str, &'a str)], Framing, Option<u16>);

    const HOSTS: [Case<'static>; 9] = [
        (&[("host", "a")], SOUND, None),
        (&[("host", "a:80")], SOUND, None),
        (&[("host", "[::1]:80")], SOUND, None),
        (&[("host", "")], SOUND, None),
        (&[], SOUND, Some(400)),
        (&[("host", "a"), ("host", "b")], SOUND, Some(400)),
        (&[("host", "a b")], SOUND, Some(400)),
        (&[("host", "a@b")], SOUND, Some(400)),
        (&[("host", "a/b")], SOUND, Some(400)),
    ];

    const LENGTHS: [Case<'static>; 7] = [
        (
            &[("host", "a")],
            Framing {
                content_lengths: 1,
                transfer_encodings: 1,
            },
            Some(400),
        ),
        (
            &[("host", "a")],
            Framing {
                content_lengths: 2,
                transfer_encodings: 0,
            },
            Some(400),
        ),
        (
            &[("host", "a"), ("transfer-encoding", "Chunked")],
            CHUNKED,
            None,
        ),
        (
            &[("host", "a"), ("transfer-encoding", "chunked, chunked")],
            CHUNKED,
            Some(400),
        ),
        (
            &[("host", "a"), ("transfer-encoding", "gzip, chunked")],
            CHUNKED,
            Some(400),
        ),
        (&[("host", "a"), ("expect", "100-Continue")], SOUND, None),
        (&[("host", "a"), ("expect", "tea")], SOUND, Some(417)),
    ];

    #[test]
    fn disputable_requests_are_refused() {
        for (headers, framing, expected) in HOSTS.into_iter().chain(LENGTHS) {
            let refused = refusal(Version::HTTP_11, "POST", headers, framing);
            assert_eq!(refused, expected, "{headers:?} {framing:?}");
        }
        for method in ["TRACE", "CONNECT"] {
            let refused = refusal(Version::HTTP_11, method, &[("host", "a")], SOUND);
            assert_eq!(refused, Some(501), "{method}");
        }
        assert_eq!(refusal(Version::HTTP_10, "GET", &[], SOUND), None);
        let two = [("host", "a"), ("host", "a")];
        assert_eq!(refusal(Version::HTTP_10, "GET", &two, SOUND), Some(400));
    }
}
