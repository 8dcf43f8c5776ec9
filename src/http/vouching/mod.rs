//! What the upstream of the request proxy is told of who asks: `Forwarded`, and the `X-Forwarded-*` that most read.
//!
//! ```text
//! peer trusted? ─no─▶ what it says of others is dropped  ─┐
//!      │yes                                               ├─▶ and the peer itself is added
//!      └─▶ kept: the elements from the client's on, as far as trusted proxies wrote them ─┘
//! ```
//!
//! So the first address that an upstream finds is that of the client ([`Request::client_address`]).
//!
//! # Source
//! RFC 7239, sections 4 to 6. The others have no specification; they are written as nginx and Envoy do.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{FORWARDED, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::forwarded::{self, Hop, X_FORWARDED_FOR};
use super::request::Request;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

impl Request {
    /// Writes into `out`, the headers for an upstream, on whose behalf the request comes: `Forwarded`,
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    ///
    /// What `out` has of these is replaced; it may be a copy of the headers of the request. `X-Real-IP`, other
    /// `X-Forwarded-*` and whatever else only proxies may say stays where a trusted proxy sent it, and is taken out where a
    /// stranger did: also what names another path or method than those by which the route was found.
    pub fn write_forwarded(&self, out: &mut HeaderMap) {
        let peer = self.peer.ip().to_canonical();
        let is_trusted = self.proxies.trusts(peer);
        if !is_trusted {
            remove_claims(out);
        }
        let claimed = |name| is_trusted.then(|| last_word(&self.headers, name)).flatten();
        let proto = if self.is_tls() { "https" } else { "http" };
        let host = self.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.filter(|host| !host.is_empty());
        let hops = self.hops();

        let mut elements = vouched(&hops, forwarded::elements_as_sent(&self.headers), |hop| {
            format!("for={}", quoted(&node(hop)))
        });
        elements.push(own_element(peer, proto, host));
        set(out, FORWARDED, Some(&elements.join(", ")));

        let as_sent = forwarded::addresses_as_sent(&self.headers);
        let mut addresses = vouched(&hops, as_sent, name_of);
        addresses.push(peer.to_string());
        set(out, X_FORWARDED_FOR, Some(&addresses.join(", ")));

        let public_proto = claimed(X_FORWARDED_PROTO).filter(|word| is_scheme(word));
        set(out, X_FORWARDED_PROTO, public_proto.or(Some(proto)));
        let public_host = claimed(X_FORWARDED_HOST).filter(|word| is_host(word));
        set(out, X_FORWARDED_HOST, public_host.or(host));
    }

    /// Returns the hops between the client and the peer that trusted proxies tell of, the nearest first and the client
    /// last; without the peer itself.
    fn hops(&self) -> Vec<Hop> {
        let peer = self.peer.ip().to_canonical();
        let hops = self.proxies.hops(peer, &self.headers);
        if hops.is_empty() && self.client_address() != peer {
            // The connection of the client was forwarded before this request came over it.
            return vec![Hop::Address(self.client_address())];
        }
        hops
    }
}

/// Returns the elements of a header that count, the client's first: as they were sent where they were, else `made`.
fn vouched(hops: &[Hop], mut sent: Vec<String>, made: impl Fn(Hop) -> String) -> Vec<String> {
    sent.resize(hops.len(), String::new());
    let both = hops.iter().zip(sent).rev();
    both.map(|(hop, text)| if text.is_empty() { made(*hop) } else { text })
        .collect()
}

/// Returns the element for the peer.
fn own_element(peer: IpAddr, proto: &str, host: Option<&str>) -> String {
    let node = quoted(&node(Hop::Address(peer)));
    let host = host.map_or_else(String::new, |host| format!(";host={}", quoted(host)));
    format!("for={node};proto={proto}{host};by=_sluicegate")
}

/// Writes a hop as RFC 7239, 6 has it.
fn node(hop: Hop) -> String {
    match hop {
        Hop::Address(IpAddr::V6(address)) => format!("[{address}]"),
        hop => name_of(hop),
    }
}

fn name_of(hop: Hop) -> String {
    match hop {
        Hop::Address(address) => address.to_string(),
        Hop::Unknown => "unknown".to_owned(),
    }
}

/// Writes a value as a token where it is one, else as a quoted string (RFC 9110, 5.6.4).
fn quoted(value: &str) -> String {
    if forwarded::is_token(value) {
        return value.to_owned();
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// Headers with which proxies say who asks, or what was asked for before they changed it; some backends believe them.
/// `Proxy` says nothing, but is `HTTP_PROXY` to a backend over CGI, which may then send its own requests there (httpoxy).
const CLAIMS: [&str; 22] = [
    "client-cert",
    "client-cert-chain",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "proxy",
    "true-client-ip",
    "x-client-cert",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-scheme",
    "x-url-scheme",
];

/// As [`CLAIMS`], for all that begin so.
const CLAIMS_BEGIN: [&str; 9] = [
    "cf-",
    "cloudfront-",
    "fly-",
    "x-appengine-",
    "x-azure-",
    "x-envoy-",
    "x-forwarded",
    "x-original-",
    "x-rewrite-",
];

/// Takes out all that only proxies may say, also where `_` is written for `-`, as in CGI.
fn remove_claims(out: &mut HeaderMap) {
    let is_claim = |name: &HeaderName| {
        let mut name = Cow::from(name.as_str());
        if name.contains('_') {
            name = name.replace('_', "-").into();
        }
        CLAIMS.contains(&&*name) || CLAIMS_BEGIN.iter().any(|start| name.starts_with(start))
    };
    let claims: Vec<_> = out.keys().filter(|name| is_claim(name)).cloned().collect();
    for name in claims {
        out.remove(name);
    }
}

/// Returns what the nearest proxy wrote: the last element of the last line.
fn last_word(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    line.rsplit(',').next().map(str::trim)
}

fn is_scheme(word: &str) -> bool {
    ["http", "https", "ws", "wss"].contains(&word)
}

fn is_host(word: &str) -> bool {
    let authority = word.parse::<Authority>();
    authority.is_ok_and(|authority| !authority.as_str().contains('@'))
}

fn set(out: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    match value.map(HeaderValue::from_str) {
        Some(Ok(value)) => drop(out.insert(name, value)),
        // No value: what it is made of was text of a header before.
        Some(Err(_)) | None => drop(out.remove(name)),
    }
}

#[cfg(test)]
mod tests;
