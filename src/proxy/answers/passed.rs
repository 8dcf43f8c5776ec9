//! Which headers of a message with an answer are for the client.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::telemetry::Limited;

/// How many headers an answer has at most.
const MAX_HEADERS: usize = 100;

/// Where a message with an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poster {
    /// A record of Kafka: its headers were all written for the client.
    Record,
    /// A request, some of whose headers are about itself.
    Request,
}

/// Never passed on: what frames an answer and belongs to one connection (RFC 9110, 7.6.1), what this server says
/// itself, and what says who the message is for.
const NEVER: [&str; 17] = [
    "connection",
    "content-length",
    "date",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "server",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// As [`NEVER`], for all that begin so. Whose pages may read an answer is decided here and not by who answers.
const NEVER_BEGINS: [&str; 4] = ["rig-", "ce_", "ce-", "access-control-"];

/// Of a request: what it says of itself, of its sender and of the way that it took.
const OF_REQUESTS: [&str; 34] = [
    "alt-used",
    "api-key",
    "authorization",
    "b3",
    "baggage",
    "cdn-loop",
    "client-ip",
    "content-encoding",
    "cookie",
    "dnt",
    "early-data",
    "forwarded",
    "from",
    "grpc-timeout",
    "idempotency-key",
    "max-forwards",
    "origin",
    "prefer",
    "priority",
    "proxy-authorization",
    "range",
    "referer",
    "request-id",
    "sentry-trace",
    "sw8",
    "true-client-ip",
    "uber-trace-id",
    "upgrade-insecure-requests",
    "user-agent",
    "x-api-key",
    "x-correlation-id",
    "x-real-ip",
    "x-request-id",
    "x-request-start",
];

/// As [`OF_REQUESTS`], for all that begin so.
const OF_REQUESTS_BEGINS: [&str; 15] = [
    "accept",
    "cf-",
    "elastic-apm-",
    "fly-",
    "if-",
    "sec-",
    "x-amz",
    "x-auth",
    "x-azure-",
    "x-b3-",
    "x-client-",
    "x-cloud-trace-",
    "x-datadog-",
    "x-envoy-",
    "x-forwarded",
];

/// Returns whether a header of a message is for the client. The name is in lower case.
fn is_passed(name: &str, poster: Poster) -> bool {
    let begins = |with: &[&str]| with.iter().any(|start| name.starts_with(start));
    let never = NEVER.contains(&name) || begins(&NEVER_BEGINS);
    let of_request =
        || OF_REQUESTS.contains(&name) || begins(&OF_REQUESTS_BEGINS) && name != "accept-ranges";
    !never && (poster == Poster::Record || !of_request())
}

/// Takes from the headers of a message those that are for the client, at most a hundred. What could not stand in a
/// response, such as a value with a line break or one that is not UTF-8, is left out, and `log` says so.
pub(super) fn passed_on(
    headers: &[(&str, Option<&[u8]>)],
    poster: Poster,
    log: &HeaderLog,
) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for (name, value) in headers {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            log.left_out("its name is none");
            continue;
        };
        if !is_passed(parsed.as_str(), poster) {
            continue;
        }
        let value = value.unwrap_or_default();
        match HeaderValue::from_bytes(value) {
            Ok(value) if std::str::from_utf8(value.as_bytes()).is_ok() => {
                if passed.len() >= MAX_HEADERS {
                    log.left_out("there are too many");
                    break;
                }
                passed.append(parsed, value);
            }
            _ => log.left_out("its value has control characters or is not UTF-8"),
        }
    }
    passed
}

/// Says which headers are left out, at a limited rate.
#[derive(Debug)]
pub(super) struct HeaderLog(Limited);

impl Default for HeaderLog {
    fn default() -> Self {
        Self(Limited::new(Duration::from_secs(10)))
    }
}

impl HeaderLog {
    fn left_out(&self, reason: &'static str) {
        if let Some(held_back) = self.0.admit(reason, Instant::now()) {
            tracing::warn!(held_back, reason, "a header of an answer is left out");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(headers: &[(&str, Option<&[u8]>)], poster: Poster) -> Vec<String> {
        let passed = passed_on(headers, poster, &HeaderLog::default());
        let mut names: Vec<String> = passed.keys().map(ToString::to_string).collect();
        names.sort_unstable();
        names
    }

    const VALUE: Option<&[u8]> = Some(b"x");

    #[test]
    fn a_record_passes_on_all_but_framing_and_what_it_is_for() {
        let headers = [
            ("Content-Type", VALUE),
            ("X-Custom", VALUE),
            ("set-cookie", VALUE),
            ("user-agent", VALUE),
            ("empty", None),
            ("rig-correlation", VALUE),
            ("RIG-Response-Code", VALUE),
            ("ce_id", VALUE),
            ("Content-Length", VALUE),
            ("Transfer-Encoding", VALUE),
            ("connection", VALUE),
            ("access-control-allow-origin", VALUE),
        ];
        assert_eq!(
            names(&headers, Poster::Record),
            [
                "content-type",
                "empty",
                "set-cookie",
                "user-agent",
                "x-custom"
            ]
        );
    }

    #[test]
    fn a_request_passes_on_nothing_about_itself_or_its_sender() {
        let mut headers: Vec<(&str, Option<&[u8]>)> = Vec::new();
        for name in NEVER.iter().chain(&OF_REQUESTS) {
            headers.push((name, VALUE));
        }
        for name in [
            "accept",
            "Accept-Encoding",
            "X-Forwarded-For",
            "x-amzn-trace-id",
            "x-auth-token",
            "sec-fetch-mode",
            "if-match",
            "ce-id",
            "access-control-request-method",
        ] {
            headers.push((name, VALUE));
        }
        assert_eq!(names(&headers, Poster::Request), Vec::<String>::new());
        for name in [
            "content-type",
            "content-language",
            "cache-control",
            "etag",
            "location",
            "set-cookie",
            "www-authenticate",
            "accept-ranges",
            "x-custom",
        ] {
            assert_eq!(names(&[(name, VALUE)], Poster::Request), [name]);
        }
    }

    #[test]
    fn what_cannot_stand_in_a_response_is_left_out() {
        for (name, value) in [
            ("a", &b"x\r\nset-cookie: y"[..]),
            ("a", b"x\ny"),
            ("a", b"x\0"),
            ("a", b"\xff"),
            ("a b", b"x"),
            ("a\r\nb", b"x"),
            ("", b"x"),
            ("a:", b"x"),
            ("\u{e4}", b"x"),
        ] {
            let kept = names(&[(name, Some(value)), ("b", VALUE)], Poster::Record);
            assert_eq!(kept, ["b"], "{name:?} {value:?}");
        }
        let many: Vec<String> = (0..1_000).map(|number| format!("h{number}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), VALUE)).collect();
        assert_eq!(names(&many, Poster::Record).len(), MAX_HEADERS);
    }
}
