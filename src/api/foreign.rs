//! Keeps the pages of others away from the internal port, which has no users with browsers but for its own page.
//!
//! A browser on this machine, or next to it, reaches the port although its user is all that is trusted, not the pages
//! that they visit. Such a page gives itself away in `Origin`; one whose name was pointed here (DNS rebinding) is of
//! our own origin to the browser, but for that name.

use http::StatusCode;
use http::header::{HOST, ORIGIN};

use crate::http::{HttpError, Request};

/// Refuses what a browser sends for a page of another origin, or of our own under the name of somebody else.
///
/// # Errors
/// 403.
pub(super) fn refuse_foreign_pages(request: &Request) -> Result<(), HttpError> {
    let Some(origin) = request.headers.get(ORIGIN) else {
        return Ok(());
    };
    let host = host(request).unwrap_or_default();
    let is_own = origin.to_str().is_ok_and(|origin| {
        origin == format!("http://{host}") || origin == format!("https://{host}")
    });
    if is_own && is_local_name(host) {
        return Ok(());
    }
    Err(HttpError::new(
        StatusCode::FORBIDDEN,
        "foreign_origin",
        "This port does not answer pages of other origins.",
    ))
}

/// Refuses what comes from this machine and calls it by a name that anybody may have pointed here: a page sends no
/// `Origin` with a `GET` to its own origin. For a port that asks nobody who they are.
///
/// # Errors
/// 403.
pub(super) fn refuse_foreign_names(request: &Request) -> Result<(), HttpError> {
    let is_ours = host(request).is_none_or(is_local_name);
    if is_ours || !request.peer.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(HttpError::new(
        StatusCode::FORBIDDEN,
        "foreign_host",
        "From its own machine, this port is called localhost or by its address; or set API_TOKEN.",
    ))
}

fn host(request: &Request) -> Option<&str> {
    let host = request.headers.get(HOST)?;
    // What is no text is no name of ours.
    Some(host.to_str().unwrap_or("?"))
}

/// Returns whether a host is an address, or a name that browsers never look up (RFC 6761, 6.3).
fn is_local_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default().to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn request(peer: &str, host: Option<&str>, origin: Option<&str>) -> Request {
        let mut request = http::Request::builder().uri("/v3/sessions");
        for (name, value) in [(HOST, host), (ORIGIN, origin)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let request = request.body(Bytes::new()).unwrap();
        Request::new(
            request,
            (peer.parse::<std::net::IpAddr>().unwrap(), 1).into(),
        )
    }

    #[test]
    fn a_name_that_was_pointed_here_is_none_of_ours() {
        for (peer, host, is_refused) in [
            ("127.0.0.1", Some("localhost:4010"), false),
            ("127.0.0.1", Some("LOCALHOST"), false),
            ("127.0.0.1", Some("rig.localhost:4010"), false),
            ("127.0.0.1", Some("127.0.0.1:4010"), false),
            ("::1", Some("[::1]:4010"), false),
            ("::1", Some("[::1]"), false),
            ("127.0.0.1", Some("192.0.2.1:4010"), false),
            ("127.0.0.1", None, false),
            ("127.0.0.1", Some("evil.example:4010"), true),
            ("::1", Some("evil.example"), true),
            ("::ffff:127.0.0.1", Some("evil.example"), true),
            ("127.0.0.1", Some("localhost.evil.example"), true),
            ("127.0.0.1", Some("127.0.0.1.evil.example"), true),
            ("127.0.0.1", Some("evillocalhost"), true),
            ("127.0.0.1", Some(""), true),
            // From elsewhere, a name is how machines call each other.
            ("192.0.2.9", Some("sluicegate.internal:4010"), false),
        ] {
            let refused = refuse_foreign_names(&request(peer, host, None));
            assert_eq!(refused.is_err(), is_refused, "{peer} {host:?}");
        }
    }

    #[test]
    fn a_page_has_to_be_our_own_under_a_local_name() {
        for (host, origin, is_refused) in [
            ("localhost:4010", None, false),
            ("localhost:4010", Some("http://localhost:4010"), false),
            ("localhost:4011", Some("https://localhost:4011"), false),
            ("[::1]", Some("http://[::1]"), false),
            ("localhost:4010", Some("http://localhost:4000"), true),
            ("localhost:4010", Some("http://localhost"), true),
            ("localhost:4010", Some("https://app.example"), true),
            ("localhost:4010", Some("null"), true),
            ("localhost:4010", Some(""), true),
            ("evil.example:4010", Some("http://evil.example:4010"), true),
        ] {
            let refused = refuse_foreign_pages(&request("192.0.2.9", Some(host), origin));
            assert_eq!(refused.is_err(), is_refused, "{host} {origin:?}");
        }
    }
}
