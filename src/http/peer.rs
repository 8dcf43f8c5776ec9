//! The other end of a connection.

use std::net::SocketAddr;

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
