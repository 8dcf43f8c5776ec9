//! Which proxies are believed when they say on whose behalf they come.
//!
//! ```text
//! peer trusted? ─no─▶ the peer is the client
//!      │yes
//!      ▼
//! Forwarded, X-Forwarded-For: from the right, hop by hop, while each is trusted ─▶ the client
//! ```
//!
//! # Source
//! RFC 7239 (`Forwarded`; on trust: section 8.1). `X-Forwarded-For` has no specification; what is read is what
//! proxies write.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderMap;
use ipnet::{IpNet, Ipv4Net};

use super::forwarded::{Hop, Hops};

/// The settings of the proxies before an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "HTTP")]
pub struct ProxyConfig {
    /// Proxies and load balancers that may say who their clients are (Forwarded, X-Forwarded-For): addresses and networks such as `10.0.0.0/8,fd00::/8`; by default nobody
    #[arg(long, value_name = "NETWORKS", default_value = "")]
    pub trusted_proxies: TrustedProxies,
}

/// Addresses of proxies whose word counts. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// Why a list of proxies is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected addresses or networks such as 192.0.2.7 or 10.0.0.0/8, not {0:?}")]
pub struct NotANetwork(Box<str>);

impl FromStr for TrustedProxies {
    type Err = NotANetwork;

    /// Reads a comma-separated list of addresses and networks in CIDR notation; an empty one trusts nobody.
    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let elements = text.split(',').map(str::trim);
        let networks = elements.filter(|element| !element.is_empty()).map(network);
        networks.collect::<Result<_, _>>().map(Self)
    }
}

fn network(text: &str) -> Result<IpNet, NotANetwork> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| NotANetwork(text.into()))?;
    Ok(canonical(network))
}

/// Writes a network of IPv4 addresses that are mapped into IPv6 as what it is: addresses are compared so.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else {
        return network;
    };
    let bits = mapped.prefix_len().checked_sub(96);
    let within = |bits, address: Ipv4Addr| Ipv4Net::new(address, bits).ok();
    match (bits, mapped.addr().to_ipv4_mapped()) {
        (Some(bits), Some(address)) => within(bits, address).map_or(network, IpNet::V4),
        _ => network,
    }
}

