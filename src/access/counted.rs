//! What is counted: addresses and sessions, of which only hashes are kept.

use std::net::IpAddr;

/// What stands for an address or a session: its hash under a random key.
pub(super) type Key = u64;

/// What is hashed; an address and a session never have the same bytes.
#[derive(Hash)]
pub(super) enum Name<'a> {
    V4(u32),
    /// A client of IPv6 has a network of 64 bits, and takes of it what address it likes.
    V6(u64),
    Session(&'a str),
}

impl<'a> Name<'a> {
    pub(super) fn of_address(address: IpAddr) -> Name<'static> {
        match address.to_canonical() {
            IpAddr::V4(address) => Name::V4(address.to_bits()),
            IpAddr::V6(address) => {
                Name::V6(u64::try_from(address.to_bits() >> 64).unwrap_or_default())
            }
        }
    }

    pub(super) const fn of_session(name: &'a str) -> Self {
        Self::Session(name)
    }
}
