//! Addresses of backends, as people write them.

use http::uri::Authority;

use crate::proxy::route::Protocol;
use crate::proxy::routes::{encoded, is_plain_path};

/// Where a backend is: `tickets`, `http://tickets:8080`, `https://tickets/base`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// How it is spoken to; HTTP/1.1 without TLS where no scheme says so.
    pub(super) protocol: Protocol,
    /// A name or an IP address, one of version 6 in brackets.
    pub(super) host: Box<str>,
    /// The port, if it is named.
    pub(super) port: Option<u16>,
    /// What comes before each path; empty, or with a slash at its beginning and none at its end.
    pub(super) base_path: Box<str>,
}

/// Why a text is no address. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    /// Another protocol.
    #[error("must start with http://, https:// or h2c://, or with a host")]
    Scheme,
    /// No host, or more than that.
    #[error("must be a host, as in tickets or http://tickets:8080")]
    Host,
    /// A user or a password.
    #[error("must not have a user or a password")]
    User,
    /// No number that fits.
    #[error("must have a port from 1 to 65535")]
    Port,
    /// A query or a fragment.
    #[error("must not have a query or a fragment")]
    Query,
    /// A path that could be read in two ways.
    #[error("must have a path without dots, double or encoded slashes")]
    BasePath,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// [`AddressError`].
    pub(super) fn parse(text: &str) -> Result<Self, AddressError> {
        let (protocol, rest) = match text.split_once("://") {
            None => (Protocol::Http, text),
            Some((scheme, rest)) => (protocol(scheme).ok_or(AddressError::Scheme)?, rest),
        };
        if rest.contains(['?', '#']) {
            return Err(AddressError::Query);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(AddressError::User);
        }
        let (host, port) = split_port(authority)?;
        let is_good = authority_of(host, port.unwrap_or(1)).is_some();
        if !is_good {
            return Err(AddressError::Host);
        }
        let base_path = path.trim_end_matches('/');
        if !base_path.is_empty() && !is_plain_path(base_path) {
            return Err(AddressError::BasePath);
        }
        Ok(Self {
            protocol,
            host: host.into(),
            port,
            base_path: encoded(base_path).into(),
        })
    }

    /// Returns the host with a port: the one that is named, or `default`, or that of the protocol.
    pub(super) fn authority(&self, default: Option<u16>) -> Option<Authority> {
        let of_protocol = match self.protocol {
            Protocol::Https => 443,
            Protocol::Http | Protocol::H2c => 80,
        };
        authority_of(&self.host, self.port.or(default).unwrap_or(of_protocol))
    }
}

fn protocol(scheme: &str) -> Option<Protocol> {
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Some(Protocol::Http),
        "https" => Some(Protocol::Https),
        "h2c" => Some(Protocol::H2c),
        _ => None,
    }
}

/// Splits off a port; the colons of an IP address of version 6 are within brackets.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), AddressError> {
    let Some((host, port)) = authority.rsplit_once(':') else {
        return Ok((authority, None));
    };
    if port.ends_with(']') {
        return Ok((authority, None));
    }
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_number && *port > 0);
    Ok((host, Some(port.ok_or(AddressError::Port)?)))
}

fn authority_of(host: &str, port: u16) -> Option<Authority> {
    let is_name = |host: &str| {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        !host.is_empty() && host.bytes().all(is_good)
    };
    let is_version_6 = |host: &str| {
        let inner = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
    };
    if !is_name(host) && !is_version_6(host) {
        return None;
    }
    format!("{host}:{port}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, protocol, authority, base_path) in [
            ("tickets", Protocol::Http, "tickets:80", ""),
            ("tickets:8080", Protocol::Http, "tickets:8080", ""),
            ("http://tickets", Protocol::Http, "tickets:80", ""),
            ("HTTPS://tickets/", Protocol::Https, "tickets:443", ""),
            (
                "h2c://127.0.0.1:5/a/b/",
                Protocol::H2c,
                "127.0.0.1:5",
                "/a/b",
            ),
            ("http://[::1]:8080", Protocol::Http, "[::1]:8080", ""),
            ("[::1]", Protocol::Http, "[::1]:80", ""),
            ("http://a_b/ü", Protocol::Http, "a_b:80", "/%C3%BC"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.protocol, protocol, "{text}");
            assert_eq!(address.authority(None).unwrap(), authority, "{text}");
            assert_eq!(&*address.base_path, base_path, "{text}");
        }
        let address = Address::parse("https://a").unwrap();
        assert_eq!(address.authority(Some(1)).unwrap(), "a:1");
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, why) in [
            ("", AddressError::Host),
            ("http://", AddressError::Host),
            ("http:///a", AddressError::Host),
            ("a b", AddressError::Host),
            ("a%62", AddressError::Host),
            ("::1", AddressError::Host),
            ("[::x]", AddressError::Host),
            ("/usr/bin", AddressError::Host),
            ("ftp://a", AddressError::Scheme),
            ("a:0", AddressError::Port),
            ("a:70000", AddressError::Port),
            ("a:+80", AddressError::Port),
            ("a:", AddressError::Port),
            ("http://user:secret@a", AddressError::User),
            ("http://a?b", AddressError::Query),
            ("http://a#b", AddressError::Query),
            ("http://a//b", AddressError::BasePath),
            ("http://a/b/../c", AddressError::BasePath),
            ("http://a/b%2fc", AddressError::BasePath),
            ("http://a/b//c", AddressError::BasePath),
        ] {
            assert_eq!(Address::parse(text), Err(why), "{text}");
        }
    }
}
