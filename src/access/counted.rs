//! What is counted: addresses and sessions, of which only hashes are kept.

use std::net::IpAddr;

use crate::http::client_network;

/// What stands for an address or a session: its hash under a random key.
pub(super) type Key = u64;

/// What is hashed; an address and a session never have the same bytes.
#[derive(Hash)]
pub(super) enum Name<'a> {
    Address(IpAddr),
    Session(&'a str),
}

impl<'a> Name<'a> {
    pub(super) fn of_address(address: IpAddr) -> Name<'static> {
        Name::Address(client_network(address))
    }

    pub(super) const fn of_session(name: &'a str) -> Self {
        Self::Session(name)
    }
}
