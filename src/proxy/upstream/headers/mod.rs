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

use crate::proxy::answers::CORRELATION_HEADER;

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
    HeaderName::from_static(CORRELATION_HEADER),
];
/// The same, by how their names begin.
const END_TO_END_PREFIXES: [&str; 2] = ["x-forwarded-", "sec-"];

/// Removes what was meant for the connection on which the fields came; what `is_ours` stays, although `Connection`
/// names it.
fn remove_hop_by_hop(headers: &mut HeaderMap, is_ours: impl Fn(&HeaderName) -> bool) {
    let named: Vec<HeaderName> = options(headers, &CONNECTION)
        .filter_map(|option| HeaderName::from_bytes(option.as_bytes()).ok())
        .filter(|name| !is_end_to_end(name) && !is_ours(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Prepares the fields of a request to go on, but for those that say for whom it is asked. Of what `is_ours`,
/// `Connection` can take nothing away.
pub(super) fn clean_request(headers: &mut HeaderMap, is_ours: impl Fn(&HeaderName) -> bool) {
    let takes_trailers =
        options(headers, &TE).any(|option| option.eq_ignore_ascii_case("trailers"));
    remove_hop_by_hop(headers, is_ours);
    // Whoever reads the body lets the client send it.
    headers.remove(EXPECT);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes fields whose names become those of others where `_` is written for `-`, as in CGI (RFC 3875, 4.1.18): of
/// fields that a backend decides by, and of those that `is_ours`.
pub(super) fn remove_lookalikes(headers: &mut HeaderMap, is_ours: impl Fn(&HeaderName) -> bool) {
    let looks_like_another = |name: &&HeaderName| {
        let other = name.as_str().replace('_', "-");
        let other = HeaderName::try_from(other);
        name.as_str().contains('_')
            && other.is_ok_and(|other| {
                is_end_to_end(&other) || HOP_BY_HOP.contains(&other) || is_ours(&other)
            })
    };
    let lookalikes: Vec<HeaderName> = headers.keys().filter(looks_like_another).cloned().collect();
    for name in lookalikes {
        headers.remove(name);
    }
}

/// Prepares the fields of an answer to go on.
pub(super) fn clean_answer(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers, |_| false);
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

/// Removes from trailers what must not be there (RFC 9110, 6.5.1): what frames a message, says whose it is, or that
/// the other end decides by; also what `is_ours`, since an end that merges trailers into the fields would have them.
pub(super) fn without_dangerous_trailers(
    mut frame: Frame<Bytes>,
    is_ours: impl Fn(&HeaderName) -> bool,
) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        remove_lookalikes(trailers, &is_ours);
        let is_dangerous =
            |name: &&HeaderName| is_end_to_end(name) || HOP_BY_HOP.contains(name) || is_ours(name);
        let dangerous: Vec<HeaderName> = trailers.keys().filter(is_dangerous).cloned().collect();
        for name in dangerous {
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
mod tests;
