//! Who may use the internal port: whoever shows its token, or a certificate.
//!
//! # Source
//! RFC 6750, section 2.1 (`Authorization: Bearer`), section 3 (`WWW-Authenticate`).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

use crate::http::{HttpError, Request};
use crate::settings::Secret;

/// What the internal port asks for.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Listeners")]
pub struct InternalGuardConfig {
    /// Token that callers of the internal port have to show (Authorization: Bearer), but for health; by default none
    #[arg(long, value_name = "TOKEN", default_value = "", value_parser = token)]
    pub api_token: Secret,
}

/// Takes what can be written behind `Bearer` (RFC 6750, 2.1), or nothing at all.
fn token(text: &str) -> Result<Secret, String> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Secret::new(text));
    }
    Err("expected visible ASCII characters without white space".to_owned())
}

/// What orchestrators and load balancers ask, who have no token; it shows nothing of anybody.
const OPEN: [&str; 4] = ["/health", "/livez", "/readyz", "/startupz"];

/// Checks who calls the internal port.
#[derive(Debug, Clone, Default)]
pub struct InternalGuard {
    token: Option<Token>,
    /// Whether a verified certificate lets in, too.
    takes_certificates: bool,
}

/// The digest of a token: all are of one length, so that the time of a comparison shows nothing.
#[derive(Clone)]
struct Token(Digest);

impl Token {
    fn new(text: &[u8]) -> Self {
        Self(digest(&SHA256, text))
    }

    fn is(&self, shown: &[u8]) -> bool {
        verify_slices_are_equal(self.0.as_ref(), Self::new(shown).0.as_ref()).is_ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

impl InternalGuard {
    /// Asks for the token, where there is one, or for a certificate, where clients are asked for theirs.
    /// Either is enough. Where nothing is set, everybody may do everything.
    #[must_use]
    pub fn new(config: &InternalGuardConfig, takes_certificates: bool) -> Self {
        let token = Some(config.api_token.reveal()).filter(|token| !token.is_empty());
        Self {
            token: token.map(|token| Token::new(token.as_bytes())),
            takes_certificates,
        }
    }

    /// Returns whether everybody may do everything.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.token.is_none() && !self.takes_certificates
    }

    /// Returns whether what is at a path is told to everybody: how the instance is.
    #[must_use]
    pub fn tells_anybody(path: &str) -> bool {
        OPEN.contains(&path)
    }

    /// Checks a request before anything is said of what there is at its path.
    ///
    /// # Errors
    /// 401 with `WWW-Authenticate`, the same whatever is wrong.
    pub fn check(&self, request: &Request) -> Result<(), HttpError> {
        let is_allowed = self.is_open()
            || Self::tells_anybody(request.path())
            || (self.takes_certificates && request.has_client_certificate())
            || self.has_token(&request.headers);
        if is_allowed {
            return Ok(());
        }
        let public = match (&self.token, self.takes_certificates) {
            (Some(_), false) => "This port asks for its token; see the setting API_TOKEN.",
            (None, _) => {
                "This port asks for a client certificate; see the setting API_CLIENT_CA_FILE."
            }
            (Some(_), true) => {
                "This port asks for its token or a client certificate; see API_TOKEN and API_CLIENT_CA_FILE."
            }
        };
        let challenge = HeaderValue::from_static("Bearer realm=\"sluicegate\"");
        Err(
            HttpError::new(StatusCode::UNAUTHORIZED, "unauthorized", public)
                .with_header(WWW_AUTHENTICATE, challenge),
        )
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        match (&self.token, bearer(headers)) {
            (Some(token), Some(shown)) => token.is(shown),
            _ => false,
        }
    }
}

/// Returns what stands behind `Bearer`; nothing where there are several such headers.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, rest) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| rest.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn guard(token: &str, takes_certificates: bool) -> InternalGuard {
        let api_token = Secret::new(token);
        InternalGuard::new(&InternalGuardConfig { api_token }, takes_certificates)
    }

    fn request(path: &str, authorizations: &[&str]) -> Request {
        let mut request = http::Request::builder().uri(path);
        for value in authorizations {
            request = request.header(AUTHORIZATION, *value);
        }
        let request = request.body(Bytes::new()).unwrap();
        Request::new(request, ([127, 0, 0, 1], 1).into())
    }

    #[test]
    fn without_settings_everybody_is_let_in() {
        let open = guard("", false);
        assert!(open.is_open());
        open.check(&request("/metrics", &[])).unwrap();
    }

    #[test]
    fn the_token_and_nothing_else_is_taken() {
        let guard = guard("s3cret", false);
        for good in ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret"] {
            guard.check(&request("/metrics", &[good])).unwrap();
        }
        for bad in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["Bearer s3cre"],
            &["Bearer s3crets"],
            &["Bearer S3CRET"],
            &["Bearer s3cret, Bearer s3cret"],
            &["Bearer\ts3cret"],
            &["s3cret"],
            &["Basic s3cret"],
            &["Bearer wrong", "Bearer s3cret"],
            &["Bearer s3cret", "Bearer s3cret"],
        ] {
            for path in [
                "/",
                "/metrics",
                "/v3/messages",
                "/no/such/path",
                "/health/",
                "//health",
            ] {
                let error = guard.check(&request(path, bad)).unwrap_err();
                assert_eq!(error.status(), 401, "{bad:?}");
                let response = error.into_response();
                let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
                assert!(challenge.starts_with("Bearer "), "{challenge}");
            }
        }
    }

    #[test]
    fn health_is_told_to_everybody() {
        for guard in [guard("s3cret", false), guard("", true)] {
            for path in OPEN {
                guard.check(&request(path, &[])).unwrap();
                guard
                    .check(&request(&format!("{path}?verbose"), &[]))
                    .unwrap();
            }
        }
    }

    /// Requests from memory have no certificate; that one is enough is told by the tests over TLS.
    #[test]
    fn where_certificates_are_taken_nobody_gets_in_without_but_by_the_token() {
        let only_certificates = guard("", true);
        assert!(!only_certificates.is_open());
        for headers in [&[][..], &["Bearer "], &["Bearer x"]] {
            let error = only_certificates.check(&request("/", headers)).unwrap_err();
            assert_eq!(error.status(), 401);
        }
        let either = guard("s3cret", true);
        assert!(either.check(&request("/", &[])).is_err());
        either.check(&request("/", &["Bearer s3cret"])).unwrap();
    }

    #[test]
    fn tokens_that_no_header_could_carry_are_refused_and_none_is_shown() {
        for text in ["two words", "a\nb", "gr\u{fc}n", " "] {
            assert!(token(text).is_err(), "{text:?}");
        }
        let guard = InternalGuard::new(
            &InternalGuardConfig {
                api_token: token("s3cret").unwrap(),
            },
            false,
        );
        assert!(format!("{guard:?}").contains("[secret]"));
    }
}
