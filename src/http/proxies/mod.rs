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
pub struct TrustedProxyConfig {
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
        let hops = self.hops(peer, headers);
        let known = hops.into_iter().rev().find_map(|hop| match hop {
            Hop::Address(address) => Some(address),
            Hop::Unknown => None,
        });
        known.unwrap_or(peer.to_canonical())
    }

    /// Returns the hops before the peer that trusted proxies tell of, the nearest first; the last one is the client, or
    /// all that a proxy tells of it.
    pub(super) fn hops(&self, peer: IpAddr, headers: &HeaderMap) -> Vec<Hop> {
        if !self.trusts(peer.to_canonical()) {
            return Vec::new();
        }
        let mut hops = agreed(headers);
        let is_last = |hop: &Hop| !matches!(hop, Hop::Address(address) if self.trusts(*address));
        if let Some(last) = hops.iter().position(is_last) {
            hops.truncate(last + 1);
        }
        hops
    }

    /// Returns whether the word of the one at this address counts, which has to be in canonical form.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
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
mod tests;