impl TrustedProxies {
    /// Returns the address of the client that a request of `peer` is for.
    ///
    /// It is the peer's own, unless that is trusted. Then the headers are read from the right, where the nearest
    /// proxy writes, and the first address that is not trusted is the client: what stands left of it, the client
    /// may have made up. An element that is no address (`unknown`, an obfuscated name, nonsense) ends the walk
    /// at the hop before it.
    ///
    /// Where there are both headers, they are believed as far as they agree: a proxy that writes the one and
    /// passes the other on from the client then gives nothing away. An IPv4 address that is mapped into IPv6 is
    /// returned as what it is.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        for hop in agreed(headers) {
            let Hop::Address(address) = hop else {
                break;
            };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Returns the hops that the headers name, the nearest first; of both headers those in which they agree.
fn agreed(headers: &HeaderMap) -> Vec<Hop> {
    match (Hops::forwarded(headers), Hops::x_forwarded_for(headers)) {
        (None, None) => Vec::new(),
        (Some(hops), None) | (None, Some(hops)) => hops.0,
        (Some(one), Some(other)) => {
            let both = one.0.into_iter().zip(other.0);
            let same = both.take_while(|(one, other)| one == other);
            same.map(|(hop, _)| hop).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const FORWARDED: &str = "forwarded";
    const XFF: &str = "x-forwarded-for";

    /// The client of a request of `peer` with these headers, where 10.0.0.0/8, 192.0.2.7 and fd00::/8 are trusted.
    fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let trusted: TrustedProxies = "10.0.0.0/8, 192.0.2.7,fd00::/8".parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        trusted.client(peer.parse().unwrap(), &headers).to_string()
    }

    /// The peer, the headers, the client.
    type Case = (
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
    );

    fn check(cases: &[Case]) {
        for (peer, headers, expected) in cases {
            assert_eq!(client(peer, headers), *expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn a_stranger_is_itself_whatever_it_says() {
        check(&[
            ("203.0.113.9", &[], "203.0.113.9"),
            ("203.0.113.9", &[(XFF, "198.51.100.1")], "203.0.113.9"),
            ("203.0.113.9", &[(XFF, "10.0.0.1")], "203.0.113.9"),
            ("203.0.113.9", &[(FORWARDED, "for=10.0.0.1")], "203.0.113.9"),
            ("192.0.2.8", &[(XFF, "198.51.100.1")], "192.0.2.8"),
            ("2001:db8::9", &[(XFF, "198.51.100.1")], "2001:db8::9"),
            ("::ffff:203.0.113.9", &[(XFF, "1.1.1.1")], "203.0.113.9"),
        ]);
    }

    #[test]
    fn a_trusted_proxy_names_its_client() {
        check(&[
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
            ("192.0.2.7", &[(XFF, "198.51.100.1")], "198.51.100.1"),
            ("fd00::1", &[(XFF, "2001:db8::1")], "2001:db8::1"),
            ("::ffff:10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(XFF, "::ffff:198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(XFF, "198.51.100.1:8080")], "198.51.100.1"),
            ("10.0.0.1", &[(XFF, "[2001:db8::1]:8080")], "2001:db8::1"),
            ("10.0.0.1", &[(XFF, "[2001:db8::1]")], "2001:db8::1"),
            (
                "10.0.0.1",
                &[(FORWARDED, "for=198.51.100.1")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[(
                    FORWARDED,
                    "proto=https;FOR=\"[2001:db8:cafe::17]:4711\";by=10.0.0.1",
                )],
                "2001:db8:cafe::17",
            ),
        ]);
    }

    #[test]
    fn what_a_client_made_up_left_of_its_own_address_is_not_read() {
        check(&[
            (
                "10.0.0.1",
                &[(XFF, "127.0.0.1, 10.9.9.9, 198.51.100.1")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[(XFF, "127.0.0.1, 198.51.100.1, 10.0.0.3, 10.0.0.2")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[(XFF, "127.0.0.1"), (XFF, "198.51.100.1")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[(XFF, "198.51.100.1"), (XFF, "10.0.0.2")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[(
                    FORWARDED,
                    "for=127.0.0.1, for=198.51.100.1;by=10.0.0.2, for=10.0.0.2",
                )],
                "198.51.100.1",
            ),
            // Where everybody is trusted, the first one is the client.
            ("10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        ]);
    }

    #[test]
    fn what_is_no_address_ends_the_walk_at_the_hop_before() {
        for element in [
            "unknown",
            "_hidden",
            "",
            "nonsense",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.4:",
            "1.2.3.4:x",
            "1.2.3.4:70000",
            "[::1",
            "::1]",
            "[1.2.3.4]",
            "fe80::1%eth0",
            "1.2.3.4/8",
            "\u{e4}",
            "1.2.3.4 5.6.7.8",
        ] {
            for (line, expected) in [
                (element.to_owned(), "10.0.0.1"),
                (format!("198.51.100.1, {element}, 10.0.0.2"), "10.0.0.2"),
                (format!("{element}, 198.51.100.1"), "198.51.100.1"),
            ] {
                assert_eq!(client("10.0.0.1", &[(XFF, &line)]), expected, "{line:?}");
            }
        }
        for element in [
            "for=unknown",
            "for=_hidden",
            "for=\"_hidden:_port\"",
            "",
            "for",
            "for=",
            "for=\"\"",
            "by=1.2.3.4",
            "for=1.2.3.4;for=5.6.7.8",
            "for = 1.2.3.4",
            ";",
            "=1.2.3.4",
            "for=1.2.3.4;proto",
        ] {
            let line = format!("for=198.51.100.1, {element}, for=10.0.0.2");
            let client = client("10.0.0.1", &[(FORWARDED, &line)]);
            assert_eq!(client, "10.0.0.2", "{line:?}");
        }
    }

    /// A client may leave a quoted string open, for the proxy to add to. Then nothing of the line is believed.
    #[test]
    fn an_open_quote_takes_the_line_with_it() {
        for line in [
            "for=127.0.0.1;x=\", for=198.51.100.1",
            "for=127.0.0.1;x=\", for=\"[2001:db8::1]:80\"",
            "for=\"127.0.0.1, for=198.51.100.1",
            "for=127.0.0.1;x=\"\\\", for=198.51.100.1",
            "for=\"127.0.0.1\"x, for=198.51.100.1",
        ] {
            assert_eq!(
                client("10.0.0.1", &[(FORWARDED, line)]),
                "10.0.0.1",
                "{line}"
            );
            let lines = [(FORWARDED, line), (FORWARDED, "for=10.0.0.2")];
            assert_eq!(client("10.0.0.1", &lines), "10.0.0.2", "{line}");
        }
        let quoted = "for=127.0.0.1;x=\"a, for=\\\"b\", for=198.51.100.1";
        assert_eq!(client("10.0.0.1", &[(FORWARDED, quoted)]), "198.51.100.1");
    }

    #[test]
    fn two_headers_are_believed_as_far_as_they_agree() {
        check(&[
            (
                "10.0.0.1",
                &[
                    (FORWARDED, "for=198.51.100.1, for=10.0.0.2"),
                    (XFF, "198.51.100.1, 10.0.0.2"),
                ],
                "198.51.100.1",
            ),
            // One is the client's invention: each is as good.
            (
                "10.0.0.1",
                &[(FORWARDED, "for=127.0.0.1"), (XFF, "198.51.100.1")],
                "10.0.0.1",
            ),
            (
                "10.0.0.1",
                &[
                    (FORWARDED, "for=127.0.0.1, for=10.0.0.2"),
                    (XFF, "198.51.100.1, 10.0.0.2"),
                ],
                "10.0.0.2",
            ),
            (
                "10.0.0.1",
                &[(FORWARDED, "for=10.0.0.2"), (XFF, "127.0.0.1, 10.0.0.2")],
                "10.0.0.2",
            ),
            (
                "10.0.0.1",
                &[(FORWARDED, "nonsense"), (XFF, "127.0.0.1")],
                "10.0.0.1",
            ),
        ]);
    }

    #[test]
    fn nobody_is_trusted_by_default() {
        let mut headers = HeaderMap::new();
        headers.insert(XFF, HeaderValue::from_static("198.51.100.1"));
        for text in ["", " , "] {
            let nobody: TrustedProxies = text.parse().unwrap();
            assert_eq!(nobody, TrustedProxies::default());
            let peer = "127.0.0.1".parse().unwrap();
            assert_eq!(nobody.client(peer, &headers), peer);
        }
    }

    #[test]
    fn networks_are_read_and_what_is_none_is_named() {
        for (text, inside, outside) in [
            ("10.1.2.3/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
            ("::ffff:10.0.0.0/104", "10.0.0.1", "11.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("0.0.0.0/0", "203.0.113.1", "::1"),
        ] {
            let trusted: TrustedProxies = text.parse().unwrap();
            assert!(trusted.trusts(inside.parse().unwrap()), "{text}");
            assert!(!trusted.trusts(outside.parse().unwrap()), "{text}");
        }
        for text in [
            "nowhere",
            "10.0.0.0/33",
            "10.0.0",
            "10.0.0.0/8 10.0.0.1",
            "*",
            "::/129",
        ] {
            let error = format!("1.2.3.4,{text}").parse::<TrustedProxies>();
            assert_eq!(error, Err(NotANetwork(text.into())), "{text}");
        }
    }
}
