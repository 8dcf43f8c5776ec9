//! Which header fields go on, and which end here.
//!
//! # Source
//! RFC 9110, 7.6.1 (`Connection`), 7.6.3 (`Via`), 10.1.4 (`TE`), 6.5.1 (trailers).

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALT_SVC, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, COOKIE, DATE, EXPECT, FORWARDED, HOST, ORIGIN, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use hyper::body::Frame;

/// Our name in `Via`.
const PSEUDONYM: &str = "sluicegate";
/// How often a request may have come through us before it is taken to go round in circles.
const MAX_ROUNDS: usize = 8;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Fields about one connection, whether or not `Connection` names them. `TE` and `Upgrade` are set anew where they
/// are to go on.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Fields that are for the other end, so that naming them in `Connection` is an attempt to hide something from it
/// (RFC 9110, 7.6.1: a sender must not). They stay.
const END_TO_END: [HeaderName; 17] = [
    HOST,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    AUTHORIZATION,
    COOKIE,
    SET_COOKIE,
    CACHE_CONTROL,
    DATE,
    FORWARDED,
    ORIGIN,
    TRAILER,
    VIA,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("rig-correlation"),
];
/// The same, by how their names begin.
const END_TO_END_PREFIXES: [&str; 2] = ["x-forwarded-", "sec-"];

/// What frames a message or says whose it is: not allowed to come behind the body (RFC 9110, 6.5.1).
const NOT_IN_TRAILERS: [HeaderName; 9] = [
    CONTENT_LENGTH,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    HOST,
    AUTHORIZATION,
    COOKIE,
    SET_COOKIE,
    TRAILER,
];

/// Removes what was meant for the connection on which the fields came.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = options(headers, &CONNECTION)
        .filter_map(|option| HeaderName::from_bytes(option.as_bytes()).ok())
        .filter(|name| !is_end_to_end(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Prepares the fields of a request to go on, but for those that say for whom it is asked.
pub(super) fn clean_request(headers: &mut HeaderMap) {
    let takes_trailers =
        options(headers, &TE).any(|option| option.eq_ignore_ascii_case("trailers"));
    remove_hop_by_hop(headers);
    // Whoever reads the body lets the client send it.
    headers.remove(EXPECT);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Prepares the fields of an answer to go on.
pub(super) fn clean_answer(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    // It would lead clients past us, to the backend itself.
    headers.remove(ALT_SVC);
}

/// Adds the configured fields; one of several of a name replaces what came.
pub(super) fn add(headers: &mut HeaderMap, added: &[(HeaderName, HeaderValue)]) {
    let may_be_added =
        |name: &HeaderName| !HOP_BY_HOP.contains(name) && ![CONTENT_LENGTH, EXPECT].contains(name);
    let mut last = None;
    for (name, value) in added.iter().filter(|(name, _)| may_be_added(name)) {
        if last == Some(name) {
            headers.append(name, value.clone());
        } else {
            headers.insert(name, value.clone());
        }
        last = Some(name);
    }
}

/// Adds us to those through whom a message came, with the version in which it did.
pub(super) fn add_via(headers: &mut HeaderMap, version: Version) {
    let name = match version {
        Version::HTTP_10 => HeaderValue::from_static("1.0 sluicegate"),
        Version::HTTP_2 => HeaderValue::from_static("2 sluicegate"),
        _ => HeaderValue::from_static("1.1 sluicegate"),
    };
    headers.append(VIA, name);
}

/// Whether a request has come through us so often that it goes round in circles.
pub(super) fn goes_round(headers: &HeaderMap) -> bool {
    let is_ours = |entry: &&str| entry.split_ascii_whitespace().nth(1) == Some(PSEUDONYM);
    options(headers, &VIA).filter(is_ours).count() >= MAX_ROUNDS
}

/// Whether a request asks for a WebSocket (RFC 6455, 4.1), with nothing about it that others could read otherwise.
pub(super) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    is_upgrade_to_websocket(headers)
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(TRANSFER_ENCODING)
}

/// Whether `Upgrade` is just `websocket`, and `Connection` names it.
pub(super) fn is_upgrade_to_websocket(headers: &HeaderMap) -> bool {
    let mut upgrades = options(headers, &UPGRADE);
    let is_websocket = upgrades
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case("websocket"));
    is_websocket
        && upgrades.next().is_none()
        && options(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case("upgrade"))
}

/// Asks for a WebSocket, or grants one.
pub(super) fn set_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Removes from trailers what must not be there.
pub(super) fn without_dangerous_trailers(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        for name in HOP_BY_HOP.iter().chain(&NOT_IN_TRAILERS) {
            trailers.remove(name);
        }
    }
    frame
}

/// Returns how long an idle connection can be counted on, where the backend says when it closes it: a little less
/// (RFC 2068, 19.7.1.1; what it says is a hint).
pub(super) fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    const MARGIN: Duration = Duration::from_secs(1);
    let timeout = options(headers, &KEEP_ALIVE).find_map(|option| {
        let (name, value) = option.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then_some(value)
    })?;
    let seconds: u32 = timeout.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.into()).saturating_sub(MARGIN))
}

/// Returns the elements of a list, over all its lines; what is no text has none.
fn options<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|option| !option.is_empty())
}

