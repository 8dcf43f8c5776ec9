//! The limits of connections, and what those are told who reach one.

use std::time::Duration;

use crate::http::HttpError;

/// A limit of connections; the label `limit` of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `MAX_CONNECTIONS`.
    Instance,
    /// `MAX_CONNECTIONS_PER_ADDRESS`.
    Address,
    /// `MAX_CONNECTIONS_PER_SESSION`.
    Session,
    /// `MAX_CONNECTIONS_PER_MINUTE`.
    Minute,
    /// `MAX_CONNECTIONS_PER_MINUTE_PER_ADDRESS`.
    AddressMinute,
}

impl Limit {
    /// All limits, in the order in which they are looked at.
    pub const ALL: [Self; 5] = [
        Self::Instance,
        Self::Address,
        Self::Session,
        Self::Minute,
        Self::AddressMinute,
    ];

    /// Returns the value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Address => "address",
            Self::Session => "session",
            Self::Minute => "minute",
            Self::AddressMinute => "address_minute",
        }
    }

    /// What the client is told; the words for the limit of RIG are RIG's.
    const fn public(self) -> &'static str {
        match self {
            Self::Instance => "Reached maximum number of connections.",
            Self::Address => "Reached maximum number of connections of an address.",
            Self::Session => "Reached maximum number of connections of a session.",
            Self::Minute => "Reached maximum number of connections per minute.",
            Self::AddressMinute => {
                "Reached maximum number of connections per minute of an address."
            }
        }
    }
}

/// There is no room for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the limit of connections by {limit} is reached", limit = what.as_str())]
pub struct Full {
    /// Which limit was reached.
    pub what: Limit,
    /// When to come again: where windows are counted, when the next begins; else a guess.
    pub retry_after: Duration,
}

impl From<Full> for HttpError {
    /// 503 when the whole instance is full, for another may have room; else 429.
    fn from(full: Full) -> Self {
        let (code, public) = ("too_many_connections", full.what.public());
        let error = match full.what {
            Limit::Instance => Self::unavailable(code, public, full.retry_after),
            _ => Self::too_many_requests(code, public, full.retry_after),
        };
        error.with_member("limit", full.what.as_str().into())
    }
}
