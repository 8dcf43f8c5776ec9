//! What a try that failed says of the request and of the backend.
//!
//! # Source
//! RFC 9113, 8.7 (what was not processed may be sent again), 6.8 (`GOAWAY`), 5.4.2 (errors of a stream).

use std::error::Error;

use h2::Reason;
use http::uri::Authority;

use super::error::UpstreamError;
use super::request_body::Outgoing;

/// Says what went wrong with a try on a connection.
///
/// Over HTTP/2 it makes a difference whether the connection ended, which a kept one may have done by itself, or a
/// backend has ended one request on it, or says that it has not begun with it.
pub(super) fn failure(
    source: hyper::Error,
    (was_sent, was_kept): (bool, bool),
    body: &Outgoing,
    address: &Authority,
) -> UpstreamError {
    let address = address.as_str().into();
    if let Some(kind) = body.failure() {
        return UpstreamError::Body(kind);
    }
    if !was_sent {
        return UpstreamError::NotSent { address, source };
    }
    if source.is_parse() {
        return UpstreamError::NotHttp { address, source };
    }
    match http2(&source) {
        Ended::Unprocessed => UpstreamError::NotSent { address, source },
        Ended::Refused => UpstreamError::Refused { address, source },
        Ended::ByBackend => UpstreamError::Broken {
            address,
            was_kept: false,
            source,
        },
        Ended::Connection => UpstreamError::Broken {
            address,
            was_kept,
            source,
        },
    }
}

/// How a request ended that was sent.
enum Ended {
    /// The backend goes away, and had not begun with it.
    Unprocessed,
    /// The backend has refused this one, and had not begun with it.
    Refused,
    /// The backend has ended this one, or broken the protocol.
    ByBackend,
    /// The connection ended.
    Connection,
}

fn http2(source: &hyper::Error) -> Ended {
    let mut cause = source.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return match (error.is_reset(), error.is_go_away(), error.is_remote()) {
                // Only requests after the last that the backend takes end so.
                (_, true, true) => Ended::Unprocessed,
                (true, _, true) if error.reason() == Some(Reason::REFUSED_STREAM) => Ended::Refused,
                (true, _, _) | (_, true, _) => Ended::ByBackend,
                _ => Ended::Connection,
            };
        }
        cause = error.source();
    }
    Ended::Connection
}