fn is_end_to_end(name: &HeaderName) -> bool {
    let has_prefix = |prefix: &&str| name.as_str().starts_with(*prefix);
    END_TO_END.contains(name) || END_TO_END_PREFIXES.iter().any(has_prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let parsed = lines.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::try_from(*value).unwrap())
        });
        let mut headers = HeaderMap::new();
        for (name, value) in parsed {
            headers.append(name, value);
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_for_one_connection_ends_here() {
        let mut request = headers(&[
            ("connection", "close, X-One"),
            ("connection", "x-two,,te, not a name"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
            ("te", "gzip"),
            ("expect", "100-continue"),
            ("trailer", "x-sum"),
        ]);
        clean_request(&mut request);
        assert_eq!(names(&request), ["trailer", "x-three"]);
    }

    #[test]
    fn connection_cannot_take_away_what_the_backend_decides_by() {
        let kept = [
            "authorization",
            "content-length",
            "content-type",
            "cookie",
            "forwarded",
            "host",
            "origin",
            "sec-fetch-site",
            "traceparent",
            "via",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-real-ip",
        ];
        let mut request = HeaderMap::new();
        for name in kept {
            request.append(CONNECTION, HeaderValue::from_static(name));
            request.append(name, HeaderValue::from_static("1"));
        }
        clean_request(&mut request);
        assert_eq!(names(&request), kept);
    }

    #[test]
    fn of_te_only_trailers_goes_on() {
        for (te, expected) in [
            ("trailers", Some("trailers")),
            ("gzip, Trailers", Some("trailers")),
            ("gzip", None),
            ("trailers;q=0.5", None),
        ] {
            let mut request = headers(&[("te", te), ("connection", "te")]);
            clean_request(&mut request);
            let found = request.get(TE).map(|value| value.to_str().unwrap());
            assert_eq!(found, expected, "{te}");
        }
    }

    #[test]
    fn answers_keep_their_order_and_lead_nobody_past_us() {
        let mut answer = headers(&[
            ("set-cookie", "a=1"),
            ("alt-svc", "h3=\":443\""),
            ("set-cookie", "b=2"),
            ("connection", "keep-alive, set-cookie"),
            ("keep-alive", "timeout=5"),
            ("date", "x"),
        ]);
        clean_answer(&mut answer);
        assert_eq!(names(&answer), ["date", "set-cookie"]);
        let cookies: Vec<_> = answer.get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
    }

    #[test]
    fn configured_fields_replace_what_came_but_frame_nothing() {
        let mut request = headers(&[("x-user", "mallory"), ("x-user", "eve")]);
        let added = [
            ("x-user", "alice"),
            ("host", "other.example"),
            ("connection", "close"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
        ]
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        add(&mut request, &added);
        assert_eq!(names(&request), ["host", "x-user"]);
        assert_eq!(request.get_all("x-user").iter().count(), 1);
        assert_eq!(request["x-user"], "alice");
    }

    #[test]
    fn a_request_that_comes_through_us_again_and_again_is_noticed() {
        let mut request = headers(&[("via", "1.1 other, 1.0 sluicegate.example, HTTP/1.1 x")]);
        for round in 0..MAX_ROUNDS {
            assert!(!goes_round(&request), "{round}");
            add_via(&mut request, Version::HTTP_2);
        }
        assert!(goes_round(&request));
        assert_eq!(request.get_all(VIA).iter().count(), 1 + MAX_ROUNDS);
    }

    #[test]
    fn a_backend_that_says_when_it_closes_is_not_relied_on_for_longer() {
        for (value, seconds) in [
            ("timeout=5", Some(4)),
            ("max=100, Timeout = 60", Some(59)),
            ("timeout=0", Some(0)),
            ("timeout=x", None),
            ("max=100", None),
            ("timeout=99999999999", None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(
                keep_alive(&headers(&[("keep-alive", value)])),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn only_a_plain_request_for_a_websocket_is_one() {
        let cases: [(&[(&str, &str)], bool); 7] = [
            (&[("upgrade", "WebSocket"), ("connection", "Upgrade")], true),
            (
                &[
                    ("upgrade", "websocket"),
                    ("connection", "keep-alive, Upgrade"),
                ],
                true,
            ),
            (&[("upgrade", "websocket")], false),
            (&[("upgrade", "h2c"), ("connection", "upgrade")], false),
            (
                &[("upgrade", "websocket, h2c"), ("connection", "upgrade")],
                false,
            ),
            (
                &[
                    ("upgrade", "websocket"),
                    ("connection", "upgrade"),
                    ("content-length", "0"),
                ],
                false,
            ),
            (
                &[
                    ("upgrade", "websocket"),
                    ("connection", "upgrade"),
                    ("transfer-encoding", "chunked"),
                ],
                false,
            ),
        ];
        for (lines, expected) in cases {
            assert_eq!(asks_for_websocket(&headers(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn trailers_frame_nothing_and_name_nobody() {
        let trailers = headers(&[
            ("grpc-status", "0"),
            ("content-length", "5"),
            ("authorization", "x"),
            ("transfer-encoding", "chunked"),
        ]);
        let frame = without_dangerous_trailers(Frame::trailers(trailers));
        assert_eq!(names(frame.trailers_ref().unwrap()), ["grpc-status"]);
    }
}
