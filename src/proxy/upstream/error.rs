//! Why a backend did not answer.

use std::io;
use std::time::Duration;

use http::StatusCode;
use http::uri::Authority;

use super::dial::DialError;
use crate::http::HttpError;
use crate::telemetry::Causes;

/// How soon somebody may come again who found no room.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a try gave no answer. The texts name the address, and nothing of the request.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamError {
    /// There is no connection, so nothing was sent.
    #[error("{address} cannot be reached: {}", Causes(.source))]
    Unreachable {
        /// Who was called.
        address: Box<str>,
        /// What went wrong.
        source: DialError,
    },
    /// This process has no files, ports or memory left for a connection.
    #[error("there is no socket left for a connection to {address}: {source}")]
    NoSockets {
        /// Who was to be called.
        address: Box<str>,
        /// What the kernel said.
        source: io::Error,
    },
    /// As many requests as there may be are under way there.
    #[error("{address} has as many requests as PROXY_MAX_REQUESTS_PER_BACKEND allows")]
    Busy {
        /// Its first address.
        address: Box<str>,
    },
    /// The connection was closed before anything of the request was written to it, or before the backend began with
    /// it.
    #[error("the connection to {address} was closed before the request was sent: {}", Causes(.source))]
    NotSent {
        /// Who was called.
        address: Box<str>,
        /// What the client saw.
        source: hyper::Error,
    },
    /// The backend refused the request on a connection of HTTP/2, and has not begun with it.
    #[error("{address} refused the request: {}", Causes(.source))]
    Refused {
        /// Who was called.
        address: Box<str>,
        /// What the client saw.
        source: hyper::Error,
    },
    /// The connection broke, or the backend ended the request on it, before an answer began; the backend may have acted on the request.
    #[error("the connection to {address} broke before an answer: {}", Causes(.source))]
    Broken {
        /// Who was called.
        address: Box<str>,
        /// The connection had served another request before, so that it may just have been over.
        was_kept: bool,
        /// What the client saw.
        source: hyper::Error,
    },
    /// No answer began in time, and the backend read nothing more of the body.
    #[error("{address} neither answered nor read on within {timeout:?}")]
    Silent {
        /// Who was called.
        address: Box<str>,
        /// The time it had.
        timeout: Duration,
    },
    /// What came is no answer in HTTP.
    #[error("what {address} answered is not http: {}", Causes(.source))]
    NotHttp {
        /// Who was called.
        address: Box<str>,
        /// What the client saw.
        source: hyper::Error,
    },
    /// The answer breaks a rule of HTTP that others could read in another way.
    #[error("the answer of {address} is refused: {problem}")]
    BadAnswer {
        /// Who was called.
        address: Box<str>,
        /// Which rule.
        problem: &'static str,
    },
    /// The client did not send the body that it promised.
    #[error("the request body broke off")]
    Body(io::ErrorKind),
}

impl UpstreamError {
    /// Says why there is no connection to an address.
    pub(super) fn no_lease(address: &Authority, source: DialError) -> Self {
        let address = address.as_str().into();
        match source {
            DialError::NoSockets(source) => Self::NoSockets { address, source },
            source => Self::Unreachable { address, source },
        }
    }

    /// Returns the outcome as metrics name it.
    pub(super) const fn outcome(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::NoSockets { .. } => "no_sockets",
            Self::Busy { .. } => "busy",
            Self::NotSent { .. } => "not_sent",
            Self::Refused { .. } => "refused",
            Self::Broken { .. } => "broken",
            Self::Silent { .. } => "timeout",
            Self::NotHttp { .. } | Self::BadAnswer { .. } => "bad_answer",
            Self::Body(_) => "request_body",
        }
    }

    /// Returns whose fault it was, if it was a backend's.
    pub(super) fn address(&self) -> Option<&str> {
        match self {
            Self::Unreachable { address, .. }
            | Self::NoSockets { address, .. }
            | Self::Busy { address }
            | Self::NotSent { address, .. }
            | Self::Refused { address, .. }
            | Self::Broken { address, .. }
            | Self::Silent { address, .. }
            | Self::NotHttp { address, .. }
            | Self::BadAnswer { address, .. } => Some(address),
            Self::Body(_) => None,
        }
    }

    /// Whether this says that the address is not well.
    pub(super) const fn blames_address(&self) -> bool {
        match self {
            Self::NoSockets { .. }
            | Self::Busy { .. }
            | Self::NotSent { .. }
            | Self::Broken { was_kept: true, .. }
            | Self::Body(_) => false,
            Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::Broken { .. }
            | Self::Silent { .. }
            | Self::NotHttp { .. }
            | Self::BadAnswer { .. } => true,
        }
    }
}

/// 502 for a backend that cannot be reached or answers badly, 504 for one that does not answer in time, 503 while it
/// has too many requests or we have no sockets; 400 or 408 when it was the client's body.
impl From<UpstreamError> for HttpError {
    fn from(error: UpstreamError) -> Self {
        let (status, code, public) = match &error {
            UpstreamError::Unreachable { .. } => (
                StatusCode::BAD_GATEWAY,
                "upstream_unreachable",
                "The backend cannot be reached.",
            ),
            UpstreamError::NoSockets { .. } => {
                let text = "There is no connection to the backend to be had at the moment.";
                return Self::unavailable("no_sockets", text, PATIENCE);
            }
            UpstreamError::Busy { .. } => {
                let text = "The backend has as many requests as it may have.";
                return Self::unavailable("backend_busy", text, PATIENCE);
            }
            UpstreamError::NotSent { .. }
            | UpstreamError::Refused { .. }
            | UpstreamError::Broken { .. } => (
                StatusCode::BAD_GATEWAY,
                "upstream_broken",
                "The backend closed the connection before it answered.",
            ),
            UpstreamError::Silent { .. } => (
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                "The backend did not answer in time.",
            ),
            UpstreamError::NotHttp { .. } | UpstreamError::BadAnswer { .. } => (
                StatusCode::BAD_GATEWAY,
                "bad_upstream_answer",
                "The backend's answer is malformed.",
            ),
            UpstreamError::Body(io::ErrorKind::TimedOut) => return Self::body_timeout(),
            UpstreamError::Body(_) => {
                let text = "The request body is incomplete or malformed.";
                return Self::bad_request("incomplete_body", text).and_close();
            }
        };
        // The log has it already, at a limited rate.
        Self::new(status, code, public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backend was left alone for it.
    #[test]
    fn that_we_have_no_sockets_is_not_the_fault_of_a_backend() {
        let address = Authority::from_static("a:1");
        let source = DialError::NoSockets(io::Error::from_raw_os_error(24));
        let error = UpstreamError::no_lease(&address, source);
        assert!(!error.blames_address());
        assert!(error.to_string().contains("no socket left"), "{error}");
        let told = HttpError::from(error);
        assert_eq!((told.status().as_u16(), told.code()), (503, "no_sockets"));
        let refused = DialError::Tcp(io::ErrorKind::ConnectionRefused.into());
        assert!(UpstreamError::no_lease(&address, refused).blames_address());
    }
}
