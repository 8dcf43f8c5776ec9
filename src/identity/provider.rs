//! The server that publishes keys, and how they are got from it.

use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, StatusCode, Uri};
use serde_json::Value;

use super::algorithm::Algorithm;
use super::key_set::{KeySet, KeySetError};
use crate::event::check_text;
use crate::fetch::{Fetch, FetchError, FetchLimits, UrlError, parse_url};

/// What a fetch may take; discovery and keys each, [`Provider::load`] in all.
const LIMITS: FetchLimits = FetchLimits {
    timeout: Duration::from_secs(5),
    max_response_bytes: 256 * 1024,
};
/// How deep a discovery document may be nested.
const MAX_DEPTH: usize = 16;

/// Why the keys could not be got.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("{host} answered with status {status}")]
    Status { host: Box<str>, status: StatusCode },
    #[error(transparent)]
    KeySet(#[from] KeySetError),
    #[error("the discovery document is not a JSON object with the texts `issuer` and `jwks_uri`")]
    NotADocument,
    #[error("the discovery document is that of another issuer")]
    OtherIssuer,
    #[error("the `jwks_uri` of the discovery document: {0}")]
    KeysUrl(#[from] UrlError),
    #[error("the `jwks_uri` of the discovery document is not https, but the issuer is")]
    KeysInTheClear,
}

/// Where keys are published.
#[derive(Debug)]
pub(super) enum Place {
    /// At this URL.
    KeySet(Uri),
    /// Where the discovery document of this issuer says.
    Issuer(Box<str>),
}

/// The server that publishes keys.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) fetch: Fetch,
    pub(super) place: Place,
    /// Of other algorithms no key is of use; where there are none, all that keys can be used with are.
    pub(super) allowed: Vec<Algorithm>,
}

impl Provider {
    /// How long [`Provider::load`] takes at most.
    pub(super) const TIMEOUT: Duration = LIMITS.timeout;

    /// Gets the keys that are published now.
    ///
    /// # Cancel safety
    /// Dropping the future gives the requests up.
    pub(super) async fn load(&self) -> Result<KeySet, ProviderError> {
        let loaded = tokio::time::timeout(Self::TIMEOUT, Box::pin(self.load_in_steps())).await;
        loaded.unwrap_or(Err(ProviderError::Timeout(Self::TIMEOUT)))
    }

    async fn load_in_steps(&self) -> Result<KeySet, ProviderError> {
        let keys = match &self.place {
            Place::KeySet(url) => url.clone(),
            Place::Issuer(issuer) => self.discover(issuer).await?,
        };
        let body = self.get(keys).await?;
        Ok(KeySet::parse(&body, &self.allowed)?)
    }

    /// Asks an issuer where its keys are (OpenID Connect Discovery 1.0, 4).
    async fn discover(&self, issuer: &str) -> Result<Uri, ProviderError> {
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let url = parse_url(&format!("{base}/.well-known/openid-configuration"))?;
        let body = self.get(url).await?;
        let document = check_text(&body, MAX_DEPTH).map_err(|_| ProviderError::NotADocument)?;
        let document: Value =
            serde_json::from_str(document).map_err(|_| ProviderError::NotADocument)?;
        let text = |name| document.get(name).and_then(Value::as_str);
        let named = text("issuer").ok_or(ProviderError::NotADocument)?;
        // 4.3: the same, byte for byte; else one issuer could speak for another.
        if named != issuer {
            return Err(ProviderError::OtherIssuer);
        }
        let keys = parse_url(text("jwks_uri").ok_or(ProviderError::NotADocument)?)?;
        let is_clear = issuer.to_ascii_lowercase().starts_with("http://");
        if keys.scheme_str() != Some("https") && !is_clear {
            return Err(ProviderError::KeysInTheClear);
        }
        Ok(keys)
    }

    async fn get(&self, url: Uri) -> Result<Bytes, ProviderError> {
        let host = url.host().unwrap_or_default().into();
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = url;
        let accepted = http::HeaderValue::from_static("application/json, application/jwk-set+json");
        request.headers_mut().insert(ACCEPT, accepted);
        let answer = self.fetch.send(request, &LIMITS).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(ProviderError::Status { host, status }),
        }
    }
}
