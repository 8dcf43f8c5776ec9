//! The one who verifies tokens.

use std::fmt;
use std::sync::Arc;

use super::TokenError;
use super::claims::{ClaimRules, Claims};
use super::config::{IdentityConfig, IdentityError, KeySource};
use super::header::Parts;
use super::key::VerifyingKey;
use super::key_server::{KeyServer, Rhythm};
use super::provider::{Place, Provider};
use crate::fetch::Fetch;
use crate::telemetry::{Metrics, Tasks, as_ms, now_ms};

/// Verifies tokens with the keys of the configuration or of the issuer. Cheap to clone.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    keys: Keys,
    rules: ClaimRules,
    metrics: Metrics,
}

enum Keys {
    None,
    Fixed(VerifyingKey),
    Served(KeyServer),
}

impl Verifier {
    /// Reads the keys, or starts a task on `tasks` that fetches them and keeps them fresh.
    ///
    /// That the issuer is away is no error: its tokens are refused for now, see
    /// [`TokenError::KeysUnavailable`]. Of a short secret, and of keys fetched without TLS, the log warns.
    ///
    /// # Errors
    /// [`IdentityError`] as [`IdentityConfig::check`].
    ///
    /// # Panics
    /// Outside of a tokio runtime, where the configuration names an issuer or a key set.
    pub fn new(
        config: &IdentityConfig,
        fetch: &Fetch,
        tasks: &Tasks,
        metrics: &Metrics,
    ) -> Result<Self, IdentityError> {
        let served = |place| {
            let provider = Provider {
                fetch: fetch.clone(),
                place,
                allowed: config.jwt_alg.clone(),
            };
            let rhythm = Rhythm {
                refresh: config.jwt_jwks_refresh,
                cooldown: config.jwt_jwks_cooldown,
            };
            Keys::Served(KeyServer::start(provider, rhythm, tasks, metrics.clone()))
        };
        let keys = match config.key_source()? {
            KeySource::None => Keys::None,
            KeySource::Fixed(key) => Keys::Fixed(key),
            KeySource::KeySet(url) => served(Place::KeySet(url)),
            KeySource::Issuer(issuer) => served(Place::Issuer(issuer)),
        };
        config.warn_of_weaknesses();
        for reason in TokenError::ALL {
            metrics.refused_tokens.with_label_values(&[reason.as_str()]);
        }
        let rules = ClaimRules {
            issuers: config.issuers(),
            audiences: config.audiences(),
            leeway_ms: as_ms(config.jwt_leeway),
            session_field: config.jwt_session_field.clone(),
            user_field: config.jwt_user_field.clone(),
        };
        Ok(Self(Arc::new(Inner {
            keys,
            rules,
            metrics: metrics.clone(),
        })))
    }

    /// Returns whether any token can be accepted.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !matches!(self.0.keys, Keys::None)
    }

    /// Verifies a token in compact form (RFC 7515, 7.1), without `Bearer`, and returns what it claims.
    ///
    /// Returns at once where the key is known. For a key that the issuer's set does not have it waits
    /// until the set was fetched anew, five seconds at most.
    ///
    /// # Errors
    /// [`TokenError`], counted by reason in `sluicegate_refused_tokens_total`.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.verify_at(token, now_ms).await
    }

    /// As [`Verifier::verify`], at the time in Unix milliseconds that `now_ms` tells once the signature
    /// is known to hold.
    pub(super) async fn verify_at(
        &self,
        token: &str,
        now_ms: impl FnOnce() -> i64,
    ) -> Result<Claims, TokenError> {
        let verified = self.signature_and_claims(token, now_ms).await;
        if let Err(reason) = &verified {
            let refused = &self.0.metrics.refused_tokens;
            refused.with_label_values(&[reason.as_str()]).inc();
        }
        verified
    }

    async fn signature_and_claims(
        &self,
        token: &str,
        now_ms: impl FnOnce() -> i64,
    ) -> Result<Claims, TokenError> {
        let parts = match &self.0.keys {
            Keys::None => return Err(TokenError::NotConfigured),
            Keys::Fixed(key) => {
                let parts = Parts::of(token)?;
                parts.refuse_suspicious_key_id()?;
                key.verify(&parts)?;
                parts
            }
            Keys::Served(server) => {
                let parts = Parts::of(token)?;
                server.verify(&parts).await?;
                parts
            }
        };
        self.0.rules.read(parts.payload, now_ms())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = match &self.0.keys {
            Keys::None => "none",
            Keys::Fixed(_) => "fixed",
            Keys::Served(_) => "of an issuer",
        };
        formatter
            .debug_struct("Verifier")
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}
