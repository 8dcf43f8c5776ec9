//! The other end of a connection.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What is known of the other end of a connection before it asks for anything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Whether it showed a certificate that was verified.
    pub(super) has_certificate: bool,
    /// Whether it speaks TLS.
    pub(super) is_tls: bool,
}

impl Peer {
    /// Somebody without TLS.
    pub(super) const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            has_certificate: false,
            is_tls: false,
        }
    }
}

/// Returns what stands for a client in limits: its address, or for IPv6 the network of 64 bits, since a client has that and
/// takes of it what address it likes.
#[must_use]
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}
